"""Runs the commands of an installation, with a log file and cancellable."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Callable, Dict, Iterator, List, Optional, Sequence

from ..protocol.errors import CancelledError
from ..protocol.redaction import redact
from .child_process import start_options

_POLL = 0.1


class CommandError(Exception):
    """A command failed.

    Args:
        command: Program and arguments.
        status: Exit status; None if it could not be started.
        output: What it wrote to stdout and stderr.
    """

    def __init__(self, command: Sequence[str], status: Optional[int], output: str) -> None:
        super().__init__(f"{Path(command[0]).name} ended with status {status}")
        self.command = list(command)
        self.status = status
        self.output = output


@dataclass
class CommandRunner:
    """Runs commands one after the other.

    Attributes:
        environment: Environment variables of the commands.
        folder: Working directory.
        log_file: File that their output is appended to.
        is_cancelled: Polled ten times a second; once true, the command is killed.
    """

    environment: Dict[str, str]
    folder: Path
    log_file: Path
    is_cancelled: Callable[[], bool]

    def run(
        self,
        command: Sequence[str],
        timeout: float = 3600.0,
        on_line: Optional[Callable[[str], None]] = None,
        extra: Optional[Dict[str, str]] = None,
    ) -> str:
        """Run ``command`` and return its output, stdout and stderr together.

        Args:
            command: Program and arguments; no shell is involved.
            timeout: Seconds after which it is killed.
            on_line: Called with each line of output.
            extra: Variables besides those in `environment`.

        Raises:
            CommandError: When it failed, could not be started or took too long.
            CancelledError: When the user cancelled.
        """
        with self._open_log() as log:
            log.write(redact(f"$ {' '.join(command)}\n"))
            try:
                process = subprocess.Popen(  # noqa: S603  no shell, own commands
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env={**self.environment, **(extra or {})},
                    cwd=str(self.folder),
                    **start_options(),
                )
            except OSError as error:
                log.write(f"{error}\n")
                raise CommandError(command, None, str(error)) from error
            with _cleaned_up(process):
                output = self._follow(process, timeout, on_line or _ignore, log)
        if process.returncode != 0:
            raise CommandError(command, process.returncode, output)
        return output

    def _open_log(self) -> IO[str]:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        return self.log_file.open("a", encoding="utf-8")

    def _follow(
        self,
        process: subprocess.Popen[bytes],
        timeout: float,
        on_line: Callable[[str], None],
        log: IO[str],
    ) -> str:
        lines: queue.Queue[Optional[str]] = queue.Queue()
        pump = threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True)
        pump.start()
        output: List[str] = []
        deadline = time.monotonic() + timeout
        while True:
            if self.is_cancelled():
                raise CancelledError
            if time.monotonic() > deadline:
                output.append(f"timed out after {timeout:.0f} seconds")
                log.write(output[-1] + "\n")
                kill_group(process)
                break
            try:
                line = lines.get(timeout=_POLL)
            except queue.Empty:
                continue
            if line is None:
                break
            output.append(redact(line))
            log.write(output[-1] + "\n")
            log.flush()
            on_line(line)
        process.wait()
        pump.join(timeout=2.0)
        return "\n".join(output)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and the processes it started."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()


def _ignore(line: str) -> None:
    """Ignore a line."""


@contextlib.contextmanager
def _cleaned_up(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Make sure that the process has ended and its pipe is closed."""
    try:
        yield
    finally:
        if process.poll() is None:
            kill_group(process)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _pump(pipe: Optional[IO[bytes]], lines: queue.Queue[Optional[str]]) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError, ValueError):
            for line in pipe:
                lines.put(line.decode("utf-8", "replace").rstrip())
    lines.put(None)
