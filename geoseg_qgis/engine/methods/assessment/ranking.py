"""The order in which to fix polygons."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def fix_priority(iou: ArrayLike, confidence: ArrayLike) -> NDArray[np.float64]:
    """Return how urgent a place is: (1 - IoU) weighed by the confidence in that IoU.

    A missed object has an IoU of 0 and the mean P(FN) as its confidence.

    Args:
        iou: Predicted IoU, 0..1, NaN where it is unknown.
        confidence: Mean probability of the most likely class, 0..1.

    Returns:
        Priorities 0..1, NaN where the IoU is.
    """
    return (1 - np.asarray(iou, dtype=np.float64)) * np.asarray(confidence, dtype=np.float64)


def fix_rank(priority: ArrayLike, wrong_area: ArrayLike) -> NDArray[np.int64]:
    """Return ranks from 1 for the most urgent place; the larger wrong area first among equals.

    Args:
        priority: From `fix_priority`; places without one (NaN) come last.
        wrong_area: Pixels expected to be wrong, of the same length.
    """
    urgency = np.nan_to_num(np.asarray(priority, dtype=np.float64), nan=-1.0)
    area = np.nan_to_num(np.asarray(wrong_area, dtype=np.float64))
    order = np.lexsort((-area, -urgency))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks
