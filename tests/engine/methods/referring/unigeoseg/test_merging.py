"""Predictions of overlapping tiles merged into one, on masks made for the purpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.inference.windows import Tile, plan_tiles
from geoseg_qgis.engine.methods.referring.unigeoseg.merging import merge_tiles
from geoseg_qgis.protocol.errors import CancelledError

SIDE, OVERLAP = 40, 16
LEFT, RIGHT = 0, 1
"""Two tiles over 40 x 64 pixels; columns 24 to 40 overlap."""

Truth = NDArray[np.bool_]


def quiet(_: float) -> None:
    """Drop a progress report."""


def merged(
    shape: tuple[int, int], predict: Callable[[int, Tile], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Merge the predictions of all tiles; every pixel must be written exactly once."""
    tiles = plan_tiles(*shape, SIDE, OVERLAP)
    whole = np.full(shape, -1.0, np.float32)

    def write(window: Window, values: NDArray[np.float32]) -> None:
        place = Tile(0, 0, window).slices
        assert (whole[place] == -1.0).all()
        whole[place] = values

    merge_tiles(tiles, lambda index: predict(index, tiles[index]), 0.5, write, quiet)
    assert not (whole == -1.0).any()
    return whole


def probability(mask: Truth, high: float = 0.9, low: float = 0.1) -> NDArray[np.float32]:
    return np.where(mask, high, low).astype(np.float32)


def seen_by(truth: dict[int, list[tuple[slice, slice]]]) -> NDArray[np.float32]:
    """Merge two tiles that each see boxes of the whole."""

    def predict(index: int, tile: Tile) -> NDArray[np.float32]:
        mask = np.zeros((40, 64), np.bool_)
        for box in truth[index]:
            mask[box] = True
        return probability(mask[tile.slices])

    return merged((40, 64), predict)


def objects(result: NDArray[np.float32]) -> list[tuple[slice, ...]]:
    found: list[tuple[slice, ...]] = ndimage.find_objects(ndimage.label(result > 0.5)[0])
    return found


def test_an_object_across_the_border_becomes_one() -> None:
    box = (slice(10, 20), slice(15, 50))
    assert objects(seen_by({LEFT: [box], RIGHT: [box]})) == [box]


def test_an_object_that_two_tiles_found_is_there_once() -> None:
    """The two draw it a pixel apart, wholly in the overlap."""
    result = seen_by(
        {LEFT: [(slice(10, 16), slice(28, 35))], RIGHT: [(slice(11, 17), slice(29, 36))]}
    )
    found = objects(result)
    assert len(found) == 1
    assert (result > 0.5)[11:16, 29:35].all()
    assert 30 <= np.count_nonzero(result > 0.5) <= 54


def test_a_tile_that_misses_an_object_does_not_cut_it() -> None:
    box = (slice(10, 20), slice(12, 38))
    result = seen_by({LEFT: [box], RIGHT: []})
    assert objects(result) == [box]
    assert result[10:20, 12:38] == pytest.approx(0.9)
    assert result[10:20, 38:] == pytest.approx(0.1)


def test_what_one_tile_saw_at_its_edge_is_dropped_as_a_whole() -> None:
    result = seen_by({LEFT: [], RIGHT: [(slice(10, 20), slice(25, 31))]})
    assert objects(result) == []
    assert result[:, :40] == pytest.approx(0.1)


def test_an_object_that_reaches_well_into_a_tile_is_kept_to_its_end() -> None:
    """The left tile shows nothing, though half of the object lies in it."""
    box = (slice(10, 20), slice(26, 60))
    assert objects(seen_by({LEFT: [], RIGHT: [box]})) == [box]


def test_objects_apart_stay_apart() -> None:
    boxes = [(slice(2, 12), slice(15, 50)), (slice(13, 30), slice(15, 50))]
    assert objects(seen_by({LEFT: boxes, RIGHT: boxes})) == boxes


def test_differing_certainty_is_blended_without_a_seam() -> None:
    def predict(index: int, tile: Tile) -> NDArray[np.float32]:
        return np.full((40, 40), (0.6, 0.9)[index], np.float32)

    row = merged((40, 64), predict)[20]
    assert row[:24] == pytest.approx(0.6)
    assert row[40:] == pytest.approx(0.9)
    assert np.diff(row).max() < 0.02
    assert np.diff(row).min() > -1e-6


def test_unknown_pixels_stay_unknown_and_leave_the_say_to_others() -> None:
    def predict(index: int, tile: Tile) -> NDArray[np.float32]:
        values = np.full((40, 40), 0.8, np.float32)
        if index == RIGHT:
            values[:, :] = np.nan
        else:
            values[:5] = np.nan
        return values

    whole = merged((40, 64), predict)
    assert np.isnan(whole[:, 40:]).all()
    assert np.isnan(whole[:5]).all()
    assert whole[5:, :40] == pytest.approx(0.8)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 130), st.integers(1, 130), st.integers(0, 2**31))
def test_tiles_that_agree_give_back_what_they_saw(height: int, width: int, seed: int) -> None:
    noise = np.random.default_rng(seed).random((height, width))
    truth = ndimage.uniform_filter(noise, 5, mode="nearest").astype(np.float32)
    whole = merged((height, width), lambda _, tile: truth[tile.slices])
    np.testing.assert_allclose(whole, truth, atol=1e-5)


def test_a_raster_of_one_tile_is_untouched() -> None:
    truth = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    assert np.array_equal(merged((30, 40), lambda _, _tile: truth), truth)


def test_a_run_stops_between_tiles() -> None:
    def stop(done: float) -> None:
        if done > 0.3:
            raise CancelledError

    tiles = plan_tiles(40, 200, SIDE, OVERLAP)
    written: list[object] = []
    with pytest.raises(CancelledError):
        merge_tiles(
            tiles,
            lambda _: np.zeros((40, 40), np.float32),
            0.5,
            lambda window, _: written.append(window),
            stop,
        )
    assert written == []
