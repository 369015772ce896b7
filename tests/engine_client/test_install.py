"""Real installations from a lock file of three small packages, and the checks of the engine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from geoseg_qgis.engine_client import install, verify
from geoseg_qgis.engine_client.child_process import clean_environment
from geoseg_qgis.engine_client.commands import CommandError, CommandRunner
from geoseg_qgis.engine_client.disk_checks import check_space
from geoseg_qgis.engine_client.file_lock import exclusive_lock
from geoseg_qgis.engine_client.install import install_engine
from geoseg_qgis.engine_client.interpreter import choose_python, suits_engine
from geoseg_qgis.engine_client.locate import (
    CRASH_MARKER,
    DATA_VARIABLE,
    LOCKS,
    environment_python,
    read_stamp,
)
from geoseg_qgis.engine_client.package_index import index_environment
from geoseg_qgis.engine_client.uv import find_or_fetch_uv
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError

SMALL = ("tqdm", "setuptools")
ROOT = Path(__file__).parents[2]


def pins(lock: Path, names: tuple[str, ...]) -> str:
    """Return the blocks of a lock file that pin the named packages."""
    blocks = lock.read_text(encoding="utf-8").replace(" \\\n", "\0").splitlines()
    chosen = [block for block in blocks if block.split("==")[0] in names]
    return "\n".join(chosen).replace("\0", " \\\n") + "\n"


def make_runner(folder: Path, is_cancelled: Callable[[], bool] = lambda: False) -> CommandRunner:
    environment = {**clean_environment(), **index_environment()}
    return CommandRunner(environment, folder, folder / "setup.log", is_cancelled)


@pytest.fixture
def small_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Locks like the engine's, wheels and one source package, that install within seconds."""
    uv = Path(find_or_fetch_uv(make_runner(tmp_path)))
    monkeypatch.setenv("PATH", f"{uv.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    locks = tmp_path / "locks"
    locks.mkdir()
    (locks / "engine.txt").write_text(pins(LOCKS / "engine.txt", SMALL), encoding="utf-8")
    source = pins(LOCKS / "sources.txt", ("antlr4-python3-runtime",))
    (locks / "sources.txt").write_text(source, encoding="utf-8")
    monkeypatch.setattr(install, "LOCKS", locks)
    monkeypatch.setattr(verify, "MODULES", ("tqdm", "antlr4"))
    return locks


def ignore(fraction: float, text: str) -> None:
    """Drop a report."""


def never() -> bool:
    return False


@pytest.mark.slow
def test_environment_is_created_then_only_checked(small_locks: Path, tmp_path: Path) -> None:
    reports: list[tuple[float, str]] = []
    destination = tmp_path / "engine"
    location = install_engine(destination, lambda *report: reports.append(report), never)
    assert location.python == str(environment_python(destination))
    fractions = [fraction for fraction, _ in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert read_stamp(destination)["versions"].keys() == {"tqdm", "antlr4"}
    assert not (destination / CRASH_MARKER).exists()
    configuration = (destination / "pyvenv.cfg").read_text(encoding="utf-8")
    assert "include-system-site-packages = false" in configuration
    caches = list(destination.glob("lib/*/site-packages/tqdm/__pycache__/std*.pyc"))
    assert len(caches) == 1

    reports.clear()
    install_engine(destination, lambda *report: reports.append(report), never)
    assert [text for _, text in reports] == [
        "Checking that every package works",
        "The engine is ready",
    ]


@pytest.mark.slow
def test_broken_environment_is_created_again(small_locks: Path, tmp_path: Path) -> None:
    destination = tmp_path / "engine"
    install_engine(destination, ignore, never)
    package = next(destination.glob("lib/*/site-packages/tqdm"))
    shutil.rmtree(package)
    install_engine(destination, ignore, never)
    assert (package / "__init__.py").exists()


@pytest.mark.slow
def test_interrupted_installation_is_created_again(small_locks: Path, tmp_path: Path) -> None:
    destination = tmp_path / "engine"
    install_engine(destination, ignore, never)
    (destination / CRASH_MARKER).touch()
    (destination / "left-over").touch()
    install_engine(destination, ignore, never)
    assert not (destination / CRASH_MARKER).exists()
    assert not (destination / "left-over").exists()


@pytest.mark.slow
def test_new_lock_updates_and_keeps_what_else_is_there(small_locks: Path, tmp_path: Path) -> None:
    destination = tmp_path / "engine"
    install_engine(destination, ignore, never)
    (destination / "of-a-developer").touch()
    extra = tmp_path / "extra.txt"
    extra.write_text(pins(LOCKS / "engine.txt", ("affine",)), encoding="utf-8")
    install_engine(destination, ignore, never, [extra])
    assert (destination / "of-a-developer").exists()
    assert list(destination.glob("lib/*/site-packages/affine*"))


@pytest.mark.slow
def test_wrong_hash_installs_nothing(small_locks: Path, tmp_path: Path) -> None:
    lock = small_locks / "engine.txt"
    text = lock.read_text(encoding="utf-8")
    digests = {word for word in text.split() if word.startswith("--hash=sha256:")}
    for digest in digests:
        text = text.replace(digest, "--hash=sha256:" + "0" * 64)
    lock.write_text(text, encoding="utf-8")
    destination = tmp_path / "engine"
    with pytest.raises(JobError) as caught:
        install_engine(destination, ignore, never)
    assert caught.value.message == (
        "A downloaded package does not match its recorded hash, so it was not installed."
    )
    assert (destination / CRASH_MARKER).exists()
    assert not list(destination.glob("lib/*/site-packages/tqdm"))


def test_cancel_kills_the_running_command(small_locks: Path, tmp_path: Path) -> None:
    texts: list[str] = []
    with pytest.raises(CancelledError):
        install_engine(
            tmp_path / "engine",
            lambda _, text: texts.append(text),
            lambda: bool(texts) and texts[-1].startswith("Installing"),
        )
    assert (tmp_path / "engine" / CRASH_MARKER).exists()


def test_folder_with_other_files_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    holiday = tmp_path / "pictures" / "holiday.jpg"
    holiday.parent.mkdir()
    holiday.write_bytes(b"jpeg")
    with pytest.raises(JobError) as caught:
        install_engine(holiday.parent, ignore, never)
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE
    assert holiday.read_bytes() == b"jpeg"


@pytest.mark.slow
def test_engine_of_these_tests_passes_every_check(tmp_path: Path) -> None:
    report = verify.verify_environment(Path(sys.executable), make_runner(tmp_path))
    assert set(report["versions"]) == set(verify.MODULES)
    assert report["versions"]["torch"].startswith("2.")


def test_interpreter_without_the_packages_fails_every_check(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    with pytest.raises(CommandError) as caught:
        verify.verify_environment(environment_python(bare), make_runner(tmp_path))
    assert "torch does not work: ModuleNotFoundError" in caught.value.output


def test_chosen_python_suits_the_engine(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    python = choose_python(runner)
    assert python == "3.12" or suits_engine(python, runner)
    assert not suits_engine("/bin/sh", runner)


def test_full_disk_is_reported_first(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "there", 1)
    with pytest.raises(JobError) as caught:
        check_space(tmp_path / "not" / "there", 2**60)
    assert caught.value.code is ErrorCode.DISK_FULL
    assert str(tmp_path) in caught.value.message


@pytest.mark.slow
def test_installations_wait_for_each_other_but_not_for_a_dead_one(tmp_path: Path) -> None:
    lock = tmp_path / "setup.lock"
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from geoseg_qgis.engine_client.file_lock import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1]), lambda: None, lambda: False):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        waits: list[str] = []
        polls = iter([False, False, True])
        with (
            pytest.raises(CancelledError),
            exclusive_lock(lock, lambda: waits.append("waiting"), lambda: next(polls)),
        ):
            pytest.fail("two processes held the lock at once")
        assert waits == ["waiting"]
        other.kill()
        other.wait()
        with exclusive_lock(lock, lambda: pytest.fail("a dead process holds the lock"), never):
            assert lock.exists()


@pytest.mark.slow
def test_command_that_runs_too_long_is_killed(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    with pytest.raises(CommandError) as caught:
        runner.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.5)
    assert caught.value.status == -signal.SIGKILL
    assert "timed out" in caught.value.output


def test_output_of_a_command_is_logged(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    lines: list[str] = []
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    with pytest.raises(CommandError) as caught:
        runner.run([sys.executable, "-c", script], on_line=lines.append)
    assert caught.value.status == 3
    assert sorted(lines) == ["err", "out"]
    assert "out\n" in runner.log_file.read_text(encoding="utf-8")
