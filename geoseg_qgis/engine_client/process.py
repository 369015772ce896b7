"""Starts, reads and stops one engine process."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, Any, Deque, Dict, Mapping, Optional, Protocol

from ..protocol import messages
from ..protocol.errors import ErrorCode, JobError
from ..protocol.redaction import redact
from .child_process import engine_environment, start_options
from .locate import PACKAGE, SETUP_HINT, EngineLocation

_BOOT = (
    "import runpy, sys\n"
    "if sys.version_info < (3, 10):\n"
    "    sys.exit('GEOSEG-PYTHON-TOO-OLD %d.%d' % sys.version_info[:2])\n"
    "sys.path.append(sys.argv.pop(1))\n"
    "runpy.run_module(sys.argv.pop(1) + '.engine', run_name='__main__', alter_sys=True)\n"
)
_TAIL_LINES = 40
_LOG_LIMIT = 1_000_000


class Inbox(Protocol):
    """Where the messages of an engine go."""

    def put(self, item: Optional[Dict[str, Any]]) -> None:
        """Take a message, or None after the last one."""


class EngineProcess:
    """A running engine, read by two daemon threads.

    Args:
        location: The engine's Python.
        log_file: File for its stderr; a full one is kept as ``.1``.
        variables: Variables besides those of `engine_environment`.
        inbox: Where messages go instead of the attribute `inbox`.

    Attributes:
        inbox: Messages from the engine in order, and None after the last one.
        last_sign: Time of the last message, of ``time.monotonic``.

    Raises:
        JobError: ``ENGINE_MISSING`` when the interpreter cannot be started.
    """

    def __init__(
        self,
        location: EngineLocation,
        log_file: Path,
        variables: Optional[Mapping[str, str]] = None,
        *,
        inbox: Optional[Inbox] = None,
    ) -> None:
        self.location = location
        self.log_file = log_file
        self.variables = dict(variables or {})
        self.inbox: queue.Queue[Optional[Dict[str, Any]]] = queue.Queue()
        self._messages: Inbox = inbox if inbox is not None else self.inbox
        self.last_sign = time.monotonic()
        self._tail: Deque[str] = deque(maxlen=_TAIL_LINES)
        self._write_lock = threading.Lock()
        self._process = self._start()
        self._pumps = [
            threading.Thread(target=pump, name=f"geoseg-{pump.__name__}", daemon=True)
            for pump in (self._pump_messages, self._pump_log)
        ]
        for pump in self._pumps:
            pump.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def exit_status(self) -> Optional[int]:
        """None while it runs; 0 when it ended by itself after a long time without work."""
        return self._process.poll()

    def send(self, line: bytes) -> None:
        """Write one message.

        Raises:
            JobError: ``ENGINE_STOPPED`` when the engine does not read any more.
        """
        pipe = self._process.stdin
        try:
            with self._write_lock:
                if pipe is None or pipe.closed:
                    raise BrokenPipeError
                pipe.write(line)
                pipe.flush()
        except (OSError, ValueError) as error:
            raise self.failure() from error

    def failure(self) -> JobError:
        """Return an error that says why the process ended; waits for the rest of its log."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2.0)
        self._pumps[1].join(timeout=1.0)
        return _explain_end(self._process.poll(), "\n".join(self._tail), self)

    def stop(self, grace: float = 2.0) -> None:
        """Ask the process to end, and kill it if it still runs after ``grace`` seconds."""
        if self.alive and grace > 0:
            with contextlib.suppress(JobError):
                self.send(messages.notification("shutdown"))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=grace)
        if self.alive:
            self._process.kill()
        self._process.wait()
        for pump in self._pumps:
            if pump is not threading.current_thread():
                pump.join(timeout=2.0)
        with self._write_lock:
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [self.location.python, "-I", "-u", "-X", "utf8", "-c", _BOOT]
        command += [str(PACKAGE.parent), PACKAGE.name, "serve"]
        try:
            return subprocess.Popen(  # noqa: S603  no shell, own command
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=engine_environment(self.variables),
                close_fds=True,
                **start_options(),
            )
        except OSError as error:
            raise JobError(
                ErrorCode.ENGINE_MISSING,
                f"The engine's Python at {self.location.python} could not be started.",
                SETUP_HINT,
                str(error),
            ) from error

    def _pump_messages(self) -> None:
        pipe = self._process.stdout
        if pipe is None:
            return
        with contextlib.suppress(OSError, ValueError):
            for line in pipe:
                self.last_sign = time.monotonic()
                try:
                    self._messages.put(messages.decode(line))
                except JobError as error:
                    self._tail.append(f"unreadable message: {error.detail}")
        self._messages.put(None)

    def _pump_log(self) -> None:
        pipe = self._process.stderr
        if pipe is None:
            return
        log = _open_log(self.log_file)
        try:
            with contextlib.suppress(OSError, ValueError):
                for line in pipe:
                    text = redact(line.decode("utf-8", "replace").rstrip())
                    self._tail.append(text)
                    if log is not None:
                        log.write(text + "\n")
                        log.flush()
        finally:
            if log is not None:
                log.close()


def _open_log(path: Path) -> Optional[IO[str]]:
    """Open the log for appending, after renaming a full one; None if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _LOG_LIMIT:
            os.replace(str(path), str(path) + ".1")  # noqa: PTH105
        return path.open("a", encoding="utf-8")
    except OSError:
        return None


def _explain_end(status: Optional[int], tail: str, process: EngineProcess) -> JobError:
    log = f"Its log is {process.log_file}."
    if "GEOSEG-PYTHON-TOO-OLD" in tail:
        version = tail.rpartition("GEOSEG-PYTHON-TOO-OLD")[2].split(maxsplit=1)[0]
        return JobError(
            ErrorCode.ENGINE_MISSING,
            f"The engine needs Python 3.10 or newer; {process.location.python} is {version}.",
            "Choose a newer Python in the GeoSeg options, or clear that option.",
        )
    if "ModuleNotFoundError" in tail or "ImportError" in tail:
        return JobError(
            ErrorCode.ENGINE_MISSING,
            "The engine's environment is incomplete: a package cannot be imported.",
            SETUP_HINT,
            tail,
        )
    advice = "Use a smaller extent, a coarser resolution or a smaller model, then run again."
    if "MemoryError" in tail or (status is not None and -status == getattr(signal, "SIGKILL", 9)):
        return JobError(
            ErrorCode.ENGINE_STOPPED,
            "The engine was killed, probably because the computer ran out of memory.",
            advice,
            tail,
        )
    if status is not None and status < 0:
        reason = f"signal {-status}"
    else:
        reason = "no exit status" if status is None else f"exit status {status}"
    return JobError(
        ErrorCode.ENGINE_STOPPED,
        f"The engine stopped unexpectedly ({reason}).",
        f"Run again; a new engine is started. {log}",
        tail,
    )
