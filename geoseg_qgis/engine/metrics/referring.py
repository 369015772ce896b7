"""Scores of masks for instructions: gIoU, cIoU and precision at IoU thresholds.

Definitions of the UniGeoSeg evaluation: with an empty ground truth, an empty mask has an IoU of 1
and any other mask one of 0.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

IGNORED_VALUE = 255
PRECISION_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)

# Those of the published code.
_SAMPLE_EPSILON = 1e-5
_TOTAL_EPSILON = 1e-10

Mask = NDArray[np.bool_] | NDArray[np.integer]


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Foreground pixels of one prediction and its ground truth."""

    intersection: int
    union: int

    @property
    def iou(self) -> float:
        """Intersection over union; 1 when neither has any foreground."""
        return self.intersection / (self.union + _SAMPLE_EPSILON) if self.union else 1.0


@dataclasses.dataclass(frozen=True)
class ReferringScores:
    """Scores of a set of samples; NaN for an empty set.

    Attributes:
        samples: Number of samples.
        giou: Mean of the samples' IoU.
        ciou: Summed intersections over summed unions.
        precision: Share of samples with an IoU above each of ``PRECISION_THRESHOLDS``.
    """

    samples: int
    giou: float
    ciou: float
    precision: dict[float, float]

    def as_row(self) -> dict[str, float]:
        """Return the scores under their usual names, for a table."""
        row = {"samples": float(self.samples), "gIoU": self.giou, "cIoU": self.ciou}
        return row | {f"Pr@{threshold:g}": share for threshold, share in self.precision.items()}


class ReferringMeter:
    """Collects samples and scores them.

    Args:
        transform: Applied to every prediction first, such as `fill_bounding_box` for data sets
            whose ground truth is a box.
    """

    def __init__(self, transform: Callable[[Mask], Mask] | None = None) -> None:
        self._transform = transform
        self._overlaps: list[Overlap] = []

    def add(self, predicted: Mask, truth: Mask) -> Overlap:
        """Count one sample.

        Args:
            predicted: (H, W), foreground where not zero.
            truth: (H, W), foreground where not zero, ignored where 255.

        Raises:
            ValueError: The shapes differ.
        """
        changed = predicted if self._transform is None else self._transform(predicted)
        overlap = measure_overlap(changed, truth)
        self._overlaps.append(overlap)
        return overlap

    def scores(self) -> ReferringScores:
        """Return the scores of the samples so far."""
        count = len(self._overlaps)
        if not count:
            empty = dict.fromkeys(PRECISION_THRESHOLDS, math.nan)
            return ReferringScores(0, math.nan, math.nan, empty)
        ious = [overlap.iou for overlap in self._overlaps]
        intersection = sum(overlap.intersection for overlap in self._overlaps)
        union = sum(overlap.union for overlap in self._overlaps)
        return ReferringScores(
            count,
            math.fsum(ious) / count,
            intersection / (union + _TOTAL_EPSILON),
            {
                threshold: sum(iou > threshold for iou in ious) / count
                for threshold in PRECISION_THRESHOLDS
            },
        )


def measure_overlap(predicted: Mask, truth: Mask) -> Overlap:
    """Count the foreground pixels in both and in either of two masks of the same shape.

    Raises:
        ValueError: The shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"The masks differ in shape: {predicted.shape} and {truth.shape}.")
    found = predicted.astype(bool)
    valid = np.ones_like(found) if truth.dtype == bool else truth != IGNORED_VALUE
    wanted = truth.astype(bool) & valid
    found &= valid
    return Overlap(int((found & wanted).sum()), int((found | wanted).sum()))


def fill_bounding_box(mask: Mask) -> NDArray[np.bool_]:
    """Replace a mask (H, W) by the filled box around its largest 8-connected part."""
    filled = np.zeros(mask.shape, dtype=bool)
    labels, count = ndimage.label(mask, structure=np.ones((3, 3), dtype=int))
    if count:
        largest = int(np.bincount(labels.ravel())[1:].argmax())
        filled[ndimage.find_objects(labels)[largest]] = True
    return filled
