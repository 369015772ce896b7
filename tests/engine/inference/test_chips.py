"""What networks see of a chip that does not fill its tile."""

from __future__ import annotations

import numpy as np

from geoseg_qgis.engine.inference.chips import Chip


def chip(valid: np.ndarray) -> Chip:
    """Return a ramp to the right in all channels, 0 where invalid."""
    ramp = np.broadcast_to(np.arange(10, 10 + valid.shape[1], dtype=np.uint8), (3, *valid.shape))
    return Chip(np.where(valid, ramp, 0).astype(np.uint8), valid)


def test_a_small_image_goes_on_as_its_mirror_image():
    valid = np.zeros((4, 9), bool)
    valid[:3, 2:6] = True
    rows = chip(valid).continued()
    assert rows.dtype == np.uint8
    assert rows[0].tolist() == [[13, 12, 12, 13, 14, 15, 15, 14, 13]] * 4


def test_mirror_images_repeat_where_a_tile_is_far_larger():
    valid = np.zeros((2, 7), bool)
    valid[:, :2] = True
    assert chip(valid).continued()[1, 1].tolist() == [10, 11, 11, 10, 10, 11, 11]


def test_gaps_inside_get_the_mean_and_valid_pixels_stay():
    valid = np.ones((3, 5), bool)
    valid[1, 2] = False
    whole = chip(valid)
    continued = whole.continued()
    assert np.array_equal(continued[:, valid], whole.pixels[:, valid])
    assert continued[:, 1, 2].tolist() == [12, 12, 12]


def test_whole_and_empty_pictures_are_left_alone():
    for valid in (np.ones((3, 3), bool), np.zeros((3, 3), bool)):
        whole = chip(valid)
        assert whole.continued() is whole.pixels
