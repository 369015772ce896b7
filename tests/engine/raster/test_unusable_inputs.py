"""Inputs that place no pixel or never end, and errors that mean too little memory."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import socket
from pathlib import Path

import pytest

from geoseg_qgis.engine.failures import as_job_error
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.vector.paths import readable
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import RasterSource

UNUSABLE = {
    "no pixel": (0, 0, 0, 0, 0, 0),
    "flat": (500000, 1, 0, 5000000, 0, 0),
    "parallel axes": (0, 1, 1, 0, 1, 1),
    "no number": (math.nan, 1, 0, 0, 0, -1),
    "infinite": (math.inf, 1, 0, 0, 0, -1),
    "tiny": (0, 1e-300, 0, 0, 0, -1e-300),
    "below rounding": (500000, 1e-12, 0, 5000000, 0, -1e-12),
    "huge": (0, 1e300, 0, 0, 0, -1e300),
}
USABLE = {
    "millimetres": (500000, 0.001, 0, 5000000, 0, -0.001),
    "degrees": (179.9995, 2.2e-6, 0, -16.5, 0, -2.2e-6),
    "the world": (-180, 0.1, 0, 90, 0, -0.1),
    "turned": (500000, 0.2, 0.1, 5000000, 0.1, -0.2),
    "south up": (500000, 1, 0, 5000000, 0, 1),
}


def write_vrt(path: Path, transform: tuple[float, ...]) -> RasterSource:
    numbers = ", ".join(repr(float(value)) for value in transform)
    path.write_text(
        '<VRTDataset rasterXSize="64" rasterYSize="32">'
        f"<GeoTransform>{numbers}</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>',
        encoding="utf-8",
    )
    return RasterSource(str(path))


@pytest.mark.parametrize("name", UNUSABLE)
def test_geotransforms_without_a_place_are_refused(name: str, tmp_path: Path) -> None:
    source = write_vrt(tmp_path / "raster.vrt", UNUSABLE[name])
    with pytest.raises(JobError) as caught, open_raster(source):
        pass
    assert caught.value.code is ErrorCode.SOURCE_UNREADABLE
    assert "gives its pixels no place on the map." in caught.value.message


@pytest.mark.parametrize("name", USABLE)
def test_unusual_geotransforms_are_accepted(name: str, tmp_path: Path) -> None:
    with open_raster(write_vrt(tmp_path / "raster.vrt", USABLE[name])) as raster:
        assert raster.grid.shape == (32, 64)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such files")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_inputs_that_never_end_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "input"
    with contextlib.ExitStack() as stack:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
        else:
            path = Path("/dev/zero")
        for read in (
            lambda: stack.enter_context(open_raster(RasterSource(str(path)))),
            lambda: readable(str(path)),
        ):
            with pytest.raises(JobError) as caught:
                read()
            assert caught.value.code is ErrorCode.SOURCE_UNREADABLE
            assert "not a file" in caught.value.message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ImportError("libtorch.so: failed to map segment from shared object"), "OUT_OF_MEMORY"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "OUT_OF_MEMORY"),
        (MemoryError(), "OUT_OF_MEMORY"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "OUT_OF_MEMORY"),
        (ImportError("cannot allocate memory in static TLS block"), "ENGINE_MISSING"),
        (ImportError("No module named 'torch'"), "ENGINE_MISSING"),
        (OSError(errno.ENOSPC, "No space left on device"), "DISK_FULL"),
    ],
)
def test_too_little_memory_is_not_a_broken_environment(error: Exception, code: str) -> None:
    assert as_job_error(error).code is ErrorCode[code]
