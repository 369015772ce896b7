"""Outlines while the user points: an engine process of its own, asked without waiting.

Requests and the messages of the engine meet in one queue that a thread reads, so that nothing polls
and nobody waits. Only the newest request counts: the engine drops the one before, and an answer
that comes late is dropped here. The engine of jobs is another process: a job that fills the memory
or is stopped does not take the clicks with it, and neither waits for the other.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from ..protocol import PLUGIN_VERSION, PROTOCOL_VERSION, messages
from ..protocol.errors import ErrorCode, JobError
from ..protocol.outline import Outline, OutlineRequest
from .locate import EngineLocation, data_folder
from .process import EngineProcess

# Seconds without an answer after which the engine counts as dead; loading a model takes long.
SILENCE_LIMIT = 180.0
_JOIN_LIMIT = 5.0
_UNWANTED = (ErrorCode.SUPERSEDED, ErrorCode.CANCELLED)

MakeRequest = Callable[[], OutlineRequest]
"""Makes a request in the thread that asks, for example after a picture of a web map was taken."""


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Attributes:
        serial: Number of the request.
        outline: The outline; None after an error.
        error: What went wrong.
    """

    serial: int
    outline: Optional[Outline] = None
    error: Optional[JobError] = None


@dataclass(frozen=True)
class _Ask:
    serial: int
    make: MakeRequest
    prepare: bool


@dataclass(frozen=True)
class _Message:
    """A message of an engine; None after the last one."""

    process: int
    content: Optional[Dict[str, Any]]


class _Inbox:
    """Puts the messages of one process into the queue of the thread."""

    def __init__(self, target: queue.Queue[Any], process: int) -> None:
        self._target = target
        self._process = process

    def put(self, item: Optional[Dict[str, Any]]) -> None:
        """Pass a message on."""
        self._target.put(_Message(self._process, item))


