"""Runs jobs on a warm engine process, one at a time, from any thread."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import queue
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Mapping, Optional

from ..protocol import PLUGIN_VERSION, PROTOCOL_VERSION, messages
from ..protocol.errors import CancelledError, ErrorCode, JobError
from ..protocol.job import Job
from ..protocol.result import Result
from .locate import EngineLocation, data_folder, locate_engine
from .process import EngineProcess

POLL = 0.1
CANCEL_GRACE = 1.0
DRAIN_LIMIT = 15.0
START_LIMIT = 60.0
SILENCE_LIMIT = 180.0
_SLEPT = 10.0
_ENDED = (ErrorCode.ENGINE_STOPPED, ErrorCode.ENGINE_MISSING)

ProgressCallback = Callable[[float, str], None]
LogCallback = Callable[[str, str], None]
CancelCallback = Callable[[], bool]


def _ignore_progress(fraction: float, phase: str) -> None:
    """Drop a progress report."""


def _ignore_log(level: str, text: str) -> None:
    """Drop a log line."""


def _never() -> bool:
    return False


class EngineClient:
    """A handle on one engine process, which is started when first needed and again after a crash.

    Args:
        location: The engine's Python.
        log_file: Where the engine's stderr goes; by default in the data folder.
        silence_limit: Seconds without any sign of life after which a working engine is given up.
        drain_limit: Seconds that a cancelled job may take to end before the engine is killed.

    Attributes:
        variables: Variables of the engine on top of the system's; an engine that was started with
            others is replaced before its next call.
    """

    def __init__(
        self,
        location: EngineLocation,
        log_file: Optional[Path] = None,
        silence_limit: float = SILENCE_LIMIT,
        drain_limit: float = DRAIN_LIMIT,
    ) -> None:
        self.location = location
        self.variables: Dict[str, str] = {}
        self._log_file = log_file or data_folder() / "logs" / "engine.log"
        self._silence_limit = silence_limit
        self._drain_limit = drain_limit
        self._turn = threading.Lock()
        self._process: Optional[EngineProcess] = None
        self._identifiers = itertools.count(1)
        self._abandoned: Optional[int] = None
        self._reaper: Optional[threading.Timer] = None
        self._last_exit: Optional[int] = None
        self._closings = 0

    @property
    def pid(self) -> Optional[int]:
        """Process id of the engine, or None when none runs."""
        process = self._process
        return process.pid if process is not None and process.alive else None

    def run(
        self,
        job: Job,
        on_progress: ProgressCallback = _ignore_progress,
        on_log: LogCallback = _ignore_log,
        is_cancelled: CancelCallback = _never,
    ) -> Result:
        """Do a job and wait for its result. Callbacks are called in the calling thread.

        Args:
            job: What to do.
            on_progress: Gets the finished fraction in 0..1 and the phase.
            on_log: Gets ``info`` or ``warning`` and a sentence.
            is_cancelled: Polled ten times a second; once true, the call ends within about a second.

        Raises:
            CancelledError: When the user cancelled.
            JobError: What the engine reported, or ``ENGINE_STOPPED`` when it died.
        """
        with self._taking_turns(on_log, is_cancelled):
            answer = self._call("run", job.to_json(), on_progress, on_log, is_cancelled)
        return Result.from_json(answer)

    def start(self, is_cancelled: CancelCallback = _never) -> None:
        """Start the engine if it does not run, so that the first job need not wait for it."""
        with self._taking_turns(_ignore_log, is_cancelled):
            self._ensure_started(is_cancelled)

    def status(self, is_cancelled: CancelCallback = _never) -> Dict[str, Any]:
        """Return the engine's versions, devices with free memory, and what it keeps warm."""
        with self._taking_turns(_ignore_log, is_cancelled):
            return self._call("status", {}, is_cancelled=is_cancelled)

    def release(self) -> None:
        """Make a running engine give its memory back; does nothing while it works."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            if self.pid is not None:
                self._call("release", {})
        finally:
            self._turn.release()

    def close(self) -> None:
        """Stop the engine, whatever it does; a later call starts a new one."""
        self._closings += 1
        self._end_process(grace=1.0)

    @contextlib.contextmanager
    def _taking_turns(self, on_log: LogCallback, is_cancelled: CancelCallback) -> Iterator[None]:
        told = False
        while not self._turn.acquire(timeout=POLL):
            if is_cancelled():
                raise CancelledError
            if not told:
                on_log("info", "Waiting for another run to finish.")
                told = True
        try:
            yield
        finally:
            self._turn.release()

    def _call(
        self,
        method: str,
        params: Dict[str, Any],
        on_progress: ProgressCallback = _ignore_progress,
        on_log: LogCallback = _ignore_log,
        is_cancelled: CancelCallback = _never,
    ) -> Dict[str, Any]:
        self._settle_abandoned(is_cancelled)
        closings = self._closings
        try:
            return self._attempt(method, params, on_progress, on_log, is_cancelled)
        except JobError as error:
            ended = error.code in _ENDED
            # An engine that is told to close may still manage to cancel its job.
            cancelled_by_nobody = error.code is ErrorCode.CANCELLED and not is_cancelled()
            if closings != self._closings and (ended or cancelled_by_nobody):
                raise JobError(
                    ErrorCode.ENGINE_STOPPED, "The engine was closed during the run.", "Run again."
                ) from error
            if not ended or self._last_exit != 0:
                raise
        return self._attempt(method, params, on_progress, on_log, is_cancelled)

    def _attempt(
        self,
        method: str,
        params: Dict[str, Any],
        on_progress: ProgressCallback,
        on_log: LogCallback,
        is_cancelled: CancelCallback,
    ) -> Dict[str, Any]:
        self._last_exit = None
        process = self._ensure_started(is_cancelled)
        identifier = next(self._identifiers)
        process.last_sign = time.monotonic()
        try:
            process.send(messages.request(identifier, method, params))
            answer = self._await_answer(process, identifier, on_progress, on_log, is_cancelled)
        except BaseException as error:
            if isinstance(error, JobError) and error.code in _ENDED:
                self._last_exit = process.exit_status
                self._end_process(grace=0.0)
            elif self._abandoned != identifier:
                # A callback raised: nobody waits for the job any more.
                with contextlib.suppress(JobError):
                    process.send(messages.notification("cancel", {"id": identifier}))
                self._abandon(process, identifier)
            raise
        return _unpack(answer)

    def _await_answer(
        self,
        process: EngineProcess,
        identifier: int,
        on_progress: ProgressCallback,
        on_log: LogCallback,
        is_cancelled: CancelCallback,
    ) -> Dict[str, Any]:
        cancelled_at: Optional[float] = None
        while True:
            if cancelled_at is None and is_cancelled():
                cancelled_at = time.monotonic()
                process.send(messages.notification("cancel", {"id": identifier}))
            if cancelled_at is not None and time.monotonic() - cancelled_at > CANCEL_GRACE:
                self._abandon(process, identifier)
                raise CancelledError
            message = self._next_message(process)
            if message is None:
                continue
            if message.get("id") == identifier and "method" not in message:
                return message
            _notify(message, identifier, on_progress, on_log)

    def _next_message(self, process: EngineProcess) -> Optional[Dict[str, Any]]:
        asked_at = time.monotonic()
        try:
            message = process.inbox.get(timeout=POLL)
        except queue.Empty:
            now = time.monotonic()
            if now - asked_at > POLL + _SLEPT:
                # The computer slept, and the engine with it: its silence begins anew.
                process.last_sign = now
            if now - process.last_sign > self._silence_limit:
                raise JobError(
                    ErrorCode.ENGINE_STOPPED,
                    f"The engine gave no sign of life for {self._silence_limit:.0f} seconds.",
                    "Run again; a new engine is started.",
                ) from None
            return None
        if message is None:
            raise process.failure()
        return message

    def _ensure_started(self, is_cancelled: CancelCallback) -> EngineProcess:
        process, variables = self._process, dict(self.variables)
        if process is not None and process.alive:
            if process.variables == variables:
                return process
            self._end_process(grace=1.0)
        self._end_process(grace=0.0)
        process = EngineProcess(self.location, self._log_file, variables)
        self._process = process
        try:
            self._greet(process, is_cancelled)
        except JobError:
            self._end_process(grace=0.0)
            raise
        return process

    def _greet(self, process: EngineProcess, is_cancelled: CancelCallback) -> None:
        identifier = next(self._identifiers)
        params = {"version": PLUGIN_VERSION, "protocol": PROTOCOL_VERSION}
        process.send(messages.request(identifier, "hello", params))
        deadline = time.monotonic() + START_LIMIT
        message = None
        while message is None or message.get("id") != identifier:
            if is_cancelled():
                raise CancelledError
            if time.monotonic() > deadline:
                raise JobError(
                    ErrorCode.ENGINE_STOPPED,
                    f"The engine did not answer within {START_LIMIT:.0f} seconds of its start.",
                    "Run again; if that fails too, let an antivirus programme trust its folder.",
                )
            message = self._next_message(process)
        answer = _unpack(message)
        if answer.get("protocol") != PROTOCOL_VERSION:
            raise JobError(
                ErrorCode.PROTOCOL_MISMATCH,
                f"The engine speaks protocol {answer.get('protocol')}, the plugin "
                f"{PROTOCOL_VERSION}.",
                "Restart QGIS so that both halves come from the same version of GeoSeg.",
            )

    def _abandon(self, process: EngineProcess, identifier: int) -> None:
        """Let a cancelled job end by itself, but not for ever."""
        self._abandoned = identifier
        self._reaper = threading.Timer(self._drain_limit, self._reap, (process, identifier))
        self._reaper.daemon = True
        self._reaper.start()

    def _reap(self, process: EngineProcess, identifier: int) -> None:
        with self._turn:
            if self._abandoned != identifier or self._process is not process:
                return
            while True:
                try:
                    message = process.inbox.get_nowait()
                except queue.Empty:
                    break
                if message is None or (message.get("id") == identifier and "method" not in message):
                    self._abandoned = None
                    return
            self._end_process(grace=0.0)

    def _settle_abandoned(self, is_cancelled: CancelCallback) -> None:
        """Wait until a job that was cancelled before has ended, and kill the engine if it won't."""
        identifier, process = self._abandoned, self._process
        if identifier is None or process is None:
            return
        deadline = time.monotonic() + self._drain_limit
        while time.monotonic() < deadline:
            if is_cancelled():
                raise CancelledError
            try:
                message = process.inbox.get(timeout=POLL)
            except queue.Empty:
                continue
            if message is None:
                break
            if message.get("id") == identifier and "method" not in message:
                self._forget_abandoned()
                return
        self._end_process(grace=0.0)

    def _forget_abandoned(self) -> None:
        self._abandoned = None
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None

    def _end_process(self, grace: float) -> None:
        self._forget_abandoned()
        process, self._process = self._process, None
        if process is not None:
            process.stop(grace)


