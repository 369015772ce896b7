"""Likely missed objects: regions of false negatives that touch no object of the mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .quality_classes import BoolArray, FloatArray, QualityClass

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class MissedRegions:
    """Candidate objects that the mask lacks.

    Attributes:
        labels: Region of each pixel, 0 for none, (H, W), int32.
        area: Pixels of each region, (R,).
        probability: Mean P(FN) in each region, (R,).
        boxes: First row, first column, last row + 1, last column + 1 of each region, (R, 4).
    """

    labels: NDArray[np.int32]
    area: NDArray[np.int64]
    probability: NDArray[np.float64]
    boxes: NDArray[np.int64]


def missed_regions(
    probabilities: FloatArray,
    occupied: BoolArray,
    minimum_area: int = 64,
    valid: BoolArray | None = None,
) -> MissedRegions:
    """Find connected regions where FN is the most likely class and no object is adjacent.

    Regions that touch an object are a missing part of that object, not an object of their own.

    Args:
        probabilities: (4, H, W).
        occupied: Pixels of the mask's objects, (H, W).
        minimum_area: Smallest region, in pixels; 64 is what the network can tell apart.
        valid: Pixels that hold imagery, (H, W).
    """
    wrong = (probabilities.argmax(0) == QualityClass.FALSE_NEGATIVE) & ~occupied
    if valid is not None:
        wrong &= valid
    labels, count = ndimage.label(wrong, structure=EIGHT_NEIGHBOURS)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    beside = labels[ndimage.binary_dilation(occupied, structure=EIGHT_NEIGHBOURS)]
    keep = area >= minimum_area
    keep[beside] = False
    keep[0] = False
    renumber = np.zeros(count + 1, dtype=np.int32)
    renumber[keep] = np.arange(1, keep.sum() + 1)
    labels = renumber[labels]
    return MissedRegions(
        labels, area[keep], _region_means(labels, probabilities, keep.sum()), _boxes(labels)
    )


def _region_means(
    labels: NDArray[np.int32], probabilities: FloatArray, count: int
) -> NDArray[np.float64]:
    weights = probabilities[QualityClass.FALSE_NEGATIVE].ravel()
    sums = np.bincount(labels.ravel(), weights=weights, minlength=count + 1)[1:]
    return np.asarray(sums / np.bincount(labels.ravel(), minlength=count + 1)[1:])


def _boxes(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    slices = ndimage.find_objects(labels)
    boxes = [
        (rows.start, columns.start, rows.stop, columns.stop)
        for rows, columns in (found for found in slices if found is not None)
    ]
    return np.array(boxes, dtype=np.int64).reshape(-1, 4)
