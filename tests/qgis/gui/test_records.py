"""The list of runs, without any window."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoseg_qgis.gui.jobs.records import MOST_ENDED, JobList, State, process_command
from geoseg_qgis.processing.time_left import TimeLeft


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    clock, seen = Clock(), []
    jobs = JobList(clock, lambda record: seen.append((record.state, record.fraction)))
    job = jobs.add("image - classes", "geoseg:openvocabulary", {"CLASSES": "water"}, "run()")
    assert jobs.running == (job,)
    assert jobs.time_left(job.number) is None
    for clock.now in range(1, 11):
        jobs.progress(job.number, clock.now / 40)
    # A quarter took 10 seconds.
    assert jobs.time_left(job.number) == pytest.approx(30.0)
    clock.now = 15.0
    assert jobs.time_left(job.number) == pytest.approx(25.0)
    jobs.line(job.number, "warning", "Look here.")
    result = tmp_path / "classes.tif"
    result.write_bytes(b"")
    jobs.end(job.number, True, {"CLASSES_FOUND": 1.0, "OUTPUT": str(result)})
    assert (job.state, job.fraction, job.folder) == (State.FINISHED, 1.0, tmp_path)
    assert (job.error, job.warnings) == ("", ("Look here.",))
    clock.now = 99.0
    assert jobs.elapsed(job.number) == 15.0
    assert jobs.time_left(job.number) is None
    assert seen[0] == (State.RUNNING, 0.0)
    assert seen[-1] == (State.FINISHED, 1.0)
    jobs.progress(job.number, 0.5)
    assert job.fraction == 1.0


def test_a_failure_after_a_cancel_is_a_cancel() -> None:
    jobs = JobList(Clock())
    cancelled, failed = (jobs.add("a", "geoseg:refer", {}, "") for _ in range(2))
    jobs.cancelling(cancelled.number)
    jobs.line(failed.number, "error", "The disk is full.")
    for job in (cancelled, failed):
        jobs.end(job.number, False, {})
    assert (cancelled.state, failed.state) == (State.CANCELLED, State.FAILED)
    assert failed.error == "The disk is full."
    assert failed.folder is None


def test_only_ended_runs_leave_the_list() -> None:
    jobs = JobList(Clock())
    first = jobs.add("first", "geoseg:refer", {}, "")
    for _ in range(MOST_ENDED + 5):
        jobs.end(jobs.add("next", "geoseg:refer", {}, "").number, True, {})
    jobs.add("last", "geoseg:refer", {}, "")
    jobs.remove(first.number)
    assert len(jobs) == MOST_ENDED + 2
    assert [job.title for job in jobs][:2] == ["last", "next"]
    assert jobs.get(first.number) is first


def test_slow_loading_does_not_spoil_the_estimate() -> None:
    left = TimeLeft(0.0)
    left.update(60.0, 0.02)
    for second in range(61, 181):
        left.update(float(second), 0.02 + 0.005 * (second - 60))
    # The last minute and a half gained 0.5 % a second.
    assert left.seconds(180.0) == pytest.approx((1.0 - 0.62) / 0.005, rel=0.01)


def test_the_command_can_be_pasted_into_a_shell() -> None:
    command = process_command(
        "geoseg:openvocabulary",
        {"INPUT": "/my data/a.tif", "CLASSES": "building, roof; it's", "RIVALS": True}
        | {"BANDS": [3, 2, 1], "RESOLUTION": None},
    )
    assert command == (
        "qgis_process run geoseg:openvocabulary -- 'INPUT=/my data/a.tif' "
        "'CLASSES=building, roof; it'\"'\"'s' RIVALS=true BANDS=3 BANDS=2 BANDS=1"
    )
