"""Light: shadows have the length and direction that the sun's position gives them."""

from __future__ import annotations

import math

import numpy as np

from training.scenes.sun import Sun, cast_shadow


def tower() -> np.ndarray:
    """A tower of 10 m on level ground, a metre a pixel."""
    height = np.zeros((80, 80), np.float32)
    height[40:44, 40:44] = 10
    return height


def test_shadow_points_away_from_the_sun():
    """A sun in the south at 45 degrees throws 10 m of shadow to the north, which is up."""
    shadow = cast_shadow(tower(), Sun(math.pi, math.pi / 4), 1.0) > 0.5
    rows, columns = np.nonzero(shadow)
    assert abs((40 - rows.min()) - 10) <= 1
    assert rows.max() < 40
    assert columns.min() >= 39
    assert columns.max() <= 44


def test_low_sun_makes_longer_shadows():
    high = (cast_shadow(tower(), Sun(math.pi, math.radians(60)), 1.0) > 0.5).sum()
    low = (cast_shadow(tower(), Sun(math.pi, math.radians(25)), 1.0) > 0.5).sum()
    assert low > 2.5 * high


def test_level_ground_is_lit_in_full():
    assert cast_shadow(np.zeros((20, 20), np.float32), Sun(2.0, 0.7), 2.0).max() == 0


def test_slopes_towards_the_sun_are_brighter():
    sun = Sun(math.pi, math.radians(40))
    flat, rise = np.zeros((1, 1), np.float32), np.full((1, 1), 0.5, np.float32)
    level = sun.brightness(flat, flat)[0, 0]
    facing_north, facing_south = sun.brightness(flat, rise), sun.brightness(flat, -rise)
    assert abs(level - 1) < 1e-5
    assert facing_north[0, 0] < level < facing_south[0, 0]
