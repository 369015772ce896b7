"""The engine's end of the wire: private copies of stdin and stdout, and a writer for threads.

From then on, everything that libraries print goes to stderr and cannot break the stream.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any, BinaryIO

from geoseg_qgis.protocol import messages
from geoseg_qgis.protocol.errors import JobError
from geoseg_qgis.protocol.redaction import redact

from .failures import as_job_error

PROGRESS_INTERVAL = 0.1


def take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return private handles on stdin and stdout, replaced by an empty stdin and stderr."""
    sys.stdout.flush()
    requests, responses = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(requests, "rb"), os.fdopen(responses, "wb")


class Writer:
    """Writes whole lines from any thread.

    Args:
        stream: Where lines go.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def respond(self, identifier: Any, result: dict[str, Any]) -> None:
        """Answer a request; with an error where the result has no JSON form."""
        try:
            line = messages.response(identifier, result)
        except (ValueError, TypeError, RecursionError) as error:
            line = messages.error_response(identifier, as_job_error(error))
        self._write(line)

    def fail(self, identifier: Any, error: JobError) -> None:
        """Send an error in response to a request."""
        self._write(messages.error_response(identifier, error))

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification."""
        self._write(messages.notification(method, params))

    def _write(self, line: bytes) -> None:
        with self._lock:
            self._stream.write(line)
            self._stream.flush()


class Reporter:
    """Sends one job's progress and log, at most ten progress messages a second within a phase.

    Args:
        writer: The wire.
        identifier: The request that the job came with.
    """

    def __init__(self, writer: Writer, identifier: Any) -> None:
        self._writer = writer
        self._identifier = identifier
        self._phase = ""
        self._next = 0.0

    def progress(self, fraction: float, phase: str) -> None:
        """Send the finished fraction in 0..1."""
        now = time.monotonic()
        if phase == self._phase and now < self._next and fraction < 1.0:
            return
        self._phase, self._next = phase, now + PROGRESS_INTERVAL
        params = {"id": self._identifier, "fraction": round(fraction, 5), "phase": phase}
        self._writer.notify("progress", params)

    def log(self, level: str, text: str) -> None:
        """Send a sentence."""
        params = {"id": self._identifier, "level": level, "text": redact(text)}
        self._writer.notify("log", params)
