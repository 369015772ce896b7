"""Undeclared fill values and stretches that leave nothing to see."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg_qgis.engine.raster.fill_values import is_washed_out, suspected_fill
from geoseg_qgis.engine.raster.source import Patch
from geoseg_qgis.engine.raster.stretch import LinearStretch


def scene(fill: float | None = None) -> Patch:
    values = np.random.default_rng(1).normal(4000, 300, (3, 100, 100)).astype(np.float32)
    if fill is not None:
        values[:, :30, :40] = fill
    return Patch(values, np.ones((100, 100), np.bool_))


@pytest.mark.parametrize("fill", [0.0, -9999.0, 65535.0])
def test_a_collar_is_found(fill: float) -> None:
    assert suspected_fill(scene(fill)) == (fill, 0.12)


def test_ordinary_imagery_has_none() -> None:
    assert suspected_fill(scene()) is None


def test_saturated_pixels_of_one_band_are_no_fill() -> None:
    patch = scene()
    patch.values[0, :30, :40] = 65535.0
    assert suspected_fill(patch) is None


def test_a_constant_raster_has_none() -> None:
    assert suspected_fill(Patch(np.zeros((3, 9, 9), np.float32), np.ones((9, 9), bool))) is None


def test_washed_out() -> None:
    assert is_washed_out(scene(), LinearStretch(((0.0, 200000.0),) * 3))
    assert not is_washed_out(scene(), LinearStretch(((3400.0, 4600.0),) * 3))
