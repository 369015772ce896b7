"""The engine process itself, spoken to line by line."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_process import EngineProcess
from places import ROOT

from geoseg_qgis.engine.failures import as_job_error
from geoseg_qgis.engine.wire import Reporter, Writer
from geoseg_qgis.protocol import PROTOCOL_VERSION
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.reclassify import ReclassifyTask

JOB = Job(RasterSource("missing.tif"), ReclassifyTask("0.5"))


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    engine = EngineProcess()
    yield engine
    engine.close()


def test_hello_is_answered_before_heavy_imports(engine: EngineProcess) -> None:
    engine.send(id=1, method="hello")
    result = engine.answer(1)["result"]
    assert result["protocol"] == PROTOCOL_VERSION
    assert result["pid"] == engine.process.pid
    maps = Path(f"/proc/{engine.process.pid}/maps")
    if maps.exists():
        assert "libtorch" not in maps.read_text(encoding="utf-8")


def test_unknown_method_is_an_error(engine: EngineProcess) -> None:
    engine.send(id=3, method="dance")
    error = engine.answer(3)["error"]
    assert error["data"]["code"] == "protocol_mismatch"
    assert "'dance'" in error["message"]


@pytest.mark.parametrize(
    "line", [b"not json", b'{"id": 1, "method": "hello"}', b"[1, 2]", b"\xff\xfe"]
)
def test_foreign_line_is_refused_and_survived(engine: EngineProcess, line: bytes) -> None:
    engine.send_line(line)
    assert engine.answer(None)["error"]["data"]["code"] == "protocol_mismatch"
    engine.send(id=2, method="hello")
    assert engine.answer(2)["result"]["protocol"] == PROTOCOL_VERSION


def test_job_in_bad_form_is_refused_by_member(engine: EngineProcess) -> None:
    form = JOB.to_json()
    form["task"]["thresholds"] = None
    engine.send(id=4, method="run", params=form)
    data = engine.answer(4)["error"]["data"]
    assert data["code"] == "invalid_job"
    assert data["message"] == "Thresholds must be a text; it is empty."


@pytest.mark.slow
def test_failing_job_leaves_the_engine_usable(engine: EngineProcess) -> None:
    for identifier in (1, 2):
        engine.send(id=identifier, method="run", params=JOB.to_json())
        data = engine.answer(identifier)["error"]["data"]
        assert data["code"] != "cancelled"
        assert data["hint"]


@pytest.mark.slow
def test_request_cancelled_while_it_waits_is_never_begun(engine: EngineProcess) -> None:
    """The status imports PyTorch first, so the job behind it is still waiting."""
    engine.send(id=1, method="status")
    engine.send(id=2, method="run", params=JOB.to_json())
    engine.send(method="cancel", params={"id": 2})
    assert engine.answer(1)["result"]["busy"] is False
    assert engine.answer(2)["error"]["data"]["code"] == "cancelled"


@pytest.mark.slow
def test_status_is_answered_while_a_job_runs(engine: EngineProcess, long_job: Job) -> None:
    engine.send(id=1, method="run", params=long_job.to_json())
    while engine.receive()["method"] != "progress":
        pass
    engine.send(id=2, method="status")
    while (message := engine.receive()).get("id") != 2:
        assert message["method"] in ("progress", "log", "heartbeat")
    assert message["result"]["busy"] is True
    engine.send(method="cancel", params={"id": 1})
    assert engine.answer(1)["error"]["data"]["code"] == "cancelled"


def test_shutdown_ends_it_with_status_0(engine: EngineProcess) -> None:
    engine.send(id=1, method="hello")
    engine.answer(1)
    engine.send(method="shutdown")
    assert engine.process.wait(timeout=60.0) == 0


def test_end_of_stdin_ends_it_even_at_work(engine: EngineProcess) -> None:
    engine.send(id=1, method="hello")
    engine.answer(1)
    engine.send(id=2, method="status")
    time.sleep(0.2)
    assert engine.process.stdin is not None
    engine.process.stdin.close()
    engine.process.stdin = None
    assert engine.process.wait(timeout=60.0) == 0


def test_interrupt_is_left_to_the_client(engine: EngineProcess) -> None:
    engine.send(id=1, method="hello")
    engine.answer(1)
    os.kill(engine.process.pid, signal.SIGINT)
    engine.send(id=2, method="hello")
    assert engine.answer(2)["result"]["pid"] == engine.process.pid


@pytest.mark.slow
def test_idle_engine_ends_by_itself() -> None:
    engine = EngineProcess("--idle-release", "0.1", "--idle-exit", "0.2")
    try:
        engine.send(id=1, method="hello")
        engine.answer(1)
        assert engine.process.wait(timeout=60.0) == 0
    finally:
        engine.close()


def test_prints_of_libraries_do_not_reach_the_wire() -> None:
    """Python's, C's and a child's prints all land on stderr; nobody else reads stdin."""
    script = (
        "import os, subprocess, sys\n"
        "from geoseg_qgis.engine.wire import Writer, take_standard_streams\n"
        "requests, responses = take_standard_streams()\n"
        "print('from print'); os.write(1, b'from write\\n')\n"
        "subprocess.run([sys.executable, '-c', 'import sys; print(repr(sys.stdin.read()))'])\n"
        "Writer(responses).respond(7, {'line': requests.readline().decode()})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=b"a request\n",
        capture_output=True,
        cwd=ROOT,
        check=True,
    )
    assert json.loads(done.stdout) == {"jsonrpc": "2.0", "id": 7, "result": {"line": "a request\n"}}
    for text in (b"from print", b"from write", b"''"):
        assert text in done.stderr


