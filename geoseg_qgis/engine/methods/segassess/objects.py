"""Quality of each object of a mask, summed over tiles.

Objects are the positive integers of an id map. Inside an object TP and FP count; every background
pixel within a buffer lends its FN to the nearest object, except in regions that look like missed
objects of their own. Tiles are given with a margin of at least the buffer, and only their core is
counted, so that the sums over all tiles equal those over the whole raster; only a missed object
larger than the margin, which a tile sees in part, can make a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .missed import missed_regions
from .quality import BoolArray, FloatArray, QualityClass, confidence
from .ranking import fix_priority, fix_rank

FloatVector = NDArray[np.float64]
Core = tuple[slice, slice]


class ObjectStatus(IntEnum):
    """Whether an object could be judged."""

    JUDGED = 0
    OUTSIDE = 1
    NODATA = 2
    TOO_SMALL = 3


@dataclass(frozen=True)
class ObjectOptions:
    """How objects are judged, all lengths in pixels of the tiles.

    Attributes:
        buffer: Background pixels up to this far lend their FN to the nearest object.
        boundary_width: Errors up to this far from an object's outline are boundary errors.
        minimum_width: Narrower objects are too small for the network, whose cells are 8 pixels.
        minimum_valid: Smallest share of an object's pixels that must hold imagery.
        missed_area: Smallest missed object, which no neighbour is blamed for.
        false_precision: Objects of lower precision are likely false.
    """

    buffer: float = 16.0
    boundary_width: float = 4.0
    minimum_width: float = 8.0
    minimum_valid: float = 0.5
    missed_area: int = 64
    false_precision: float = 0.5


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
    """What is thought of each object, arrays of N in the order of the ids 1..N.

    Attributes:
        pixels: Pixels of the object.
        valid_pixels: Those that hold imagery.
        soft: Scores from sums of probabilities.
        hard: Scores from counts of the most likely class.
        confidence: Mean probability of the most likely class inside the object.
        spread: Standard deviation of the soft IoU over the runs; NaN with a single run.
        boundary_error: Expected wrong pixels near the outline.
        object_error: Expected wrong pixels elsewhere.
        width: Diameter of the largest circle that fits into the object.
        status: Values of `ObjectStatus`.
        likely_false: Judged and of low precision.
        priority: See `fix_priority`.
        rank: 1 for the object to fix first.
    """

    pixels: NDArray[np.int64]
    valid_pixels: NDArray[np.int64]
    soft: Scores
    hard: Scores
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


@dataclass(frozen=True)
class _Geometry:
    """The counted pixels of one tile, flat.

    Attributes:
        inside: Object pixels that count, flat indices into the tile.
        inside_ids: Their objects.
        near_outline: Whether each is near its object's outline.
        around: Background pixels that lend their FN, flat indices.
        around_ids: The nearest objects.
        near_object: Whether each is near that object's outline.
    """

    inside: NDArray[np.intp]
    inside_ids: NDArray[np.integer]
    near_outline: BoolArray
    around: NDArray[np.intp]
    around_ids: NDArray[np.integer]
    near_object: BoolArray


def outline_distance(object_ids: NDArray[np.integer]) -> FloatArray:
    """Return each object pixel's distance to its object's outline pixels, 0 on them, (H, W).

    Outline pixels have a 4-neighbour with another id; the tile's rim is no outline.
    """
    outline = np.zeros(object_ids.shape, dtype=bool)
    for axis in (0, 1):
        differs = np.diff(object_ids, axis=axis) != 0
        first, second = [slice(None)] * 2, [slice(None)] * 2
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        outline[tuple(first)] |= differs
        outline[tuple(second)] |= differs
    if not outline.any():
        return np.full(object_ids.shape, float(max(object_ids.shape)))
    return np.asarray(ndimage.distance_transform_edt(~outline))


def nearest_objects(
    object_ids: NDArray[np.integer], buffer: float
) -> tuple[NDArray[np.integer], FloatArray]:
    """Return the nearest object of each background pixel, 0 beyond the buffer, and its distance."""
    background = object_ids == 0
    if background.all():
        return np.zeros_like(object_ids), np.full(object_ids.shape, np.inf)
    distance, indices = ndimage.distance_transform_edt(background, return_indices=True)
    nearest = object_ids[tuple(indices)]
    return np.where(background & (distance <= buffer), nearest, 0), distance


class ObjectAccumulator:
    """Sums over tiles from which `ObjectQuality` follows; memory grows with the objects only."""

    _NAMES = (
        "pixels", "valid", "confidence",
        "tp", "fp", "fn", "hard_tp", "hard_fp", "hard_fn",
        "boundary_fp", "boundary_fn",
    )  # fmt: skip

    def __init__(
        self, object_count: int, runs: int = 0, options: ObjectOptions | None = None
    ) -> None:
        self.options = options or ObjectOptions()
        self.runs = runs
        self._count = object_count
        self._sums = {name: np.zeros(object_count + 1) for name in self._NAMES}
        self._width = np.zeros(object_count + 1)
        self._run_sums = np.zeros((3, runs, object_count + 1))

    def update(
        self,
        probabilities: FloatArray,
        object_ids: NDArray[np.integer],
        core: Core = (slice(None), slice(None)),
        valid: BoolArray | None = None,
        run_probabilities: FloatArray | None = None,
    ) -> None:
        """Add one tile.

        Args:
            probabilities: (4, H, W), raw or constrained.
            object_ids: Object of each pixel, 0 for background, (H, W).
            core: The rows and columns that count; the rest is margin.
            valid: Pixels that hold imagery, (H, W); all when absent.
            run_probabilities: The same of each run, (R, 4, H, W); NaN where a run saw nothing.

        Raises:
            ValueError: The shapes, the ids or the number of runs do not fit.
        """
        self._check(probabilities, object_ids, run_probabilities)
        usable = np.ones(object_ids.shape, dtype=bool) if valid is None else valid
        counted = np.zeros(object_ids.shape, dtype=bool)
        counted[core] = True
        depth = outline_distance(object_ids)
        self._add_extent(object_ids, usable, counted, depth)
        geometry = self._geometry(probabilities, object_ids, usable, counted, depth)
        self._add_probabilities(probabilities, geometry)
        if run_probabilities is not None:
            for run, one in enumerate(run_probabilities):
                self._add_run(run, one, geometry)

    def _check(
        self,
        probabilities: FloatArray,
        object_ids: NDArray[np.integer],
        run_probabilities: FloatArray | None,
    ) -> None:
        if probabilities.shape != (4, *object_ids.shape):
            raise ValueError(
                f"probabilities are {probabilities.shape}, the object ids {object_ids.shape}"
            )
        runs = 0 if run_probabilities is None else len(run_probabilities)
        if runs != self.runs:
            raise ValueError(f"{self.runs} runs were announced, the tile has {runs}")
        if object_ids.size and (object_ids.min() < 0 or object_ids.max() > self._count):
            raise ValueError(f"object ids must lie between 0 and {self._count}")

    def _add(
        self, name: str, ids: NDArray[np.integer], weights: NDArray[np.generic] | None = None
    ) -> None:
        self._sums[name] += np.bincount(ids, weights, minlength=self._count + 1)

    def _add_extent(
        self,
        object_ids: NDArray[np.integer],
        usable: BoolArray,
        counted: BoolArray,
        depth: FloatArray,
    ) -> None:
        inside = counted & (object_ids > 0)
        ids = object_ids[inside]
        self._add("pixels", ids)
        self._add("valid", ids, usable[inside])
        np.maximum.at(self._width, ids, 2 * depth[inside] + 1)

    def _geometry(
        self,
        probabilities: FloatArray,
        object_ids: NDArray[np.integer],
        usable: BoolArray,
        counted: BoolArray,
        depth: FloatArray,
    ) -> _Geometry:
        missed = missed_regions(
            probabilities, object_ids > 0, self.options.missed_area, usable
        ).labels
        nearest, distance = nearest_objects(object_ids, self.options.buffer)
        inside = np.flatnonzero(counted & usable & (object_ids > 0))
        around = np.flatnonzero(counted & usable & (nearest > 0) & (missed == 0))
        width = self.options.boundary_width
        return _Geometry(
            inside,
            object_ids.ravel()[inside],
            depth.ravel()[inside] < width,
            around,
            nearest.ravel()[around],
            distance.ravel()[around] <= width,
        )

    def _add_probabilities(self, probabilities: FloatArray, geometry: _Geometry) -> None:
        flat = probabilities.reshape(4, -1)
        classes = flat.argmax(0)
        tp, fp = flat[:2, geometry.inside]
        fn = flat[QualityClass.FALSE_NEGATIVE, geometry.around]
        inside_ids, around_ids = geometry.inside_ids, geometry.around_ids
        self._add("confidence", inside_ids, confidence(probabilities).ravel()[geometry.inside])
        self._add("tp", inside_ids, tp)
        self._add("fp", inside_ids, fp)
        self._add("fn", around_ids, fn)
        self._add("boundary_fp", inside_ids, fp * geometry.near_outline)
        self._add("boundary_fn", around_ids, fn * geometry.near_object)
        inside_classes = classes[geometry.inside]
        self._add("hard_tp", inside_ids, inside_classes == QualityClass.TRUE_POSITIVE)
        self._add("hard_fp", inside_ids, inside_classes == QualityClass.FALSE_POSITIVE)
        around_classes = classes[geometry.around]
        self._add("hard_fn", around_ids, around_classes == QualityClass.FALSE_NEGATIVE)

    def _add_run(self, run: int, probabilities: FloatArray, geometry: _Geometry) -> None:
        flat = np.nan_to_num(probabilities.reshape(4, -1), nan=0.0)
        parts = (
            (QualityClass.TRUE_POSITIVE, geometry.inside, geometry.inside_ids),
            (QualityClass.FALSE_POSITIVE, geometry.inside, geometry.inside_ids),
            (QualityClass.FALSE_NEGATIVE, geometry.around, geometry.around_ids),
        )
        for row, (channel, where, ids) in enumerate(parts):
            self._run_sums[row, run] += np.bincount(
                ids, flat[channel, where], minlength=self._count + 1
            )

    def result(self) -> ObjectQuality:
        """Return the quality of all objects, those without pixels included."""
        sums = {name: values[1:] for name, values in self._sums.items()}
        soft = scores(sums["tp"], sums["fp"], sums["fn"])
        with np.errstate(invalid="ignore", divide="ignore"):
            sure = sums["confidence"] / sums["valid"]
        status = self._status(sums["pixels"], sums["valid"])
        boundary = sums["boundary_fp"] + sums["boundary_fn"]
        judged = status == ObjectStatus.JUDGED
        priority = np.where(judged, fix_priority(soft.iou, sure), np.nan)
        wrong = sums["fp"] + sums["fn"]
        return ObjectQuality(
            pixels=sums["pixels"].astype(np.int64),
            valid_pixels=sums["valid"].astype(np.int64),
            soft=soft,
            hard=scores(sums["hard_tp"], sums["hard_fp"], sums["hard_fn"]),
            confidence=sure,
            spread=self._spread(),
            boundary_error=boundary,
            object_error=np.maximum(wrong - boundary, 0),
            width=self._width[1:].copy(),
            status=status,
            likely_false=judged & (soft.precision < self.options.false_precision),
            priority=priority,
            rank=fix_rank(priority, wrong),
        )

    def _status(self, pixels: FloatVector, valid: FloatVector) -> NDArray[np.uint8]:
        status = np.full(self._count, ObjectStatus.JUDGED, dtype=np.uint8)
        status[self._width[1:] < self.options.minimum_width] = ObjectStatus.TOO_SMALL
        status[valid < self.options.minimum_valid * pixels] = ObjectStatus.NODATA
        status[pixels == 0] = ObjectStatus.OUTSIDE
        return status

    def _spread(self) -> FloatVector:
        if self.runs < 2:
            return np.full(self._count, np.nan)
        iou = scores(*self._run_sums[:, :, 1:]).iou
        known = ~np.isnan(iou)
        count = known.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(known, iou, 0).sum(0) / count
            variance = np.where(known, np.square(iou - mean), 0).sum(0) / count
        return np.asarray(np.where(count > 1, np.sqrt(variance), np.nan))
