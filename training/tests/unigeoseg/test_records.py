"""Images and masks of records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from unigeoseg_facts import write_raster

from training.unigeoseg.records import DataSetError, read_image


def test_image_of_one_band_and_of_sixteen_bits(tmp_path: Path) -> None:
    left = np.zeros((4, 6), dtype=np.uint8)
    left[:, :3] = 255
    write_raster(tmp_path / "grey.png", left)
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.stack([left] * 3, axis=-1))
    write_raster(tmp_path / "deep.tif", left.astype(np.uint16))
    with pytest.raises(DataSetError, match="uint16 pixels"):
        read_image(tmp_path / "deep.tif")
