"""Three files make a new kind of job; here its command, checks and result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from new_kind import KIND, copy_package


def geoseg(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "geoseg_qgis.engine", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_new_kind_has_a_command_and_its_checks(tmp_path: Path) -> None:
    folder = copy_package(tmp_path / "copy")
    image = tmp_path / "image.tif"
    with rasterio.open(
        image, "w", driver="GTiff", width=10, height=10, count=1, dtype="uint8",
        transform=rasterio.Affine(1, 0, 0, 0, -1, 0), crs="EPSG:32633",
    ) as dataset:  # fmt: skip
        dataset.write(np.arange(100, dtype=np.uint8).reshape(1, 10, 10))
    table = tmp_path / "table.csv"
    values = ["--input", str(image), "--table", str(table)]
    done = geoseg(folder, KIND, *values, "--level", "89", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["numbers"] == {"BRIGHT_PIXELS": 10.0}
    assert table.read_text(encoding="utf-8") == "bright\n10\n"
    assert "Pixels above it are bright. Default: 128." in geoseg(folder, KIND, "--help").stdout
    assert geoseg(folder, KIND, *values, "--level", "300").stderr.splitlines() == [
        "Error: Level must lie between 0 and 255; it is 300.",
        "       Give a number in this range, such as 128.",
    ]
    job = geoseg(folder, KIND, *values, "--print-job").stdout
    assert json.loads(job)["kind"] == KIND
