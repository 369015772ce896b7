"""Colours of materials as cameras see them, with the words that people use for them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from .noise import FloatArray

RGB = tuple[float, float, float]


class Paint(NamedTuple):
    """A colour with its word.

    Attributes:
        word: What people call it.
        rgb: Red, green, blue in 0..255.
        material: Kind of surface that wears it.
    """

    word: str
    rgb: RGB
    material: str = ""


TILES: Final = (
    Paint("red", (150, 88, 70), "tile"),
    Paint("red", (164, 100, 80), "tile"),
    Paint("orange", (188, 128, 90), "tile"),
    Paint("brown", (112, 84, 66), "tile"),
    Paint("grey", (104, 104, 108), "tile"),
    Paint("black", (62, 62, 66), "tile"),
)
METALS: Final = (
    Paint("white", (222, 223, 221), "metal"),
    Paint("grey", (160, 165, 168), "metal"),
    Paint("blue", (92, 118, 152), "metal"),
    Paint("green", (112, 142, 116), "metal"),
    Paint("red", (160, 82, 72), "metal"),
    Paint("brown", (142, 100, 72), "metal"),
)
MEMBRANES: Final = (
    Paint("white", (228, 228, 224), "membrane"),
    Paint("grey", (152, 150, 146), "gravel"),
    Paint("grey", (118, 118, 118), "gravel"),
    Paint("black", (66, 66, 68), "membrane"),
    Paint("brown", (142, 124, 104), "gravel"),
)
DESERT_ROOFS: Final = (
    Paint("white", (232, 226, 214), "concrete"),
    Paint("beige", (204, 186, 158), "concrete"),
    Paint("beige", (190, 172, 146), "concrete"),
    Paint("grey", (166, 160, 152), "concrete"),
)
CARS: Final = (
    (Paint("white", (232, 233, 233)), 0.27),
    (Paint("black", (38, 38, 42)), 0.19),
    (Paint("grey", (112, 115, 119)), 0.16),
    (Paint("silver", (182, 185, 188)), 0.12),
    (Paint("red", (172, 42, 40)), 0.09),
    (Paint("blue", (46, 76, 142)), 0.09),
    (Paint("beige", (196, 180, 148)), 0.04),
    (Paint("green", (48, 92, 66)), 0.02),
    (Paint("yellow", (222, 186, 48)), 0.02),
)
COURTS: Final = (
    Paint("green", (88, 132, 92)),
    Paint("blue", (72, 112, 158)),
    Paint("red", (168, 92, 72)),
)
POOLS: Final = ((88, 184, 206), (64, 160, 196), (112, 200, 208))
WATERS: Final[tuple[tuple[RGB, RGB], ...]] = (
    ((110, 190, 196), (38, 112, 160)),
    ((92, 160, 186), (34, 78, 142)),
    ((60, 104, 150), (30, 66, 128)),
    ((74, 128, 196), (48, 96, 176)),
    ((136, 120, 92), (112, 97, 72)),
    ((96, 118, 74), (64, 90, 52)),
)
"""Shallow and deep colours: clear water, three blues, mud, algae."""
WALLS: Final = ((196, 186, 170), (214, 208, 196), (168, 122, 98), (150, 148, 144))


def jittered(random: np.random.Generator, rgb: RGB, amount: float = 7.0) -> RGB:
    """Return a colour moved a little in brightness and less in hue."""
    bright = random.normal(0, amount)
    red, green, blue = (
        float(np.clip(channel + bright + random.normal(0, amount / 3), 4, 250)) for channel in rgb
    )
    return red, green, blue


def flat(rgb: RGB, value: FloatArray) -> FloatArray:
    """Return a colour (3, h, w) whose brightness follows a field (h, w)."""
    return np.asarray(rgb, np.float32)[:, None, None] * value


def mixed(first: RGB, second: RGB, share: FloatArray) -> FloatArray:
    """Return the colours (3, h, w) between two by the second's share (h, w)."""
    start = np.asarray(first, np.float32)[:, None, None]
    return start + (np.asarray(second, np.float32)[:, None, None] - start) * share
