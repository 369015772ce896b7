"""The client with the real engine process: results, crashes, cancelling, waiting and closing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import wait_until

from geoseg_qgis.engine_client import EngineClient, EngineLocation, close_shared, shared_client
from geoseg_qgis.engine_client.locate import PYTHON_VARIABLE
from geoseg_qgis.protocol import PLUGIN_VERSION, PROTOCOL_VERSION
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.registry import KINDS

ROOT = Path(__file__).parents[2]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def call_soon(delay: float, action: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(delay, action)
    timer.start()
    return timer


def start(client: EngineClient, job: Job) -> int:
    """Start the engine without importing anything heavy there, and return its process id."""
    with pytest.raises(JobError):
        client.run(job)
    assert client.pid is not None
    return client.pid


def hold(client: EngineClient, calls: list[dict[str, object]]) -> threading.Thread:
    """Return a thread that keeps the client busy until the engine has responded."""
    polled = threading.Event()

    def never() -> bool:
        polled.set()
        return False

    thread = threading.Thread(target=lambda: calls.append(client.status(never)))
    thread.start()
    assert polled.wait(60.0)
    return thread


def send_signal(client: EngineClient, number: int) -> None:
    if client.pid is not None:
        os.kill(client.pid, number)


@pytest.mark.slow
def test_status_names_versions_and_devices(client: EngineClient) -> None:
    status = client.status()
    assert status["version"] == PLUGIN_VERSION
    assert status["protocol"] == PROTOCOL_VERSION
    assert status["jobs"] == list(KINDS)
    assert status["devices"][-1]["device"] == "cpu"
    assert all(device["problem"] == "" for device in status["devices"])
    assert 200e6 < status["memory"] < 8e9


def test_failed_job_leaves_the_engine_alive(client: EngineClient, invalid_job: Job) -> None:
    pids = []
    for _ in range(2):
        with pytest.raises(JobError) as caught:
            client.run(invalid_job)
        assert caught.value.code is ErrorCode.INVALID_JOB
        assert caught.value.message == "Thresholds must be a text; it is 5."
        assert caught.value.hint == "Give a text."
        pids.append(client.pid)
    assert pids[0] is not None
    assert pids[0] == pids[1]


@pytest.mark.slow
def test_killed_engine_is_reported_and_replaced(client: EngineClient, invalid_job: Job) -> None:
    """The first status imports PyTorch, which leaves time to kill the engine at work."""
    first = start(client, invalid_job)
    call_soon(0.3, lambda: os.kill(first, signal.SIGKILL))
    with pytest.raises(JobError) as caught:
        client.status()
    assert caught.value.code is ErrorCode.ENGINE_STOPPED
    assert "memory" in caught.value.message
    assert client.pid is None
    assert start(client, invalid_job) != first


@pytest.mark.slow
def test_crash_names_the_signal_and_the_log(client: EngineClient, invalid_job: Job) -> None:
    first = start(client, invalid_job)
    call_soon(0.3, lambda: os.kill(first, signal.SIGSEGV))
    with pytest.raises(JobError) as caught:
        client.status()
    assert caught.value.code is ErrorCode.ENGINE_STOPPED
    assert "signal 11" in caught.value.message
    assert "engine.log" in caught.value.hint


def test_engine_killed_while_idle_is_replaced_unnoticed(
    client: EngineClient, invalid_job: Job
) -> None:
    first = start(client, invalid_job)
    os.kill(first, signal.SIGKILL)
    # A process whose threads are still going is no longer running, but not yet gone either.
    assert wait_until(lambda: client.pid is None)
    assert start(client, invalid_job) != first


@pytest.mark.slow
def test_cancel_does_not_wait_for_a_stopped_engine(
    location: EngineLocation, tmp_path: Path, invalid_job: Job
) -> None:
    """The call returns long before the engine is killed, and the next call replaces it."""
    client = EngineClient(location, tmp_path / "engine.log", drain_limit=3.0)
    try:
        stopped = start(client, invalid_job)
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(CancelledError):
            client.run(invalid_job, is_cancelled=lambda: True)
        assert is_running(stopped)
        assert start(client, invalid_job) != stopped
        assert not is_running(stopped)
    finally:
        client.close()


@pytest.mark.slow
def test_stopped_engine_is_killed_without_another_call(
    client: EngineClient, invalid_job: Job
) -> None:
    stopped = start(client, invalid_job)
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(CancelledError):
        client.run(invalid_job, is_cancelled=lambda: True)
    assert wait_until(lambda: not is_running(stopped))


@pytest.mark.slow
def test_cancelled_engine_that_responds_late_is_kept(
    client: EngineClient, invalid_job: Job
) -> None:
    slow = start(client, invalid_job)
    os.kill(slow, signal.SIGSTOP)
    with pytest.raises(CancelledError):
        client.run(invalid_job, is_cancelled=lambda: True)
    os.kill(slow, signal.SIGCONT)
    assert start(client, invalid_job) == slow


@pytest.mark.slow
def test_silent_engine_is_killed(
    location: EngineLocation, tmp_path: Path, invalid_job: Job
) -> None:
    client = EngineClient(location, tmp_path / "engine.log", silence_limit=1.0)
    try:
        silent = start(client, invalid_job)
        os.kill(silent, signal.SIGSTOP)
        with pytest.raises(JobError) as caught:
            client.run(invalid_job)
        assert caught.value.code is ErrorCode.ENGINE_STOPPED
        assert "1 seconds" in caught.value.message
        assert not is_running(silent)
    finally:
        client.close()


@pytest.mark.slow
def test_second_run_waits_for_its_turn(client: EngineClient, invalid_job: Job) -> None:
    """Both runs use one engine, and the second one reports that it waits."""
    start(client, invalid_job)
    others: list[dict[str, object]] = []
    thread = hold(client, others)
    said: list[str] = []
    with pytest.raises(JobError) as caught:
        client.run(invalid_job, on_log=lambda _, text: said.append(text))
    thread.join()
    assert caught.value.code is ErrorCode.INVALID_JOB
    assert said == ["Waiting for another run to finish."]
    assert others[0]["pid"] == client.pid


@pytest.mark.slow
def test_waiting_run_can_be_cancelled(client: EngineClient, invalid_job: Job) -> None:
    pid = start(client, invalid_job)
    os.kill(pid, signal.SIGSTOP)
    others: list[dict[str, object]] = []
    thread = hold(client, others)
    with pytest.raises(CancelledError):
        client.run(invalid_job, is_cancelled=lambda: True)
    assert not others
    os.kill(pid, signal.SIGCONT)
    thread.join()
    assert others[0]["pid"] == pid


def test_close_ends_the_process(client: EngineClient, invalid_job: Job) -> None:
    pid = start(client, invalid_job)
    client.close()
    assert not is_running(pid)
    assert client.pid is None


@pytest.mark.slow
def test_close_during_a_run_does_not_start_another_engine(
    client: EngineClient, invalid_job: Job
) -> None:
    os.kill(start(client, invalid_job), signal.SIGSTOP)
    call_soon(0.3, client.close)
    with pytest.raises(JobError) as caught:
        client.status()
    assert caught.value.code is ErrorCode.ENGINE_STOPPED
    assert caught.value.message == "The engine was closed during the run."
    assert client.pid is None


@pytest.mark.slow
def test_release_gives_memory_back_and_keeps_the_engine(client: EngineClient) -> None:
    pid = client.status()["pid"]
    client.release()
    assert client.status()["pid"] == pid


def test_shared_client_is_the_same_everywhere(
    monkeypatch: pytest.MonkeyPatch, location: EngineLocation, invalid_job: Job
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, location.python)
    client = shared_client()
    assert shared_client() is client
    pid = start(client, invalid_job)
    close_shared()
    assert not is_running(pid)
    assert shared_client() is not client
    close_shared()


def test_other_variables_take_another_engine(
    monkeypatch: pytest.MonkeyPatch, location: EngineLocation, invalid_job: Job
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, location.python)
    first = start(shared_client(variables={"GEOSEG_MODELS": "a"}), invalid_job)
    assert start(shared_client(), invalid_job) == first
    assert start(shared_client(variables={"GEOSEG_MODELS": "a"}), invalid_job) == first
    second = start(shared_client(variables={"GEOSEG_MODELS": "b"}), invalid_job)
    assert second != first
    assert not is_running(first)
    close_shared()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_orphan_when_the_parent_is_killed(tmp_path: Path, number: int) -> None:
    """A killed QGIS cleans nothing up: the engine has to notice by itself."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from geoseg_qgis.engine_client import EngineClient, EngineLocation\n"
        "client = EngineClient(EngineLocation(sys.executable, 'setting'), Path(sys.argv[1]))\n"
        "client.status()\n"
        "print(client.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "engine.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        engine = int(parent.stdout.readline())
        assert is_running(engine)
        parent.send_signal(number)
        parent.wait()
        assert wait_until(lambda: not is_running(engine))


