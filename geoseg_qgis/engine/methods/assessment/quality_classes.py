"""The four quality classes of a mask's pixels, and what follows from their probabilities.

Every function takes probabilities with the class axis third from the end, (..., 4, H, W) in the
order TP, FP, TN, FN, and a binary mask (H, W).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]

Variant = Literal["constrained", "raw"]
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


class QualityClass(IntEnum):
    """Channels of the network; in rasters each counts one higher and 0 is nodata."""

    TRUE_POSITIVE = 0
    FALSE_POSITIVE = 1
    TRUE_NEGATIVE = 2
    FALSE_NEGATIVE = 3

    @property
    def raster_value(self) -> int:
        """Value in a quality raster."""
        return int(self) + 1

    @property
    def colour(self) -> str:
        """Colour from a palette that colour-blind people can distinguish (Okabe and Ito)."""
        return ("#009e73", "#d55e00", "#d9d9d9", "#56b4e9")[self]


def mask_of(sheets: NDArray[np.integer]) -> BoolArray:
    """Return the pixels (H, W) of any object on sheets of object ids (S, H, W)."""
    return np.asarray((sheets > 0).any(axis=0))


def object_probability(probabilities: FloatArray) -> FloatArray:
    """Return P(TP) + P(FN), the probability that the pixel truly is object, (..., H, W)."""
    tp, fn = QualityClass.TRUE_POSITIVE, QualityClass.FALSE_NEGATIVE
    return np.asarray(probabilities[..., tp, :, :] + probabilities[..., fn, :, :])


def constrain(probabilities: FloatArray, mask: BoolArray) -> FloatArray:
    """Make the classes agree with the mask: TP or FP inside it, TN or FN elsewhere.

    The network reads the mask only coarsely, so near its edges it can predict a class that
    contradicts the mask. Training weighs FN and FP many times more than TN and TP, which makes
    their share among the two possible classes too large. P(TP) + P(FN) is trained towards the
    truth, so the two possible classes are split by that sum.

    Args:
        probabilities: (..., 4, H, W).
        mask: Mask that is assessed, (H, W).

    Returns:
        Probabilities of the same shape and dtype; the two impossible classes are zero.
    """
    is_object = object_probability(probabilities)
    result = np.zeros_like(probabilities)
    result[..., QualityClass.TRUE_POSITIVE, :, :] = np.where(mask, is_object, 0)
    result[..., QualityClass.FALSE_POSITIVE, :, :] = np.where(mask, 1 - is_object, 0)
    result[..., QualityClass.TRUE_NEGATIVE, :, :] = np.where(mask, 0, 1 - is_object)
    result[..., QualityClass.FALSE_NEGATIVE, :, :] = np.where(mask, 0, is_object)
    return result


def apply_variant(probabilities: FloatArray, mask: BoolArray, variant: Variant) -> FloatArray:
    """Return the probabilities of the network, or these constrained by the mask."""
    return probabilities if variant == "raw" else constrain(probabilities, mask)


def confidence(probabilities: FloatArray) -> FloatArray:
    """Return the probability of the most likely class, (..., H, W)."""
    return np.asarray(probabilities.max(axis=-3))


def small_regions(regions: BoolArray, minimum_area: int) -> BoolArray:
    """Return the pixels of 8-connected regions with fewer than ``minimum_area`` pixels, (H, W)."""
    labels, _ = ndimage.label(regions, structure=EIGHT_NEIGHBOURS)
    areas = np.bincount(labels.ravel())
    areas[0] = minimum_area
    return np.asarray(areas[labels] < minimum_area)
