"""Files appear when they are complete, or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from geoseg_qgis.engine.files import Draft, Sidecar, appended, draft, sweep_drafts, unwritable
from geoseg_qgis.protocol.errors import ErrorCode, JobError


def fail(final: Path, error: BaseException, sidecars: tuple[Sidecar, ...] = ()) -> None:
    """Write half of a file and of what belongs to it, then raise."""
    with draft(final, ZeroDivisionError, sidecars=sidecars) as unfinished:
        for path in (unfinished, *(sidecar(unfinished) for sidecar in sidecars)):
            path.write_text("half")
        raise error


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_file_appears_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "table.csv"
    final.write_text("before")
    with draft(final) as unfinished:
        unfinished.write_text("after")
        assert unfinished.parent == tmp_path
        assert unfinished.suffix == ".csv"
        assert final.read_text() == "before"
    assert final.read_text() == "after"
    assert names(tmp_path) == {"table.csv"}


@pytest.mark.parametrize("error", [KeyError("other"), KeyboardInterrupt()])
def test_nothing_is_left_after_an_error(tmp_path: Path, error: BaseException) -> None:
    final = tmp_path / "table.csv"
    final.write_text("before")
    with pytest.raises(type(error)):
        fail(final, error)
    assert names(tmp_path) == {"table.csv"}
    assert final.read_text() == "before"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ErrorCode.DISK_FULL),
        (OSError(errno.EACCES, "Permission denied"), ErrorCode.OUTPUT_UNWRITABLE),
        (ZeroDivisionError("database or disk full"), ErrorCode.DISK_FULL),
        (ZeroDivisionError("malformed"), ErrorCode.OUTPUT_UNWRITABLE),
    ],
)
def test_errors_of_the_disk_and_of_the_library(
    tmp_path: Path, error: Exception, code: ErrorCode
) -> None:
    with pytest.raises(JobError) as caught:
        fail(tmp_path / "x.gpkg", error)
    assert caught.value.code is code
    assert caught.value.hint
    assert not names(tmp_path)


def test_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(JobError, match="cannot be written"), draft(tmp_path / "x") as unfinished:
        unfinished.write_text("x")
    assert names(tmp_path) == {"x"}


@pytest.mark.parametrize("name", ["a" * 250 + ".tif", "ä" * 127, "a." + "b" * 250, "x", ".hidden"])
def test_names_of_any_length(tmp_path: Path, name: str) -> None:
    sidecars = (appended(".aux.xml"),)
    unfinished = Draft(tmp_path / name, sidecars)
    assert len(sidecars[0](unfinished.path).name.encode()) <= 255
    with draft(tmp_path / name) as path:
        path.write_text("x")
    assert names(tmp_path) == {name}


def test_sidecars_move_with_their_file(tmp_path: Path) -> None:
    sidecars = (appended(".aux.xml"), appended(".ovr"))
    (tmp_path / "x.tif.ovr").write_text("of the file before")
    with draft(tmp_path / "x.tif", sidecars=sidecars) as unfinished:
        unfinished.write_text("x")
        sidecars[0](unfinished).write_text("metadata")
    assert names(tmp_path) == {"x.tif", "x.tif.aux.xml"}
    assert (tmp_path / "x.tif.aux.xml").read_text() == "metadata"
    with pytest.raises(KeyError):
        fail(tmp_path / "x.tif", KeyError(), sidecars)
    assert (tmp_path / "x.tif.aux.xml").read_text() == "metadata"
    assert names(tmp_path) == {"x.tif", "x.tif.aux.xml"}


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "real.csv", tmp_path / "link.csv"
    target.write_text("before")
    link.symlink_to(target)
    with draft(link, sidecars=(appended(".aux"),)) as unfinished:
        unfinished.write_text("after")
        appended(".aux")(unfinished).write_text("beside")
    assert link.is_symlink()
    assert target.read_text() == "after"
    assert names(tmp_path / "far") == {"real.csv"}
    assert (tmp_path / "link.csv.aux").read_text() == "beside"


def test_drafts_of_dead_processes_are_swept(tmp_path: Path) -> None:
    kept = Draft(tmp_path / "kept.tif").path
    kept.write_text("of this process")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = kept.with_name(kept.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
    foreign = tmp_path / ".x.0000-1-01234567.part.tif"
    for path in (dead, foreign):
        path.write_text("left behind")
    sweep_drafts(tmp_path)
    assert names(tmp_path) == {kept.name, foreign.name}


@pytest.mark.parametrize(("free", "code"), [(4096, "DISK_FULL"), (1 << 30, "OUTPUT_UNWRITABLE")])
def test_whatever_fails_on_a_disk_without_space_is_a_full_disk(
    free: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(total=1 << 40, used=0, free=free)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    error = unwritable(tmp_path / "a.gpkg", RuntimeError("no such table: gpkg_contents"))
    assert error.code is ErrorCode[code]
