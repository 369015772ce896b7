"""Which area is kept, on arrays and on files that are read band by band."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.methods.referring.unigeoseg.best_area import keep_best, keep_best_of
from geoseg_qgis.engine.methods.referring.unigeoseg.tiling import ProbabilityFile
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.vector import components
from geoseg_qgis.protocol.errors import CancelledError

SHAPE = (80, 100)
ALL = Window(0, 0, 100, 80)


def quiet(_: float) -> None:
    """Drop a progress report."""


def places(mask: NDArray[np.bool_]) -> set[Any]:
    return set(zip(*np.nonzero(mask), strict=True))


def kept(probability: NDArray[np.float32], threshold: float, left_out: int) -> set[Any]:
    copy = probability.copy()
    assert keep_best_of(copy, threshold) == left_out
    return places(copy > threshold)


def test_the_area_with_the_most_evidence_is_kept() -> None:
    small, large = np.zeros((2, 40, 60), bool)
    small[5:15, 5:15] = True
    large[5:35, 30:55] = True
    probability = np.where(small, 0.9, np.where(large, 0.55, 0.1)).astype(np.float32)
    probability[38, 2] = 0.999
    # Square root of the pixels times log odds: 10 * 2.2 against 27 * 0.2 and 1 * 6.9.
    assert kept(probability, 0.5, left_out=2) == places(small)
    probability[large] = 0.8
    assert kept(probability, 0.5, left_out=2) == places(large)
    # Beyond a threshold of 0.79 the large area has hardly any evidence left.
    assert kept(probability, 0.79, left_out=2) == places(small)


def test_certain_pixels_do_not_win_by_certainty_alone() -> None:
    probability = np.zeros((8, 8), np.float32)
    probability[0, 0] = 1.0
    probability[4:, 4:] = 0.99
    assert keep_best_of(probability, 0.0) == 1
    assert (probability[4:, 4:] > 0).all()
    assert np.count_nonzero(probability) == 16


def test_areas_that_touch_at_corners_are_two() -> None:
    """As in the polygons, where they are two as well."""
    probability = np.zeros((20, 20), np.float32)
    probability[:10, :10] = probability[10:15, 10:15] = 0.9
    assert keep_best_of(probability, 0.5) == 1
    assert np.count_nonzero(probability) == 100


def test_two_pixels_around_the_best_area_keep_their_probability() -> None:
    probability = np.full((30, 30), 0.3, np.float32)
    probability[10:20, 10:20] = 0.9
    probability[2, 2] = 0.9
    assert keep_best_of(probability, 0.5) == 1
    assert probability[8, 15] == probability[15, 21] == np.float32(0.3)
    assert probability[7, 15] == probability[15, 22] == probability[2, 2] == 0.0


def test_one_area_or_none_stays_as_it_is() -> None:
    probability = np.full((8, 8), 0.3, np.float32)
    before = probability.copy()
    assert keep_best_of(probability, 0.5) == 0
    assert np.array_equal(probability, before)
    probability[2:5, 2:5] = 1.0
    before = probability.copy()
    assert keep_best_of(probability, 0.5) == 0
    assert np.array_equal(probability, before)


def test_bands_of_rows_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probability = np.full(SHAPE, 0.2, np.float32)
    probability[12:29, 20:60] = 0.9
    probability[33:36, 20:60] = 0.8
    probability[:, 95:] = np.nan
    results = []
    for rows in (80, 10, 2):
        bands = [Window(0, top, 100, min(rows, 80 - top)) for top in range(0, 80, rows)]
        monkeypatch.setattr(components, "row_windows", lambda _, bands=bands: bands)
        with ScratchFolder(tmp_path) as folder:
            file = ProbabilityFile(folder, "p", SHAPE)
            file.write(ALL, probability)
            assert keep_best(file, SHAPE, 0.5, quiet) == 1
            results.append(file.read(ALL))
    assert np.array_equal(results[0], results[1], equal_nan=True)
    assert np.array_equal(results[0], results[2], equal_nan=True)
    assert (results[0][30, 20:60] > 0.1).all()
    assert not results[0][33:36, 20:60].any()
    assert np.isnan(results[0][:, 95:]).all()


def test_a_cancel_ends_it(tmp_path: Path) -> None:
    def cancel(_: float) -> None:
        raise CancelledError

    with ScratchFolder(tmp_path) as folder, pytest.raises(CancelledError):
        keep_best(ProbabilityFile(folder, "p", SHAPE), SHAPE, 0.5, cancel)
