"""The lane of the server for requests that somebody waits for with the mouse in the hand.

A thread of its own answers them one at a time, also while a job runs on the main thread. Only the
newest request waits: an older one that has not been answered gets the error ``SUPERSEDED``, at once
when it waits, and after its current step when it is being worked on.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoseg_qgis.engine.failures import as_job_error
from geoseg_qgis.engine.wire import Writer
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.outline import OutlineRequest, superseded

if TYPE_CHECKING:
    from .outliner import Outliner

METHODS = ("outline", "prepare")
REST = 0.3
"""Seconds without a request after which the lane works ahead."""


@dataclass
class _Request:
    identifier: Any
    method: str
    params: dict[str, Any]
    dropped: JobError | None = None

    def checkpoint(self) -> None:
        """Raise the reason why nobody waits any more, if there is one."""
        if self.dropped is not None:
            raise self.dropped


class Lane:
    """Answers outlines in a thread that starts with the first of them.

    Args:
        writer: The wire.
        release: Called after an error for lack of memory.
    """

    def __init__(self, writer: Writer, release: Callable[[], None]) -> None:
        self._writer = writer
        self._release = release
        self._changed = threading.Condition()
        self._waiting: _Request | None = None
        self._current: _Request | None = None
        self._thread: threading.Thread | None = None
        self._outliner: Outliner | None = None
        self._last_work = float("-inf")

    @property
    def last_work(self) -> float:
        """Time of ``time.monotonic`` at which there was work last; now while there is any."""
        with self._changed:
            if self._waiting is not None or self._current is not None:
                return time.monotonic()
            return self._last_work

    def put(self, identifier: Any, method: str, params: dict[str, Any]) -> None:
        """Take a request in the place of an older one that has not been answered."""
        request = _Request(identifier, method, params)
        with self._changed:
            replaced, self._waiting = self._waiting, request
            if self._current is not None and self._current.dropped is None:
                self._current.dropped = superseded()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="outlines", daemon=True)
                self._thread.start()
            self._changed.notify()
        if replaced is not None:
            self._writer.fail(replaced.identifier, superseded())

    def cancel(self, identifier: Any) -> None:
        """Drop a request; one that is not known here is not of this lane."""
        with self._changed:
            waiting = self._waiting
            if waiting is not None and waiting.identifier == identifier:
                self._waiting = None
            else:
                waiting = None
            current = self._current
            if current is not None and current.identifier == identifier:
                current.dropped = CancelledError()
        if waiting is not None:
            self._writer.fail(identifier, CancelledError())

    def _work(self) -> None:
        pause: float | None = REST
        while True:
            with self._changed:
                if self._waiting is None:
                    self._changed.wait(pause)
                request, self._waiting = self._waiting, None
                self._current = request
            if request is None:
                pause = 0.0 if self._work_ahead() else None
                continue
            pause = REST
            result, failure = self._answer(request)
            with self._changed:
                self._current = None
                self._last_work = time.monotonic()
            if failure is None:
                self._writer.respond(request.identifier, result)
            else:
                self._writer.fail(request.identifier, failure)

    def _work_ahead(self) -> bool:
        """Do a piece of work that nobody asked for; return whether there may be more."""
        with contextlib.suppress(Exception):
            return self._outliner is not None and self._outliner.use_rest()
        return False

    def _answer(self, request: _Request) -> tuple[dict[str, Any], JobError | None]:
        try:
            asked = OutlineRequest.from_json(request.params)
            request.checkpoint()
            outliner = self._ready()
            request.checkpoint()
            answer = outliner.outline if request.method == "outline" else outliner.prepare
            return answer(asked, request.checkpoint).to_json(), None
        except Exception as error:  # noqa: BLE001  no request may end the lane
            failure = as_job_error(error)
            if failure.code is ErrorCode.OUT_OF_MEMORY:
                self._release()
            return {}, failure

    def _ready(self) -> Outliner:
        if self._outliner is None:
            from .outliner import Outliner  # noqa: PLC0415  imports torch, which takes a second

            self._outliner = Outliner()
        return self._outliner
