"""Arrays on disk."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from geoseg_qgis.engine.raster.scratch import ScratchArray, ScratchFolder
from geoseg_qgis.protocol.errors import ErrorCode, JobError


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30), st.data())
def test_it_behaves_like_an_array(
    tmp_path_factory: pytest.TempPathFactory,
    bands: int,
    height: int,
    width: int,
    data: st.DataObject,
) -> None:
    expected = np.zeros((bands, height, width), np.float32)
    generator = np.random.default_rng(0)
    with ScratchFolder(tmp_path_factory.mktemp("s")) as folder:
        array = ScratchArray(folder, "a", bands, height, width, np.float32)
        for _ in range(4):
            top = data.draw(st.integers(0, height - 1))
            left = data.draw(st.integers(0, width - 1))
            rows = data.draw(st.integers(1, height - top))
            columns = data.draw(st.integers(1, width - left))
            values = generator.random((bands, rows, columns)).astype(np.float32)
            place = (slice(None), slice(top, top + rows), slice(left, left + columns))
            window = Window(left, top, columns, rows)
            if data.draw(st.booleans()):
                array.add(window, values)
                expected[place] += values
            else:
                array.write(window, values)
                expected[place] = values
            np.testing.assert_array_equal(array.read(window), expected[place])


def test_files_are_sparse_and_go_with_the_folder(tmp_path: Path) -> None:
    with ScratchFolder(tmp_path) as folder:
        array = ScratchArray(folder, "a", 4, 20000, 20000, np.float16)
        array.add(Window(100, 100, 64, 64), np.ones((4, 64, 64), np.float16))
        file = folder.path / "a"
        assert file.stat().st_size == 4 * 20000 * 20000 * 2
        assert file.stat().st_blocks * 512 < 5_000_000
        assert array.read(Window(99, 100, 3, 1))[0, 0].tolist() == [0, 1, 1]
    assert list(tmp_path.iterdir()) == []


def test_the_folder_goes_after_an_error_too(tmp_path: Path) -> None:
    def fail() -> None:
        with ScratchFolder(tmp_path) as folder:
            ScratchArray(folder, "a", 1, 4, 4, np.uint8)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_leftovers_of_a_crash_are_removed_and_living_runs_are_not(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from geoseg_qgis.engine.raster.scratch import ScratchFolder\n"
        "ScratchFolder(pathlib.Path(sys.argv[1])).__enter__()\n"
        "os._exit(1)\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        check=False, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 1
    with ScratchFolder(tmp_path) as first, ScratchFolder(tmp_path) as second:
        assert set(tmp_path.iterdir()) == {first.path, second.path}


def test_the_variable_names_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("GEOSEG_SCRATCH", str(elsewhere))
    with ScratchFolder(tmp_path / "results") as folder:
        assert folder.path.parent == elsewhere


def test_what_cannot_fit_is_refused_at_once(tmp_path: Path) -> None:
    with ScratchFolder(tmp_path) as folder, pytest.raises(JobError) as caught:
        ScratchArray(folder, "a", 64, 2_000_000, 2_000_000, np.float32)
    assert caught.value.code is ErrorCode.DISK_FULL


def test_promises_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1_000_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with ScratchFolder(tmp_path) as folder:
        ScratchArray(folder, "a", 1, 10000, 60000, np.uint8)
        with pytest.raises(JobError) as caught:
            ScratchArray(folder, "b", 1, 10000, 60000, np.uint8)
    assert caught.value.code is ErrorCode.DISK_FULL


def test_a_disk_that_runs_full_is_an_error_and_no_crash(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ScratchFolder(tmp_path) as folder:
        array = ScratchArray(folder, "a", 1, 1000, 1000, np.float32)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(JobError) as caught:
                array.write(Window(0, 500, 1000, 10), np.ones((1, 10, 1000), np.float32))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code is ErrorCode.DISK_FULL


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught, ScratchFolder(tmp_path / "none"):
        pass
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE


def test_windows_outside_and_wrong_shapes_are_refused(tmp_path: Path) -> None:
    with ScratchFolder(tmp_path) as folder:
        array = ScratchArray(folder, "a", 2, 5, 5, np.uint8)
        with pytest.raises(ValueError, match="outside"):
            array.read(Window(3, 0, 3, 1))
        with pytest.raises(ValueError, match="fill"):
            array.write(Window(0, 0, 2, 2), np.ones((1, 2, 2), np.uint8))
