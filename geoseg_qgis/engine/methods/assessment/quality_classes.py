"""Quality maps: the four classes of a mask's pixels, and what follows from their probabilities.

Every function takes probabilities with the class axis third from the end, (..., 4, H, W) in the
order TP, FP, TN, FN, and a binary mask (H, W).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]

Variant = Literal["constrained", "raw"]
ConstraintRule = Literal["renormalise", "object"]

NODATA = 0


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
        """Colour that people with any colour vision tell from the others."""
        return ("#009e73", "#d55e00", "#d9d9d9", "#56b4e9")[self]

    @property
    def meaning(self) -> str:
        """What the class says about the mask."""
        return ("correct object", "wrong object", "correct background", "missed object")[self]


def mask_of(sheets: NDArray[np.integer]) -> BoolArray:
    """Return the pixels (H, W) of any object on sheets of object ids (S, H, W)."""
    return np.asarray((sheets > 0).any(axis=0))


def object_probability(probabilities: FloatArray) -> FloatArray:
    """Return P(TP) + P(FN), the probability that the pixel truly is object, (..., H, W)."""
    tp, fn = QualityClass.TRUE_POSITIVE, QualityClass.FALSE_NEGATIVE
    return np.asarray(probabilities[..., tp, :, :] + probabilities[..., fn, :, :])


def constrain(
    probabilities: FloatArray, mask: BoolArray, rule: ConstraintRule = "object"
) -> FloatArray:
    """Make the classes agree with the mask: TP or FP where it is set, TN or FN elsewhere.

    The network reads the mask only coarsely, so near its edges it can answer with a class that
    contradicts it. Training weighs FN and FP many times more than TN and TP, which makes their
    share among the two possible classes too large; P(TP) + P(FN) is trained towards the truth.

    Args:
        probabilities: (..., 4, H, W).
        mask: Mask under test, (H, W).
        rule: ``object`` splits by P(TP) + P(FN), which also counts the impossible classes' say on
            whether the pixel is object; ``renormalise`` keeps the two possible classes and scales
            them to a sum of one.

    Returns:
        Probabilities of the same shape and dtype; the two impossible classes are zero.
    """
    is_object = object_probability(probabilities)
    if rule == "renormalise":
        possible = np.where(
            mask,
            probabilities[..., QualityClass.TRUE_POSITIVE, :, :],
            probabilities[..., QualityClass.FALSE_NEGATIVE, :, :],
        )
        other = np.where(
            mask,
            probabilities[..., QualityClass.FALSE_POSITIVE, :, :],
            probabilities[..., QualityClass.TRUE_NEGATIVE, :, :],
        )
        mass = possible + other
        readable = mass > np.finfo(np.float32).tiny
        is_object = np.where(readable, possible / np.where(readable, mass, 1), is_object)
    result = np.zeros_like(probabilities)
    result[..., QualityClass.TRUE_POSITIVE, :, :] = np.where(mask, is_object, 0)
    result[..., QualityClass.FALSE_POSITIVE, :, :] = np.where(mask, 1 - is_object, 0)
    result[..., QualityClass.TRUE_NEGATIVE, :, :] = np.where(mask, 0, 1 - is_object)
    result[..., QualityClass.FALSE_NEGATIVE, :, :] = np.where(mask, 0, is_object)
    return result


def apply_variant(probabilities: FloatArray, mask: BoolArray, variant: Variant) -> FloatArray:
    """Return the probabilities as the network gave them or constrained by the mask."""
    return probabilities if variant == "raw" else constrain(probabilities, mask)


def contradiction(probabilities: FloatArray, mask: BoolArray, valid: BoolArray) -> float:
    """Return the share of valid pixels whose most likely class contradicts the mask."""
    classes = probabilities.argmax(axis=-3)
    says_mask = classes <= QualityClass.FALSE_POSITIVE
    count = int(valid.sum())
    return float((says_mask != mask)[valid].sum() / count) if count else 0.0


def quality_raster(probabilities: FloatArray, valid: BoolArray | None = None) -> NDArray[np.uint8]:
    """Return the most likely class as raster values 1 TP, 2 FP, 3 TN, 4 FN, 0 nodata, (H, W)."""
    classes = (probabilities.argmax(axis=-3) + 1).astype(np.uint8)
    return classes if valid is None else np.where(valid, classes, np.uint8(NODATA))


def confidence(probabilities: FloatArray) -> FloatArray:
    """Return the probability of the most likely class, (..., H, W)."""
    return np.asarray(probabilities.max(axis=-3))


def repaired_mask(
    probabilities: FloatArray, mask: BoolArray, margin: float = 0.0, minimum_area: int = 0
) -> BoolArray:
    """Propose a better mask: M + P(FN) - P(FP), cut at one half.

    Args:
        probabilities: (4, H, W).
        mask: Mask under test, (H, W).
        margin: How far beyond one half the probability of an error must be for a change, 0..0.5.
        minimum_area: Changed regions with fewer pixels keep the mask's value.

    Returns:
        The proposal, (H, W).
    """
    wrong = np.where(
        mask,
        probabilities[QualityClass.FALSE_POSITIVE],
        probabilities[QualityClass.FALSE_NEGATIVE],
    )
    changed = wrong > 0.5 + margin
    if minimum_area > 1:
        for side in (mask, ~mask):
            changed &= ~small_regions(changed & side, minimum_area)
    return np.asarray(mask ^ changed)


def small_regions(regions: BoolArray, minimum_area: int) -> BoolArray:
    """Return the pixels of 8-connected regions with fewer than ``minimum_area`` pixels, (H, W)."""
    labels, _ = ndimage.label(regions, structure=np.ones((3, 3)))
    areas = np.bincount(labels.ravel())
    areas[0] = minimum_area
    return np.asarray(areas[labels] < minimum_area)


def class_masks(
    classes: NDArray[np.integer], values: NDArray[np.integer] | None = None
) -> Iterator[tuple[int, BoolArray]]:
    """Yield each class of a class map as its own mask: the network judges one class at a time.

    Args:
        classes: Class map (H, W); 0 means no class.
        values: The classes to yield; all that occur when absent.
    """
    wanted = np.unique(classes) if values is None else values
    for value in wanted[wanted != 0]:
        yield int(value), np.asarray(classes == value)
