"""Quality of each object of a mask, summed over tiles.

Objects are the positive integers of an id map. Inside an object TP and FP count. The FN of each
background pixel within a buffer counts for the nearest object, except in regions that look like
missed objects of their own. Tiles have a margin of at least the buffer and only their core is
counted, so the sums over all tiles equal those over the whole raster. The only exception is a
missed object that is larger than the margin, of which a tile shows a part.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .object_pixels import Core, ObjectOptions, ObjectPixels, object_pixels
from .quality_classes import BoolArray, FloatArray, QualityClass, confidence
from .ranking import fix_priority, fix_rank

FloatVector = NDArray[np.float64]
_SUMS = (
    "pixels", "valid", "confidence",
    "tp", "fp", "fn", "hard_tp", "hard_fp", "hard_fn",
    "boundary_fp", "boundary_fn",
)  # fmt: skip


class ObjectStatus(IntEnum):
    """Whether an object could be assessed."""

    ASSESSED = 0
    OUTSIDE = 1
    NODATA = 2
    TOO_SMALL = 3


@dataclass(frozen=True)
class Scores:
    """Four scores of each object, 0..1, NaN where nothing was counted."""

    precision: FloatVector
    recall: FloatVector
    iou: FloatVector
    f1: FloatVector


def scores(tp: FloatVector, fp: FloatVector, fn: FloatVector) -> Scores:
    """Return precision, recall, IoU and F1 of expected or counted pixels, any equal shapes."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return Scores(
            tp / (tp + fp), tp / (tp + fn), tp / (tp + fp + fn), 2 * tp / (2 * tp + fp + fn)
        )


@dataclass(frozen=True)
class ObjectQuality:
    """Quality of each object, arrays of N in the order of the ids 1..N.

    Attributes:
        pixels: Pixels of the object.
        valid_pixels: Those that hold imagery.
        soft: Scores from sums of probabilities.
        hard: Scores from counts of the most likely class.
        hard_pixels: Those counts, TP, FP and FN, (3, N).
        confidence: Mean probability of the most likely class inside the object.
        spread: Standard deviation of the soft IoU over the views; NaN with a single one.
        boundary_error: Expected wrong pixels near the outline.
        object_error: Expected wrong pixels elsewhere.
        width: Diameter of the largest circle that fits into the object.
        status: Values of `ObjectStatus`.
        likely_false: Assessed and of low precision.
        priority: See `fix_priority`.
        rank: 1 for the object to fix first.
    """

    pixels: NDArray[np.int64]
    valid_pixels: NDArray[np.int64]
    soft: Scores
    hard: Scores
    hard_pixels: NDArray[np.int64]
    confidence: FloatVector
    spread: FloatVector
    boundary_error: FloatVector
    object_error: FloatVector
    width: FloatVector
    status: NDArray[np.uint8]
    likely_false: BoolArray
    priority: FloatVector
    rank: NDArray[np.int64]

    @property
    def boundary_share(self) -> FloatVector:
        """Share of the expected error that lies near the outline; NaN without error."""
        with np.errstate(invalid="ignore"):
            return self.boundary_error / (self.boundary_error + self.object_error)


