"""An engine process that tests speak to line by line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from places import ROOT


class EngineProcess:
    """An engine process and plain reads and writes of its pipes."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-u", "-m", "geoseg_qgis.engine", "serve", *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
        )

    def send(self, **message: Any) -> None:
        self.send_line(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def send_line(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        return message

    def answer(self, identifier: int | None) -> dict[str, Any]:
        """Return the answer to one request, past notifications."""
        while True:
            message = self.receive()
            if "method" not in message and message["id"] == identifier:
                return message

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