def test_progress_is_at_most_ten_a_second_and_keeps_phases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a clock that goes on by 1/64 second with each report, every seventh one is sent."""
    clock = itertools.count(1)
    monkeypatch.setattr("time.monotonic", lambda: next(clock) / 64)
    stream = io.BytesIO()
    reporter = Reporter(Writer(stream), 5)
    for index in range(1000):
        reporter.progress(index / 1000, "Tiles")
    reporter.progress(0.999, "Polygons")
    reporter.progress(1.0, "Polygons")
    messages = [json.loads(line)["params"] for line in stream.getvalue().splitlines()]
    tiles = [message["fraction"] for message in messages if message["phase"] == "Tiles"]
    assert tiles == [index / 1000 for index in range(0, 1000, 7)]
    assert [(m["fraction"], m["phase"]) for m in messages[-2:]] == [
        (0.999, "Polygons"),
        (1.0, "Polygons"),
    ]
    assert {message["id"] for message in messages} == {5}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), ErrorCode.OUT_OF_MEMORY),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "out_of_memory",
        ),
        (OSError(28, "No space left on device"), ErrorCode.DISK_FULL),
        (PermissionError(13, "Permission denied", "/data/x.tif"), ErrorCode.OUTPUT_UNWRITABLE),
        (ModuleNotFoundError("No module named 'timm'"), ErrorCode.ENGINE_MISSING),
        (ZeroDivisionError("division by zero"), ErrorCode.INTERNAL),
    ],
)
def test_exceptions_become_sentences(error: Exception, code: str) -> None:
    try:
        raise error
    except Exception as raised:  # noqa: BLE001  the catch-all is what is tested
        failure = as_job_error(raised)
    assert failure.code == code
    assert failure.message.endswith(".")
    assert failure.hint.endswith(".")
    assert "Traceback" in failure.detail
    assert type(error).__name__ in failure.detail


@pytest.mark.slow
def test_out_of_gpu_memory_is_known_by_its_class() -> None:
    torch = pytest.importorskip("torch")
    assert as_job_error(torch.OutOfMemoryError("CUDA")).code is ErrorCode.OUT_OF_MEMORY


def test_job_errors_pass_unchanged() -> None:
    error = JobError(ErrorCode.INVALID_JOB, "a.", "b.")
    assert as_job_error(error) is error
