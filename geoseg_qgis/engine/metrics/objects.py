"""Objects found and missed: connected areas of one class, partners from an IoU of a half upwards.

Two passes over bands of rows; memory grows with the number of objects, not with the raster.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..vector.components import Components, ReadClasses, find_components, labelled_bands
from .boundary import MatchScores

MATCHING_IOU = 0.5
Progress = Callable[[float], None]
_Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def match_objects(
    shape: tuple[int, int],
    read_result: ReadClasses,
    read_reference: ReadClasses,
    class_count: int,
    progress: Progress,
) -> list[MatchScores]:
    """Count the objects of each class and their partners.

    Objects are 4-connected areas of one class. Two of the same class are partners when their IoU
    is at least 0.5; each has at most one.

    Args:
        shape: Rows and columns.
        read_result: Gives class ids (h, w) of a window, 0 for none.
        read_reference: The same of the reference, already 0 where pixels are left out.
        class_count: Classes 1 to this, inclusive.
        progress: Called with the finished share; may raise to stop.

    Returns:
        Scores of each class; those of class 0 are empty.
    """
    result = find_components(shape, read_result, None, lambda done: progress(done / 3))
    reference = find_components(shape, read_reference, None, lambda done: progress((1 + done) / 3))
    rows, columns = _partners(shape, (read_result, result), (read_reference, reference), progress)
    matched = [
        np.bincount(side.class_ids[index], minlength=class_count + 1)
        for side, index in ((result, rows), (reference, columns))
    ]
    counts = [
        np.bincount(side.class_ids, minlength=class_count + 1) for side in (result, reference)
    ]
    return [
        MatchScores(*(int(column[class_id]) for column in (*counts, *matched)))
        for class_id in range(class_count + 1)
    ]


def _partners(
    shape: tuple[int, int],
    result: tuple[ReadClasses, Components],
    reference: tuple[ReadClasses, Components],
    progress: Progress,
) -> _Pairs:
    """Return the indexes of the objects of each pair of partners."""
    first, second = result[1], reference[1]
    keys, shared = _overlaps(shape, result, reference, progress)
    one, other = keys // max(len(second.pixels), 1), keys % max(len(second.pixels), 1)
    union = first.pixels[one] + second.pixels[other] - shared
    alike = first.class_ids[one] == second.class_ids[other]
    kept = np.flatnonzero(alike & (shared >= MATCHING_IOU * union))
    # Above a half partners are unique; at exactly a half the first pair takes both.
    order = kept[np.argsort(-(shared[kept] / union[kept]), kind="stable")]
    _, leading = np.unique(one[order], return_index=True)
    order = order[np.sort(leading)]
    _, leading = np.unique(other[order], return_index=True)
    order = order[np.sort(leading)]
    return one[order], other[order]


def _overlaps(
    shape: tuple[int, int],
    result: tuple[ReadClasses, Components],
    reference: tuple[ReadClasses, Components],
    progress: Progress,
) -> _Pairs:
    """Return the pairs of objects that share pixels, as one number each, and how many pixels."""
    width = max(len(reference[1].pixels), 1)
    tally = _PairTally()
    bands = zip(
        *(labelled_bands(shape, read, found.joins + 1) for read, found in (result, reference)),
        strict=True,
    )
    for (window, one), (_, other) in bands:
        progress((2 + window.row_off / shape[0]) / 3)
        both = (one > 0) & (other > 0)
        tally.add((one[both].astype(np.int64) - 1) * width + other[both] - 1)
    return tally.result()


class _PairTally:
    """Counts of numbers, merged whenever what is new outgrows what is known."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)
        self._new: list[_Pairs] = []

    def add(self, keys: NDArray[np.int64]) -> None:
        found, counts = np.unique(keys, return_counts=True)
        self._new.append((found, counts))
        if sum(len(part) for part, _ in self._new) > len(self._keys):
            self._merge()

    def result(self) -> _Pairs:
        self._merge()
        return self._keys, self._counts

    def _merge(self) -> None:
        keys = np.concatenate([self._keys, *(part for part, _ in self._new)])
        counts = np.concatenate([self._counts, *(part for _, part in self._new)])
        self._keys, inverse = np.unique(keys, return_inverse=True)
        self._counts = np.bincount(inverse, counts).astype(np.int64)
        self._new.clear()
