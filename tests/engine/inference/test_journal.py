"""Finished tiles survive kills, damage and full disks, and never more than that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geoseg_qgis.engine.inference import journal as journals
from geoseg_qgis.engine.inference.journal import Journal, Surroundings, sweep, unfinished_folder
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEOSEG_SCRATCH", str(tmp_path))
    return tmp_path


@contextmanager
def stopped(fingerprint: str, surroundings: Surroundings | None = None) -> Iterator[Journal]:
    """Yield the journal of a job that is cancelled at the end of the block."""
    with suppress(CancelledError), Journal.open(fingerprint, surroundings) as journal:
        yield journal
        raise CancelledError


def stop(fingerprint: str, count: int, total: int = 9) -> None:
    """Keep some tiles and stop."""
    with stopped(fingerprint) as journal:
        stage = journal.stage("stage", 1, total)
        for number in range(count):
            stage.recall(str(number), lambda number=number: [np.full((2, 3), number, np.float32)])


def kept(fingerprint: str, total: int = 9) -> tuple[list[int], list[str]]:
    """Return the tiles that are there, and what was said."""
    said: list[str] = []
    with stopped(fingerprint, Surroundings(report=said.append)) as journal:
        stage = journal.stage("stage", 1, total)
        found = [number for number in range(total) if stage.find(str(number)) is not None]
    return found, said


def test_a_stopped_run_is_continued_and_a_finished_one_leaves_nothing(scratch: Path) -> None:
    stop("a", 4)
    assert kept("a") == (
        [0, 1, 2, 3],
        ["Continued a run that had stopped: 4 of 9 tiles were kept."],
    )
    assert kept("b") == ([], [])
    with Journal.open("a") as journal:
        assert journal.stage("stage", 2, 9).find("0") is None
        assert journal.stage("other", 1, 9).find("0") is None
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "keeps"),
    [
        (JobError(ErrorCode.DISK_FULL, "Full.", ""), True),
        (MemoryError(), True),
        (KeyboardInterrupt(), True),
        # What was kept may be the reason.
        (JobError(ErrorCode.INTERNAL, "Why?", ""), False),
        (ValueError("Why?"), False),
        (RuntimeError("The size of tensor a must match"), False),
    ],
)
def test_errors_that_may_pass_keep_the_tiles(error: BaseException, keeps: bool) -> None:
    def fail() -> None:
        with Journal.open("a") as journal:
            journal.stage("stage", 1, 9).keep("0", [np.ones(3)])
            raise error

    with pytest.raises(type(error)):
        fail()
    assert kept("a")[0] == ([0] if keeps else [])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_cut_anywhere_keeps_what_is_whole(scratch: Path, data: st.DataObject) -> None:
    stop("a", 5)
    (path,) = unfinished_folder().iterdir()
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut] + data.draw(st.binary(max_size=60)))
    found, _ = kept("a")
    assert found == list(range(cut * 5 // len(whole)))
    path.unlink(missing_ok=True)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_never_taken_for_a_tile(scratch: Path, data: st.DataObject) -> None:
    stop("a", 5)
    (path,) = unfinished_folder().iterdir()
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with stopped("a") as journal:
        stage = journal.stage("stage", 1, 9)
        for number in range(5):
            found = stage.find(str(number))
            assert found is None or found[0].tolist() == [[number] * 3] * 2
    path.unlink(missing_ok=True)


VALUES = arrays.arrays(
    st.sampled_from(["u1", "<i4", "<i8", "<f4", "<f8", "?"]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, max_size=4))
def test_arrays_come_back_bit_by_bit(scratch: Path, values: list[np.ndarray]) -> None:
    with stopped("a") as journal:
        journal.stage("stage", 1, 1).keep("0", values)
    with Journal.open("a") as journal:
        found = journal.stage("stage", 1, 1).find("0")
    assert found is not None
    assert [(one.dtype, one.shape, one.tobytes()) for one in found] == [
        (one.dtype, one.shape, one.tobytes()) for one in values
    ]


def test_a_second_run_of_the_same_job_keeps_nothing_and_spoils_nothing() -> None:
    stop("a", 2)
    with stopped("a") as first:
        with Journal.open("a") as second:
            stage = second.stage("stage", 1, 9)
            assert stage.find("0") is None
            stage.keep("5", [np.ones(3)])
        assert first.stage("stage", 1, 9).find("0") is not None
    assert kept("a")[0] == [0, 1]


def test_tiles_that_could_not_be_read_are_not_kept() -> None:
    failures: list[str] = []

    def fail() -> list[np.ndarray]:
        failures.append("Block 3 cannot be read.")
        return [np.zeros(3)]

    with stopped("a", Surroundings(failures=lambda: len(failures))) as journal:
        stage = journal.stage("stage", 1, 9)
        stage.recall("0", fail)
        stage.recall("1", lambda: [np.zeros(3)])
    assert kept("a")[0] == [1]


def test_the_run_goes_on_where_nothing_more_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MOST_BYTES", 500)
    with stopped("a") as journal:
        stage = journal.stage("stage", 1, 9)
        for number in range(9):
            stage.recall(str(number), lambda: [np.zeros(20)])
    assert 0 < len(kept("a")[0]) < 9


def test_space_that_the_run_needs_is_left_to_it() -> None:
    with stopped("a", Surroundings(reserved=lambda _: 1 << 60)) as journal:
        journal.stage("stage", 1, 9).keep("0", [np.zeros(20)])
    assert kept("a")[0] == []


def test_jobs_that_never_come_back_are_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("old", "large", "new"):
        stop(name, 3)
    folder = unfinished_folder()
    changed = (folder / "new.tiles").stat().st_mtime
    os.utime(folder / "old.tiles", (changed, changed - journals.MOST_AGE - 60))
    os.utime(folder / "large.tiles", (changed, changed - 60))
    sweep(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["large.tiles", "new.tiles"]
    monkeypatch.setattr(journals, "MOST_BYTES", (folder / "new.tiles").stat().st_size + 1)
    sweep(folder)
    assert [path.name for path in folder.iterdir()] == ["new.tiles"]
