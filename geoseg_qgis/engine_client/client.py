"""Runs jobs on an engine process that stays alive between them, one at a time."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import queue
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Tuple

from ..protocol import PLUGIN_VERSION, PROTOCOL_VERSION, messages
from ..protocol.codec import to_json
from ..protocol.errors import CancelledError, ErrorCode, JobError
from ..protocol.job import Job
from ..protocol.result import Result
from ..protocol.source import RasterSource
from .locate import EngineLocation, data_folder, locate_engine
from .process import EngineProcess

# Times are in seconds. A cancelled call waits CANCEL_GRACE for the engine to confirm.
POLL = 0.1
CANCEL_GRACE = 1.0
DRAIN_LIMIT = 15.0
START_LIMIT = 60.0
# While it works, the engine sends a heartbeat every two seconds.
SILENCE_LIMIT = 180.0
# A poll that takes this much longer than asked means that the computer was in standby.
_STANDBY = 10.0
_SPOILED = (ErrorCode.OUT_OF_MEMORY, ErrorCode.ENGINE_MISSING)
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
    """One engine process, which is started when it is first needed and again after a crash.

    Args:
        location: The engine's Python.
        log_file: File for the engine's stderr; by default in the data folder.
        silence_limit: Seconds without a message after which a working engine counts as dead.
        drain_limit: Seconds that a cancelled job may take to end before the engine is killed.

    Attributes:
        variables: Environment variables of the engine besides the system's. A running engine that
            was started with other variables is replaced before the next call.
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
        self._busy = threading.Lock()
        self._process: Optional[EngineProcess] = None
        self._identifiers = itertools.count(1)
        self._abandoned: Optional[int] = None
        self._timer: Optional[threading.Timer] = None
        self._last_exit: Optional[int] = None
        self._closings = 0

    @property
    def pid(self) -> Optional[int]:
        """Process id of the engine, or None if none is running."""
        process = self._process
        return process.pid if process is not None and process.alive else None

    def run(
        self,
        job: Job,
        on_progress: ProgressCallback = _ignore_progress,
        on_log: LogCallback = _ignore_log,
        is_cancelled: CancelCallback = _never,
    ) -> Result:
        """Run a job and return its result. Callbacks are called in the calling thread.

        Args:
            job: The job.
            on_progress: Called with the finished fraction in 0..1 and the phase.
            on_log: Called with ``info`` or ``warning`` and a sentence.
            is_cancelled: Polled ten times a second; once true, the call ends within about a second.

        Raises:
            CancelledError: When the user cancelled.
            JobError: The engine's error, or ``ENGINE_STOPPED`` when it died.
        """
        with self._exclusive_use(on_log, is_cancelled):
            response = self._call("run", job.to_json(), on_progress, on_log, is_cancelled)
        return Result.from_json(response)

    def bounds(
        self, source: RasterSource, is_cancelled: CancelCallback = _never
    ) -> Tuple[float, float, float, float]:
        """Return xmin, ymin, xmax, ymax of a raster as the engine's own libraries place it.

        Raises:
            JobError: ``SOURCE_UNREADABLE`` when they cannot open it.
        """
        with self._exclusive_use(_ignore_log, is_cancelled):
            response = self._call("bounds", to_json(source), is_cancelled=is_cancelled)
        xmin, ymin, xmax, ymax = response["bounds"]
        return xmin, ymin, xmax, ymax

    def start(self, is_cancelled: CancelCallback = _never) -> None:
        """Start the engine if it is not running, so that the first job does not wait for it."""
        with self._exclusive_use(_ignore_log, is_cancelled):
            self._ensure_started(is_cancelled)

    def status(self, is_cancelled: CancelCallback = _never) -> Dict[str, Any]:
        """Return the engine's versions, its devices with free memory, and the models in memory."""
        with self._exclusive_use(_ignore_log, is_cancelled):
            return self._call("status", {}, is_cancelled=is_cancelled)

    def release(self) -> None:
        """Let a running engine free its memory; does nothing while it works."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            if self.pid is not None:
                self._call("release", {})
        finally:
            self._busy.release()

    def close(self) -> None:
        """Stop the engine at once; a later call starts a new one."""
        self._closings += 1
        self._end_process(grace=1.0)

    @contextlib.contextmanager
    def _exclusive_use(self, on_log: LogCallback, is_cancelled: CancelCallback) -> Iterator[None]:
        reported = False
        while not self._busy.acquire(timeout=POLL):
            if is_cancelled():
                raise CancelledError
            if not reported:
                on_log("info", "Waiting for another run to finish.")
                reported = True
        try:
            yield
        finally:
            self._busy.release()

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
            # An engine that is being closed may still report its job as cancelled.
            cancelled_by_nobody = error.code is ErrorCode.CANCELLED and not is_cancelled()
            if closings != self._closings and (ended or cancelled_by_nobody):
                raise JobError(
                    ErrorCode.ENGINE_STOPPED, "The engine was closed during the run.", "Run again."
                ) from error
            if error.code in _SPOILED:
                # What was imported or allocated half-way stays broken in that process.
                self._end_process(grace=0.0)
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
            response = self._await_response(process, identifier, on_progress, on_log, is_cancelled)
        except BaseException as error:
            if isinstance(error, JobError) and error.code in _ENDED:
                self._last_exit = process.exit_status
                self._end_process(grace=0.0)
            elif self._abandoned != identifier:
                # A callback raised an error, so nobody waits for the job any more.
                with contextlib.suppress(JobError):
                    process.send(messages.notification("cancel", {"id": identifier}))
                self._abandon(process, identifier)
            raise
        return _unpack(response)

    def _await_response(
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
            if now - asked_at > POLL + _STANDBY:
                # The computer was in standby, and so was the engine: count its silence from here.
                process.last_sign = now
            if now - process.last_sign > self._silence_limit:
                raise JobError(
                    ErrorCode.ENGINE_STOPPED,
                    f"The engine has not responded for {self._silence_limit:.0f} seconds.",
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
                    f"The engine did not respond within {START_LIMIT:.0f} seconds after its start.",
                    "Run again. If that fails too, add its folder to your antivirus exceptions.",
                )
            message = self._next_message(process)
        greeting = _unpack(message)
        if greeting.get("protocol") != PROTOCOL_VERSION:
            raise JobError(
                ErrorCode.PROTOCOL_MISMATCH,
                f"The engine uses version {greeting.get('protocol')} of the protocol, the plugin "
                f"version {PROTOCOL_VERSION}.",
                "Restart QGIS so that both halves come from the same version of GeoSeg.",
            )

    def _abandon(self, process: EngineProcess, identifier: int) -> None:
        """Let a cancelled job end by itself; kill the engine if that takes too long."""
        self._abandoned = identifier
        arguments = (process, identifier)
        self._timer = threading.Timer(self._drain_limit, self._kill_abandoned, arguments)
        self._timer.daemon = True
        self._timer.start()

    def _kill_abandoned(self, process: EngineProcess, identifier: int) -> None:
        with self._busy:
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
        """Wait for a job that was cancelled earlier; kill the engine if it takes too long."""
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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
    """Return the client whose engine everything in this process shares.

    Args:
        setting: Interpreter that the user chose; see `locate_engine`.
        variables: Environment variables of the engine, such as a proxy; None leaves them unchanged.

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
