"""Sizes of buildings in a crop: labels for attributes such as "large building".

As with colours, a building's label gets one more bit for each size that it may be called.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .colours import COLOURS
from .land_cover import BIT, SURFACES, UNKNOWN

SIZES: Final = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
"""Words for each size."""
SIZE_BIT: Final = {name: 1 << (len(SURFACES) + len(COLOURS) + i) for i, name in enumerate(SIZES)}
ANY_SIZE: Final = sum(SIZE_BIT.values())
SMALL_UP_TO: Final = 900
"""Pixels of the largest small building."""
LARGE_FROM: Final = 2500
"""Pixels of the smallest large building; sizes between may be called either."""


def building_sizes(labels: Tensor) -> Tensor:
    """Return the bits of the sizes that each building may be called.

    Args:
        labels: (B, S, S) int64 bit masks of possible land covers.

    Returns:
        (B, S, S) int64: bits on buildings, touching ones counting as one; all bits where a building
        is cut off before it is large, or where there only may be one; 0 elsewhere.
    """
    sizes = [
        _sizes_of_one(building, unknown)
        for building, unknown in zip(
            (labels == BIT["building"]).numpy(), (labels == UNKNOWN).numpy(), strict=True
        )
    ]
    perhaps = (labels & BIT["building"]) != 0
    named = torch.from_numpy(np.stack(sizes))
    return torch.where(perhaps & (named == 0), ANY_SIZE, named)


def _sizes_of_one(building: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    numbers, count = ndimage.label(building)
    areas = np.bincount(numbers.ravel(), minlength=count + 1)
    bits = np.full(count + 1, ANY_SIZE, np.int64)
    bits[areas <= SMALL_UP_TO] = SIZE_BIT["small"]
    beyond = np.pad(unknown, 1, constant_values=True)
    bits[numbers[ndimage.binary_dilation(beyond)[1:-1, 1:-1]]] = ANY_SIZE
    bits[areas >= LARGE_FROM] = SIZE_BIT["large"]
    bits[0] = 0
    named: np.ndarray = bits[numbers]
    return named