@pytest.mark.slow
def test_leaves_no_open_pipe(tmp_path: Path) -> None:
    """QGIS's Python shows ResourceWarning; here it is an error."""
    script = (
        "import gc, sys\n"
        "from pathlib import Path\n"
        "from geoseg_qgis.engine_client import EngineClient, EngineLocation\n"
        "client = EngineClient(EngineLocation(sys.executable, 'setting'), Path(sys.argv[1]))\n"
        "client.status(); client.close(); del client; gc.collect()\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "always", "-c", script, str(tmp_path / "e.log")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" not in done.stderr


def test_missing_interpreter_is_reported(tmp_path: Path, invalid_job: Job) -> None:
    client = EngineClient(EngineLocation(str(tmp_path / "python"), "setting"), tmp_path / "e.log")
    with pytest.raises(JobError) as caught:
        client.run(invalid_job)
    assert caught.value.code is ErrorCode.ENGINE_MISSING
    assert str(tmp_path / "python") in caught.value.message


def test_interpreter_without_packages_is_reported(tmp_path: Path, plain_job: Job) -> None:
    """An empty environment starts, and the first job names the next step."""
    folder = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    client = EngineClient(
        EngineLocation(str(folder / "bin" / "python"), "setting"), tmp_path / "engine.log"
    )
    try:
        with pytest.raises(JobError) as caught:
            client.run(plain_job)
    finally:
        client.close()
    assert caught.value.code is ErrorCode.ENGINE_MISSING
    assert "geoseg:setup" in caught.value.hint


def test_log_holds_the_stderr_of_the_engine(
    client: EngineClient, tmp_path: Path, invalid_job: Job
) -> None:
    """An abort makes Python's fault handler write the stacks of all threads."""
    os.kill(start(client, invalid_job), signal.SIGABRT)
    assert wait_until(lambda: client.pid is None)
    client.close()
    assert "Fatal Python error: Aborted" in (tmp_path / "engine.log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_cancel_between_tiles_keeps_the_engine(
    client: EngineClient, long_job: Job, tmp_path: Path
) -> None:
    """A running job stops at its next tile and leaves no file behind."""
    reports: list[float] = []
    with pytest.raises(CancelledError):
        client.run(
            long_job,
            lambda fraction, _: reports.append(fraction),
            is_cancelled=lambda: bool(reports),
        )
    assert reports[-1] < 0.5
    pid = client.pid
    assert client.status()["pid"] == pid
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine.log", "scores.tif"]


@pytest.mark.slow
def test_engine_killed_between_tiles_leaves_no_result(
    client: EngineClient, long_job: Job, tmp_path: Path
) -> None:
    def kill_once(fraction: float, phase: str) -> None:
        del fraction, phase
        send_signal(client, signal.SIGKILL)

    with pytest.raises(JobError) as caught:
        client.run(long_job, kill_once)
    assert caught.value.code is ErrorCode.ENGINE_STOPPED
    assert not (tmp_path / "classes.tif").exists()


@pytest.mark.slow
def test_progress_of_a_run_rises(client: EngineClient, long_job: Job) -> None:
    reports: list[tuple[float, str]] = []
    with pytest.raises(CancelledError):
        client.run(
            long_job,
            lambda fraction, phase: reports.append((fraction, phase)),
            is_cancelled=lambda: len(reports) >= 5,
        )
    fractions = [fraction for fraction, _ in reports]
    assert fractions == sorted(fractions)
    assert all(0.0 <= fraction <= 1.0 for fraction in fractions)
    assert all(phase for _, phase in reports)


@pytest.mark.slow
def test_callback_that_raises_ends_the_job(client: EngineClient, long_job: Job) -> None:
    def fail(fraction: float, phase: str) -> None:
        raise ZeroDivisionError(f"{fraction} {phase}")

    with pytest.raises(ZeroDivisionError):
        client.run(long_job, fail)
    pid = client.pid
    assert client.status()["pid"] == pid
    assert client.pid == pid
