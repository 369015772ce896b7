"""Tiles cover every pixel and their weights sum to one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg_qgis.engine.inference.windows import feather_weights, plan_tiles


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(4, 40), st.integers(0, 39))
def test_weights_sum_to_one(height: int, width: int, size: int, overlap: int) -> None:
    plan = plan_tiles(height, width, size, min(overlap, size - 1))
    total = np.zeros((height, width), np.float64)
    for tile in plan:
        weights = feather_weights(tile, plan)
        assert weights.shape == (tile.window.height, tile.window.width)
        assert weights.dtype == np.float32
        assert weights.min() > 0.0
        total[tile.slices] += weights
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


@pytest.mark.slow
@given(st.integers(1, 500), st.integers(1, 500), st.integers(8, 128), st.integers(0, 7))
def test_tiles_are_alike_and_in_order(height: int, width: int, size: int, overlap: int) -> None:
    plan = plan_tiles(height, width, size, overlap)
    assert [(tile.row, tile.column) for tile in plan] == sorted(
        (tile.row, tile.column) for tile in plan
    )
    shapes = {(tile.window.height, tile.window.width) for tile in plan}
    assert shapes == {(min(size, height), min(size, width))}
    last = plan[-1].window
    assert (last.row_off + last.height, last.col_off + last.width) == (height, width)


def test_the_ramp_between_two_tiles_is_linear() -> None:
    plan = plan_tiles(1, 12, 8, 4)
    np.testing.assert_allclose(
        feather_weights(plan[0], plan)[0], [1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125]
    )


@pytest.mark.parametrize(
    ("height", "width", "size", "overlap"), [(0, 5, 4, 0), (5, 5, 4, 4), (5, 5, 4, -1)]
)
def test_impossible_plans_are_refused(height: int, width: int, size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="pixels"):
        plan_tiles(height, width, size, overlap)
