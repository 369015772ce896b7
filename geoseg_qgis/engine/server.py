"""The engine as a server: JSON-RPC over stdio, one job at a time. Models stay loaded between jobs.

A daemon thread owns stdin from the first instant: it answers ``hello`` before any heavy import,
takes ``cancel`` while a job runs, and ends the process when the other side is gone. Jobs run on the
main thread, which some libraries insist on. Outlines have a thread of their own, so that they are
answered while a job runs.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import platform
import queue
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, BinaryIO

from geoseg_qgis.protocol import PLUGIN_VERSION, PROTOCOL_VERSION, messages
from geoseg_qgis.protocol.codec import from_json
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.registry import KINDS
from geoseg_qgis.protocol.source import RasterSource

from .failures import as_job_error
from .interactive.lane import METHODS as INTERACTIVE
from .interactive.lane import Lane
from .wire import Reporter, Writer, take_standard_streams

HEARTBEAT_INTERVAL = 2.0
IDLE_POLL = 1.0


@dataclass(frozen=True)
class IdleLimits:
    """Seconds without a job after which memory is given back, and after which the engine ends."""

    release: float = 300.0
    exit: float = 1800.0


@dataclass
class _Call:
    identifier: Any
    method: str
    params: dict[str, Any]
    cancelled: threading.Event


class Server:
    """Serves one client until it hangs up.

    Args:
        requests: Stream of request lines.
        responses: Stream for responses and notifications.
        limits: See `IdleLimits`.
    """

    def __init__(self, requests: BinaryIO, responses: BinaryIO, limits: IdleLimits) -> None:
        self._requests = requests
        self._writer = Writer(responses)
        self._limits = limits
        self._calls: queue.Queue[_Call | None] = queue.Queue()
        self._open: dict[Any, _Call] = {}
        self._lock = threading.Lock()
        self._running: _Call | None = None
        self._lane = Lane(self._writer, _release_memory)

    def serve(self) -> int:
        """Answer requests until ``shutdown``, a long idle time or the end of stdin."""
        for work in (self._read_requests, self._beat):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()
        last_work, released = time.monotonic(), True
        while True:
            try:
                call = self._calls.get(timeout=IDLE_POLL)
            except queue.Empty:
                if self._lane.last_work > last_work:
                    last_work, released = self._lane.last_work, False
                idle = time.monotonic() - last_work
                if idle > self._limits.release and not released:
                    _release_memory()
                    released = True
                if idle > self._limits.exit and self._end_idle():
                    return 0
                continue
            if call is None:
                return 0
            self._answer(call)
            last_work, released = time.monotonic(), False

    def _end_idle(self) -> bool:
        with self._lock:
            return not self._open and self._calls.empty()

    def _read_requests(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := self._requests.readline(messages.MAXIMUM_LINE):
                try:
                    self._take(messages.decode(line))
                except Exception as error:  # noqa: BLE001  no line may make the engine deaf
                    self._writer.fail(None, as_job_error(error))
        os._exit(0)

    def _take(self, message: dict[str, Any]) -> None:
        method, identifier = message.get("method"), message.get("id")
        params = message.get("params") or {}
        if method == "cancel":
            with self._lock:
                call = self._open.get(params.get("id"))
            if call is not None:
                call.cancelled.set()
            self._lane.cancel(params.get("id"))
        elif method == "shutdown":
            self._shut_down(identifier)
        elif method == "hello":
            self._writer.respond(identifier, _greeting())
        elif method == "status" and self._running is not None:
            self._writer.respond(identifier, {**_greeting(), "busy": True, "devices": None})
        elif method in INTERACTIVE:
            self._lane.put(identifier, str(method), params)
        elif method in ("run", "bounds", "status", "release"):
            call = _Call(identifier, str(method), params, threading.Event())
            with self._lock:
                self._open[identifier] = call
            self._calls.put(call)
        else:
            self._writer.fail(identifier, _unknown_method(method))

    def _shut_down(self, identifier: Any) -> None:
        with self._lock:
            for call in self._open.values():
                call.cancelled.set()
        if identifier is not None:
            self._writer.respond(identifier, {})
        self._calls.put(None)

    def _answer(self, call: _Call) -> None:
        self._running = call
        result: dict[str, Any] = {}
        failure: JobError | None = None
        try:
            result = self._do(call)
        except Exception as error:  # noqa: BLE001  no error of a job may end the engine
            failure = as_job_error(error)
            if failure.code is ErrorCode.OUT_OF_MEMORY:
                _release_memory()
        # A client that has the response must find the engine free.
        self._running = None
        with self._lock:
            self._open.pop(call.identifier, None)
        if failure is None:
            self._writer.respond(call.identifier, result)
        else:
            self._writer.fail(call.identifier, failure)

    def _do(self, call: _Call) -> dict[str, Any]:
        if call.method == "release":
            _release_memory()
            return {}
        if call.method == "bounds":
            return _bounds_of(call.params)
        if call.method == "status":
            return {**_greeting(), "busy": False, **_machine_status()}
        return self._run(call)

    def _run(self, call: _Call) -> dict[str, Any]:
        if call.cancelled.is_set():
            raise CancelledError
        job = Job.from_json(call.params)
        from .jobs.registry import run_job  # noqa: PLC0415
        from .progress import JobContext  # noqa: PLC0415  the greeting must not wait for it

        reporter = Reporter(self._writer, call.identifier)
        context = JobContext(reporter.progress, reporter.log, call.cancelled.is_set)
        return run_job(job, context).to_json()

    def _beat(self) -> None:
        parent = os.getppid()
        while True:
            time.sleep(HEARTBEAT_INTERVAL)
            if os.name == "posix" and os.getppid() != parent:
                os._exit(0)
            running = self._running
            if running is not None:
                with contextlib.suppress(OSError, ValueError):
                    self._writer.notify("heartbeat", {"id": running.identifier})


def _greeting() -> dict[str, Any]:
    return {
        "version": PLUGIN_VERSION,
        "protocol": PROTOCOL_VERSION,
        "pid": os.getpid(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "jobs": list(KINDS),
    }


def _machine_status() -> dict[str, Any]:
    from .hardware import resident_memory  # noqa: PLC0415  nothing heavy may be imported at start
    from .models.device import list_devices  # noqa: PLC0415  imports torch

    return {"devices": list_devices(), "memory": resident_memory()}


def _bounds_of(params: dict[str, Any]) -> dict[str, Any]:
    """Return where a raster lies as the libraries of the engine see it."""
    source = from_json(RasterSource, params, "source")
    from .raster.datasets import open_dataset  # noqa: PLC0415  imports GDAL

    with contextlib.closing(open_dataset(source)) as opened:
        return {"bounds": list(opened.grid(source.crs_wkt).bounds)}


def _release_memory() -> None:
    from .hardware import release_memory  # noqa: PLC0415  nothing heavy may be imported at start

    release_memory()


def _unknown_method(method: Any) -> JobError:
    return JobError(
        ErrorCode.PROTOCOL_MISMATCH,
        f"The engine has no request called {method!r}.",
        "Restart QGIS so that both halves come from the same version of GeoSeg.",
    )


def main(arguments: list[str]) -> int:
    """Serve over this process's stdin and stdout."""
    requests, responses = take_standard_streams()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    parser = argparse.ArgumentParser(prog="geoseg serve")
    parser.add_argument("--idle-release", type=float, default=IdleLimits.release)
    parser.add_argument("--idle-exit", type=float, default=IdleLimits.exit)
    options = parser.parse_args(arguments)
    status = Server(
        requests, responses, IdleLimits(options.idle_release, options.idle_exit)
    ).serve()
    sys.stderr.flush()
    os._exit(status)
