"""Colours of roofs, named by what a crop shows: labels for attributes such as "red roof".

A building's label gets one more bit for each colour that its roof may have, so that a colour is a
partial label like any other. Tints that could be called by several names get all their bits.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from .land_cover import BIT, SURFACES

COLOURS: Final = (
    "red", "brown", "orange", "beige", "green", "blue", "white", "grey", "black",
)  # fmt: skip
COLOUR_BIT: Final = {name: 1 << (len(SURFACES) + index) for index, name in enumerate(COLOURS)}
ANY_COLOUR: Final = sum(COLOUR_BIT.values())
REACH: Final = 12
"""Side of the square, in pixels, over which a roof's colour is averaged."""

_TINTS: Final = (
    # Hue in degrees, saturation and value from 0 to 1. Ranges overlap where people disagree.
    ("red", (-20, 21), (0.18, 1), (0.25, 1)),
    ("brown", (12, 45), (0.14, 1), (0, 0.66)),
    ("orange", (14, 40), (0.20, 1), (0.48, 1)),
    ("beige", (25, 70), (0.08, 0.35), (0.62, 1)),
    ("green", (70, 168), (0.11, 1), (0.25, 1)),
    ("blue", (168, 265), (0.14, 1), (0.3, 1)),
    ("white", (-90, 270), (0, 0.12), (0.7, 1)),
    ("grey", (-90, 270), (0, 0.14), (0.28, 0.78)),
    ("black", (-90, 270), (0, 0.16), (0, 0.36)),
)


def hue_saturation_value(pixels: Tensor) -> Tensor:
    """Return hue in -90..270 degrees, saturation and value in 0..1.

    Args:
        pixels: (B, 3, H, W) float red, green, blue in 0..1.

    Returns:
        (3, B, H, W).
    """
    value, strongest = pixels.max(1)
    spread = value - pixels.min(1).values
    red, green, blue = pixels.unbind(1)
    safe = spread.clamp_min(1e-6)
    of_strongest = torch.stack(
        [(green - blue) / safe, 2 + (blue - red) / safe, 4 + (red - green) / safe]
    )
    hue = 60 * of_strongest.gather(0, strongest[None])[0]
    hue = torch.where(hue > 270, hue - 360, hue)
    return torch.stack([hue, spread / value.clamp_min(1e-6), value])


def possible_colours(pixels: Tensor) -> Tensor:
    """Return the bits of the colours that fit, all of them where none does.

    Args:
        pixels: (B, 3, H, W) float in 0..1.

    Returns:
        (B, H, W) int64.
    """
    seen = hue_saturation_value(pixels)
    bits = torch.zeros(seen.shape[1:], dtype=torch.int64)
    for name, *ranges in _TINTS:
        fits = torch.ones_like(bits, dtype=torch.bool)
        for values, (low, high) in zip(seen, ranges):
            fits &= (values >= low) & (values <= high)
        bits |= torch.where(fits, COLOUR_BIT[name], 0)
    return torch.where(bits == 0, ANY_COLOUR, bits)


def with_roof_colours(pixels: Tensor, labels: Tensor, stride: int) -> Tensor:
    """Return every ``stride``-th label, those of buildings with the bits of their colours.

    Args:
        pixels: (B, 3, S, S) float in 0..1, before colours were varied.
        labels: (B, S, S) int64 bit masks of possible land covers.
        stride: Step between the labels that are kept.

    Returns:
        (B, S / stride, S / stride) int64; a pixel that only may be a building may have any colour.
    """
    roof = (labels == BIT["building"])[:, None].to(pixels.dtype)
    first = stride // 2
    kept = labels[:, first::stride, first::stride]
    around = torch.cat([pixels * roof, roof], dim=1)
    means = functional.avg_pool2d(around, REACH, stride, padding=REACH // 2 - first)
    colours = possible_colours(means[:, :3] / means[:, 3:].clamp_min(1e-6))
    colours = torch.where(kept == BIT["building"], colours, ANY_COLOUR)
    return torch.where((kept & BIT["building"]) != 0, kept | colours, kept)
