"""What is wrong with each object, in a word or two."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .object_quality import ObjectQuality, ObjectStatus

FINE = "fine"
FALSE = "false"
BOUNDARY = "boundary"
INCOMPLETE = "incomplete"
PARTLY_FALSE = "partly false"
TOO_SMALL = "too small"
NO_DATA = "no data"
OUTSIDE = "outside"
NOT_ASSESSED = "not assessed"
PROBLEM_COLORS = {
    FINE: "#009e73",
    BOUNDARY: "#f0e442",
    INCOMPLETE: "#56b4e9",
    PARTLY_FALSE: "#e69f00",
    FALSE: "#d55e00",
    TOO_SMALL: "#999999",
    NO_DATA: "#bbbbbb",
    OUTSIDE: "#bbbbbb",
    NOT_ASSESSED: "#bbbbbb",
}
FINE_IOU = 0.7
_MOSTLY = 0.5
_NOT_ASSESSED = {
    ObjectStatus.OUTSIDE: OUTSIDE,
    ObjectStatus.NODATA: NO_DATA,
    ObjectStatus.TOO_SMALL: TOO_SMALL,
}


def problems(quality: ObjectQuality) -> NDArray[np.object_]:
    """Return what is wrong with each object, in a word or two, (N,).

    An assessed object is ``false`` where most of it is wrong, else ``fine`` from an IoU of
    `FINE_IOU`, else named after what makes up most of its error: its outline, missing parts, or
    parts that do not belong to it.
    """
    _, false_positives, misses = quality.hard_pixels
    rules = [
        (quality.status != ObjectStatus.ASSESSED, NOT_ASSESSED),
        (quality.likely_false, FALSE),
        (~(quality.soft.iou < FINE_IOU), FINE),
        (quality.boundary_share >= _MOSTLY, BOUNDARY),
        (misses > false_positives, INCOMPLETE),
    ]
    words = np.select(
        [condition for condition, _ in rules], [word for _, word in rules], PARTLY_FALSE
    ).astype(object)
    for status, word in _NOT_ASSESSED.items():
        words[quality.status == status] = word
    return np.asarray(words, dtype=object)