class OutlineClient:
    """Asks an engine for outlines; it is started when needed and again after a crash.

    Args:
        location: The engine's Python.
        on_answer: Called in the thread with each answer to the newest request.
        on_restart: Called in the thread when the engine died and was started anew.
        variables: Environment variables of the engine besides the system's.
        log_file: File for the engine's stderr; by default in the data folder.
        silence_limit: Seconds without an answer after which the engine counts as dead.
    """

    def __init__(
        self,
        location: EngineLocation,
        on_answer: Callable[[Answer], None],
        on_restart: Callable[[], None] = lambda: None,
        *,
        variables: Optional[Mapping[str, str]] = None,
        log_file: Optional[Path] = None,
        silence_limit: float = SILENCE_LIMIT,
    ) -> None:
        self.location = location
        self._on_answer = on_answer
        self._on_restart = on_restart
        self._variables = dict(variables or {})
        self._log_file = log_file or data_folder() / "logs" / "outlines.log"
        self._silence_limit = silence_limit
        self._queue: queue.Queue[Any] = queue.Queue()
        self._serials = itertools.count(1)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._newest = 0
        self._closed = False
        self._thread: Optional[threading.Thread] = None
        self._process: Optional[EngineProcess] = None
        self._number = 0
        self._pending: Optional[Tuple[_Ask, OutlineRequest]] = None
        self._retried = 0

    @property
    def pid(self) -> Optional[int]:
        """Process id of the engine, or None if none is running."""
        process = self._process
        return process.pid if process is not None and process.alive else None

    def outline(self, make: MakeRequest) -> int:
        """Ask for an outline and return the number of the request; any thread, without waiting.

        Args:
            make: Called in the thread of this client.
        """
        return self._ask(make, prepare=False)

    def prepare(self, make: MakeRequest) -> int:
        """Have the model loaded and a place encoded; as `outline`."""
        return self._ask(make, prepare=True)

    def forget(self) -> None:
        """Drop the answer to the newest request; the engine goes on."""
        with self._lock:
            self._newest = next(self._serials)

    def close(self) -> None:
        """Kill the engine and end the thread; nothing is called after that."""
        with self._lock:
            self._closed = True
            thread, process = self._thread, self._process
        self._queue.put(None)
        if process is not None:
            process.stop(0.0)
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_LIMIT)

    def _ask(self, make: MakeRequest, prepare: bool) -> int:
        with self._lock:
            serial = self._newest = next(self._serials)
            if self._closed:
                return serial
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="geoseg-outlines", daemon=True
                )
                self._thread.start()
        self._queue.put(_Ask(serial, make, prepare))
        return serial

    def _work(self) -> None:
        try:
            while not self._closed:
                self._step()
        finally:
            self._end_process()

    def _step(self) -> None:
        try:
            item = self._queue.get(timeout=self._silence_limit if self._pending else None)
        except queue.Empty:
            self._end_process()
            self._fail_pending(
                JobError(
                    ErrorCode.ENGINE_STOPPED,
                    f"The engine has not responded for {self._silence_limit:.0f} seconds.",
                    "Click again; a new engine is started.",
                )
            )
            return
        if isinstance(item, _Ask):
            self._take(item)
        elif isinstance(item, _Message) and item.process == self._number:
            self._receive(item.content)

    def _take(self, ask: _Ask) -> None:
        if ask.serial != self._newest:
            return
        try:
            request = ask.make()
            self._pending, self._retried = (ask, request), 0
            self._send(ask, request)
        except JobError as error:
            self._pending = None
            self._report(Answer(ask.serial, error=error))
        except Exception as error:  # noqa: BLE001  no request may end the thread
            self._pending = None
            self._report(Answer(ask.serial, error=_unexpected(error)))

    def _send(self, ask: _Ask, request: OutlineRequest) -> None:
        process = self._ensure_started()
        method = "prepare" if ask.prepare else "outline"
        try:
            process.send(messages.request(ask.serial, method, request.to_json()))
        except JobError as error:
            self._after_death(error)

    def _ensure_started(self) -> EngineProcess:
        if self._process is not None and self._process.alive:
            return self._process
        if self._process is not None and self._process.exit_status != 0:
            self._tell_restart()
        self._end_process()
        self._number = next(self._numbers)
        inbox = _Inbox(self._queue, self._number)
        process = EngineProcess(self.location, self._log_file, self._variables, inbox=inbox)
        with self._lock:
            self._process = process
            closed = self._closed
        if closed:
            process.stop(0.0)
        params = {"version": PLUGIN_VERSION, "protocol": PROTOCOL_VERSION}
        process.send(messages.request(-1, "hello", params))
        return process

    def _receive(self, message: Optional[Dict[str, Any]]) -> None:
        if message is None:
            process = self._process
            if process is not None:
                self._after_death(process.failure())
            return
        if message.get("id") == -1:
            self._check_greeting(message)
        pending = self._pending
        if pending is None or message.get("id") != pending[0].serial or "method" in message:
            return
        self._pending = None
        serial = pending[0].serial
        if "error" in message:
            error = JobError.from_json(message["error"].get("data", {}))
            if error.code not in _UNWANTED:
                self._report(Answer(serial, error=error))
            return
        try:
            self._report(Answer(serial, Outline.from_json(message.get("result", {}))))
        except JobError as error:
            self._report(Answer(serial, error=error))

    def _check_greeting(self, message: Dict[str, Any]) -> None:
        version = message.get("result", {}).get("protocol")
        if version != PROTOCOL_VERSION:
            self._fail_pending(
                JobError(
                    ErrorCode.PROTOCOL_MISMATCH,
                    f"The engine uses version {version} of the protocol, the plugin version "
                    f"{PROTOCOL_VERSION}.",
                    "Restart QGIS so that both halves come from the same version of GeoSeg.",
                )
            )

    def _after_death(self, error: JobError) -> None:
        """Start a new engine for the request that the old one did not answer, once."""
        idle = self._process is not None and self._process.exit_status == 0
        self._end_process()
        if self._pending is None or self._closed:
            return
        if self._retried or error.code is not ErrorCode.ENGINE_STOPPED:
            self._fail_pending(error)
            return
        self._retried += 1
        if not idle:
            self._tell_restart()
        try:
            self._send(*self._pending)
        except JobError as again:
            self._fail_pending(again)

    def _tell_restart(self) -> None:
        # As for answers, the listener may be gone already.
        with contextlib.suppress(Exception):
            self._on_restart()

    def _fail_pending(self, error: JobError) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            self._report(Answer(pending[0].serial, error=error))

    def _report(self, answer: Answer) -> None:
        with self._lock:
            wanted = answer.serial == self._newest and not self._closed
        if wanted:
            # The listener may be gone already; that must not end the thread.
            with contextlib.suppress(Exception):
                self._on_answer(answer)

    def _end_process(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        self._number = 0
        if process is not None:
            process.stop(0.0)


def _unexpected(error: Exception) -> JobError:
    return JobError(
        ErrorCode.INTERNAL,
        f"The request for an outline could not be made: {type(error).__name__}: {error}.",
        "Click again; if it happens again, report it.",
    )