def _unpack(message: Dict[str, Any]) -> Dict[str, Any]:
    if "error" in message:
        error = JobError.from_json(message["error"].get("data", {}))
        if error.code is ErrorCode.CANCELLED:
            raise CancelledError(error.message, error.hint)
        raise error
    result: Dict[str, Any] = message.get("result", {})
    return result


def _notify(
    message: Dict[str, Any], identifier: int, on_progress: ProgressCallback, on_log: LogCallback
) -> None:
    params = message.get("params", {})
    if params.get("id") != identifier:
        return
    if message.get("method") == "progress":
        on_progress(float(params.get("fraction", 0.0)), str(params.get("phase", "")))
    elif message.get("method") == "log":
        on_log(str(params.get("level", "info")), str(params.get("text", "")))


_shared: Dict[str, EngineClient] = {}
_shared_lock = threading.Lock()


def shared_client(setting: str = "", variables: Optional[Mapping[str, str]] = None) -> EngineClient:
    """Return the client whose warm engine all doors of this process share.

    Args:
        setting: Interpreter that the user chose; see `locate_engine`.
        variables: Variables of the engine, such as a proxy; None leaves them as they are.

    Raises:
        JobError: ``ENGINE_MISSING`` when no engine is installed.
    """
    location = locate_engine(setting)
    with _shared_lock:
        client = _shared.get(location.python)
        if client is None:
            client = _shared[location.python] = EngineClient(location)
        if variables is not None:
            client.variables = dict(variables)
        return client


def close_shared() -> None:
    """Stop every shared engine."""
    with _shared_lock:
        clients = list(_shared.values())
        _shared.clear()
    for client in clients:
        client.close()


atexit.register(close_shared)
