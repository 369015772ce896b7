"""What an assessment says in numbers and words."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .assessor import Assessment
from .object_quality import ObjectQuality, ObjectStatus
from .summary import Estimate, LayerSummary

SCORES = ("precision", "recall", "iou", "f1")
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
_UNJUDGED = {
    ObjectStatus.OUTSIDE: OUTSIDE,
    ObjectStatus.NODATA: NO_DATA,
    ObjectStatus.TOO_SMALL: TOO_SMALL,
}


def assessment_numbers(found: Assessment) -> dict[str, float]:
    """Return the numbers of a result; those that are undefined are left out."""
    numbers = dict(_estimates(found.summary))
    numbers["POLYGON_COUNT"] = float(len(found.objects.pixels))
    numbers["FALSE_COUNT"] = float(np.count_nonzero(found.objects.likely_false))
    numbers["MISSED_COUNT"] = float(len(found.missed.polygons))
    return {name: value for name, value in numbers.items() if not math.isnan(value)}


def _estimates(summary: LayerSummary) -> Iterator[tuple[str, float]]:
    for name in SCORES:
        estimate: Estimate = getattr(summary, name)
        yield name.upper(), estimate.value
        yield f"{name.upper()}_LOW", estimate.low
        yield f"{name.upper()}_HIGH", estimate.high


def problems(quality: ObjectQuality) -> NDArray[np.object_]:
    """Return what is wrong with each object, in a word or two, (N,).

    A judged object is ``fine`` from an IoU of `FINE_IOU`, else ``false`` where most of it is
    wrong, else named after what makes up most of its error: its outline, missing parts, or parts
    that do not belong to it.
    """
    _, false_positives, misses = quality.hard_pixels
    rules = [
        (quality.status != ObjectStatus.JUDGED, NOT_ASSESSED),
        (quality.likely_false, FALSE),
        (~(quality.soft.iou < FINE_IOU), FINE),
        (quality.boundary_share >= _MOSTLY, BOUNDARY),
        (misses > false_positives, INCOMPLETE),
    ]
    words = np.select(
        [condition for condition, _ in rules], [word for _, word in rules], PARTLY_FALSE
    ).astype(object)
    for status, word in _UNJUDGED.items():
        words[quality.status == status] = word
    return np.asarray(words, dtype=object)