class ObjectAccumulator:
    """Sums over tiles from which `ObjectQuality` follows; memory grows with the objects only."""

    def __init__(self, object_count: int, options: ObjectOptions | None = None) -> None:
        self.options = options or ObjectOptions()
        self._count = object_count
        self._sums = {name: np.zeros(object_count + 1) for name in _SUMS}
        self._width = np.zeros(object_count + 1)

    def update(
        self,
        probabilities: FloatArray,
        object_ids: NDArray[np.integer],
        core: Core = (slice(None), slice(None)),
        valid: BoolArray | None = None,
    ) -> None:
        """Add one tile.

        Args:
            probabilities: (4, H, W), raw or constrained.
            object_ids: Object of each pixel, 0 for background, (H, W).
            core: The rows and columns that count; the rest is margin.
            valid: Pixels that hold imagery, (H, W); all when absent.

        Raises:
            ValueError: The shapes or the ids do not fit.
        """
        self._check(probabilities, object_ids)
        usable = np.ones(object_ids.shape, dtype=bool) if valid is None else valid
        counted = np.zeros(object_ids.shape, dtype=bool)
        counted[core] = True
        members, ids = local_ids(object_ids)
        pixels = object_pixels(probabilities, ids, usable, counted, self.options)
        tile = _TileSums(len(members))
        tile.add_extent(ids, usable, counted, pixels.depth)
        tile.add_probabilities(probabilities, pixels)
        for name, values in tile.sums.items():
            self._sums[name][members] += values
        self._width[members] = np.maximum(self._width[members], tile.width)

    def _check(self, probabilities: FloatArray, object_ids: NDArray[np.integer]) -> None:
        if probabilities.shape != (4, *object_ids.shape):
            raise ValueError(
                f"probabilities are {probabilities.shape}, the object ids {object_ids.shape}"
            )
        if object_ids.size and (object_ids.min() < 0 or object_ids.max() > self._count):
            raise ValueError(f"object ids must lie between 0 and {self._count}")

    def result(self) -> ObjectQuality:
        """Return the quality of all objects, those without pixels included."""
        sums = {name: values[1:] for name, values in self._sums.items()}
        soft = scores(sums["tp"], sums["fp"], sums["fn"])
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_confidence = sums["confidence"] / sums["valid"]
        status = self._status(sums["pixels"], sums["valid"])
        boundary = sums["boundary_fp"] + sums["boundary_fn"]
        assessed = status == ObjectStatus.ASSESSED
        priority = np.where(assessed, fix_priority(soft.iou, mean_confidence), np.nan)
        wrong = sums["fp"] + sums["fn"]
        hard = np.stack([sums["hard_tp"], sums["hard_fp"], sums["hard_fn"]])
        return ObjectQuality(
            pixels=sums["pixels"].astype(np.int64),
            valid_pixels=sums["valid"].astype(np.int64),
            soft=soft,
            hard=scores(*hard),
            hard_pixels=hard.astype(np.int64),
            confidence=mean_confidence,
            spread=np.full(self._count, np.nan),
            boundary_error=boundary,
            object_error=np.maximum(wrong - boundary, 0),
            width=self._width[1:].copy(),
            status=status,
            likely_false=assessed & (soft.precision < self.options.false_precision),
            priority=priority,
            rank=fix_rank(priority, wrong),
        )

    def _status(self, pixels: FloatVector, valid: FloatVector) -> NDArray[np.uint8]:
        status = np.full(self._count, ObjectStatus.ASSESSED, dtype=np.uint8)
        status[self._width[1:] < self.options.minimum_width] = ObjectStatus.TOO_SMALL
        status[valid < self.options.minimum_valid * pixels] = ObjectStatus.NODATA
        status[pixels == 0] = ObjectStatus.OUTSIDE
        return status


def local_ids(
    object_ids: NDArray[np.integer],
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Return the ids of a tile, background first, and the place of each pixel's id among them."""
    members = np.union1d(object_ids, [0]).astype(np.intp)
    return members, np.searchsorted(members, object_ids).astype(np.int32)


class _TileSums:
    """Sums over the objects of one tile, background included."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.sums = {name: np.zeros(count) for name in _SUMS}
        self.width = np.zeros(count)

    def add_extent(
        self,
        object_ids: NDArray[np.int32],
        usable: BoolArray,
        counted: BoolArray,
        depth: FloatArray,
    ) -> None:
        inside = counted & (object_ids > 0)
        ids = object_ids[inside]
        self._add("pixels", ids)
        self._add("valid", ids, usable[inside])
        np.maximum.at(self.width, ids, 2 * depth[inside] + 1)

    def add_probabilities(self, probabilities: FloatArray, pixels: ObjectPixels) -> None:
        flat = probabilities.reshape(4, -1)
        classes = flat.argmax(0)
        tp, fp = flat[:2, pixels.inside]
        fn = flat[QualityClass.FALSE_NEGATIVE, pixels.around]
        inside_ids, around_ids = pixels.inside_ids, pixels.around_ids
        self._add("confidence", inside_ids, confidence(probabilities).ravel()[pixels.inside])
        self._add("tp", inside_ids, tp)
        self._add("fp", inside_ids, fp)
        self._add("fn", around_ids, fn)
        self._add("boundary_fp", inside_ids, fp * pixels.near_outline)
        self._add("boundary_fn", around_ids, fn * pixels.near_object)
        inside_classes = classes[pixels.inside]
        self._add("hard_tp", inside_ids, inside_classes == QualityClass.TRUE_POSITIVE)
        self._add("hard_fp", inside_ids, inside_classes == QualityClass.FALSE_POSITIVE)
        around_classes = classes[pixels.around]
        self._add("hard_fn", around_ids, around_classes == QualityClass.FALSE_NEGATIVE)

    def _add(
        self, name: str, ids: NDArray[np.integer], weights: NDArray[np.generic] | None = None
    ) -> None:
        self.sums[name] += np.bincount(ids, weights, minlength=self._count)
