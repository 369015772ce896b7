"""Boundary F1: the share of the outlines of two class maps within a tolerance of each other.

After Csurka et al., "What is a good evaluation measure for semantic segmentation?" (BMVC 2013),
with counts summed over the whole raster before they are divided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .quality import QualityScores, mean_scores

LEFT_OUT = 255
# Up to this number, shifts of an outline are faster than a distance transform.
_MOST_STEPS = 81
ClassMap = NDArray[np.uint8]
_Place = tuple[slice, slice]


@dataclass(frozen=True)
class MatchScores:
    """Counts of outline pixels or objects of result and reference, and of those that match.

    Attributes:
        result: Count in the result.
        reference: Count in the reference.
        result_matched: Those of the result that have a match in the reference.
        reference_matched: Those of the reference that have a match in the result.
    """

    result: int
    reference: int
    result_matched: int
    reference_matched: int

    @property
    def precision(self) -> float:
        """Matched share of the result; NaN for an empty result."""
        return self.result_matched / self.result if self.result else float("nan")

    @property
    def recall(self) -> float:
        """Matched share of the reference; NaN for an empty reference."""
        return self.reference_matched / self.reference if self.reference else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; 0 when only one side is empty, NaN when both are."""
        if not self.result or not self.reference:
            return 0.0 if self.result or self.reference else float("nan")
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def mean_match(scores: list[MatchScores]) -> QualityScores:
    """Return the mean precision, recall and F1 over the classes that have them."""
    undefined = float("nan")
    return mean_scores(
        [
            QualityScores(undefined, item.precision, item.recall, item.f1, undefined)
            for item in scores
        ]
    )


class BoundaryCounts:
    """Outline pixels of each class, summed over blocks.

    An outline pixel has a 4-neighbour of another class. Edges of the raster and of pixels that are
    left out are no outlines.

    Args:
        class_count: Classes 1 to this, inclusive; 0 is "no class" and has no outlines of its own.
        tolerance: Largest distance of matching pixels, in the unit of the pixel sizes.
    """

    def __init__(self, class_count: int, tolerance: float) -> None:
        self._tolerance = tolerance
        self._counts: NDArray[np.int64] = np.zeros((class_count + 1, 4), dtype=np.int64)

    def margin(self, pixel_size: tuple[float, float]) -> int:
        """Return how many pixels around a block must be known."""
        return math.ceil(self._tolerance / min(pixel_size)) + 1

    def update(
        self, result: ClassMap, reference: ClassMap, core: _Place, pixel_size: tuple[float, float]
    ) -> None:
        """Count the outlines of one block.

        Args:
            result: Classes of the block and its surroundings, (h, w), 255 where left out.
            reference: The same of the reference.
            core: Rows and columns of the block itself; only its pixels are counted.
            pixel_size: Lengths of a pixel along a row and along a column.
        """
        outlines = outline_pixels(result), outline_pixels(reference)
        present = np.union1d(result[outlines[0]], reference[outlines[1]])
        inner = np.zeros(result.shape, dtype=np.bool_)
        inner[core] = True
        for class_id in present[present > 0]:
            first = outlines[0] & (result == class_id)
            second = outlines[1] & (reference == class_id)
            place = _around(first | second)
            self._counts[class_id] += self._compare(
                first[place], second[place], inner[place], pixel_size
            )

    def scores(self) -> list[MatchScores]:
        """Return the scores of each class; those of class 0 are empty."""
        return [MatchScores(*(int(value) for value in row)) for row in self._counts]

    def _compare(
        self,
        first: NDArray[np.bool_],
        second: NDArray[np.bool_],
        inner: NDArray[np.bool_],
        pixel_size: tuple[float, float],
    ) -> tuple[int, int, int, int]:
        return (
            int(np.count_nonzero(first & inner)),
            int(np.count_nonzero(second & inner)),
            int(np.count_nonzero(first & inner & self._near(second, pixel_size))),
            int(np.count_nonzero(second & inner & self._near(first, pixel_size))),
        )

    def _near(
        self, outline: NDArray[np.bool_], pixel_size: tuple[float, float]
    ) -> NDArray[np.bool_]:
        """Mark the pixels within the tolerance of an outline."""
        if not outline.any():
            return np.zeros(outline.shape, dtype=np.bool_)
        reach = self._tolerance * (1 + 1e-9)
        steps = _steps(reach, pixel_size)
        if steps is None:
            distance = ndimage.distance_transform_edt(~outline, sampling=pixel_size[::-1])
            return np.asarray(distance <= reach)
        near = np.zeros(outline.shape, dtype=np.bool_)
        for down, across in steps:
            if abs(down) >= outline.shape[0] or abs(across) >= outline.shape[1]:
                continue
            target, source = _shifted(outline.shape, down, across)
            near[target] |= outline[source]
        return near


def _steps(reach: float, pixel_size: tuple[float, float]) -> list[tuple[int, int]] | None:
    """Return the rows and columns to all pixels within reach, None for too many of them."""
    rows, columns = (math.floor(reach / size) for size in reversed(pixel_size))
    if (2 * rows + 1) * (2 * columns + 1) > _MOST_STEPS:
        return None
    return [
        (down, across)
        for down in range(-rows, rows + 1)
        for across in range(-columns, columns + 1)
        if math.hypot(down * pixel_size[1], across * pixel_size[0]) <= reach
    ]


def _shifted(shape: tuple[int, ...], down: int, across: int) -> tuple[_Place, _Place]:
    """Return the places of pixels and of those ``down`` and ``across`` of them."""
    sides = [
        (slice(max(-step, 0), size - max(step, 0)), slice(max(step, 0), size + min(step, 0)))
        for step, size in ((down, shape[0]), (across, shape[1]))
    ]
    return (sides[0][0], sides[1][0]), (sides[0][1], sides[1][1])


def outline_pixels(classes: ClassMap) -> NDArray[np.bool_]:
    """Mark the pixels of (h, w) that have a neighbour of another class, neither left out."""
    marked = np.zeros(classes.shape, dtype=np.bool_)
    known = classes != LEFT_OUT
    for one, other in (
        ((slice(1, None), slice(None)), (slice(-1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(-1))),
    ):
        edge = (classes[one] != classes[other]) & known[one] & known[other]
        marked[one] |= edge
        marked[other] |= edge
    return marked


def _around(mask: NDArray[np.bool_]) -> _Place:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
