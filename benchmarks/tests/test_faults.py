"""A short part of the fault programme, with the faults of one seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults import __main__ as programme
from benchmarks.faults import hostile
from benchmarks.faults.engine import Outcome

pytestmark = pytest.mark.slow
SEED = 7


def test_every_malformed_message_leaves_the_engine_able_to_answer() -> None:
    outcome = hostile.messages(24, SEED)
    assert outcome.failures == []
    assert outcome.tried == 24


def test_every_hostile_job_gets_a_sentence(tmp_path: Path) -> None:
    outcome = hostile.jobs(24, SEED, tmp_path)
    assert outcome.failures == []
    assert outcome.tried == 25


def test_every_hostile_raster_gets_a_sentence(tmp_path: Path) -> None:
    outcome = hostile.files(SEED, tmp_path, 18)
    assert outcome.failures == []
    assert outcome.tried == 18


def test_the_page_keeps_the_rows_that_were_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programme, "PAGE", tmp_path / "reliability.md")
    first = Outcome("malformed messages", 5, ["no greeting"])
    programme.write_page({"messages": vars(first)})
    skipped = Outcome("full disk (tmpfs)", 0, [], "there is no unshare")
    programme.write_page({"full-disk": vars(skipped)})
    lines = (tmp_path / "reliability.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(("| messages", "| full-disk"))] == [
        "| messages | malformed messages | 5 | 1 |",
        "| full-disk | full disk (tmpfs) | 0 | not tried: there is no unshare |",
    ]
