"""Objects found and missed: connected areas of one class, partners from an IoU of a half upwards.

One pass over bands of rows: each band is labelled on its own, labels that touch across bands are
noted, and so are the labels of result and reference that share pixels. Memory grows with the
number of objects, not with the raster.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .boundary import MatchScores

MATCHING_IOU = 0.5
ClassMap = NDArray[np.uint8]
ReadBoth = Callable[[Window], tuple[ClassMap, ClassMap]]
Progress = Callable[[float], None]
_BAND_PIXELS = 4_000_000
_Integers = NDArray[np.int64]


def match_objects(
    shape: tuple[int, int], read: ReadBoth, class_count: int, progress: Progress
) -> list[MatchScores]:
    """Count the objects of each class and their partners.

    Objects are 4-connected areas of one class. Two of the same class are partners when their IoU
    is at least 0.5; each has at most one.

    Args:
        shape: Rows and columns.
        read: Gives the class ids (h, w) of result and reference in a window, 0 for none.
        class_count: Classes 1 to this, inclusive.
        progress: Called with the finished share; may raise to stop.

    Returns:
        Scores of each class; those of class 0 are empty.
    """
    result, reference, overlaps = _Objects(), _Objects(), _Tally()
    for window in _bands(shape):
        first, second = read(window)
        one, other = result.add(first), reference.add(second)
        same = (first == second) & (first > 0)
        overlaps.add(one[same], other[same])
        progress((window.row_off + window.height) / shape[0])
    result.join()
    reference.join()
    rows, columns = _partners(result, reference, overlaps)
    counted = [
        np.bincount(classes, minlength=class_count + 1)
        for classes in (
            result.classes,
            reference.classes,
            result.classes[rows],
            reference.classes[columns],
        )
    ]
    nothing = MatchScores(0, 0, 0, 0)
    return [nothing] + [
        MatchScores(*(int(column[class_id]) for column in counted))
        for class_id in range(1, class_count + 1)
    ]


class _Objects:
    """The objects of one map: first labels of bands, after `join` whole objects."""

    def __init__(self) -> None:
        self.classes: _Integers = np.zeros(1, np.int64)
        self.pixels: _Integers = np.zeros(1, np.int64)
        self.numbers: _Integers = np.zeros(1, np.int64)
        self._parts: list[tuple[_Integers, _Integers]] = [(self.classes, self.pixels)]
        self._seams: list[NDArray[np.int64]] = []
        self._count = 1
        self._above: tuple[_Integers, ClassMap] | None = None

    def add(self, classes: ClassMap) -> _Integers:
        """Return labels of the band (h, w), 0 for none, that no other band has."""
        labels = np.zeros(classes.shape, np.int64)
        for class_id in np.unique(classes[classes > 0]):
            found, count = ndimage.label(classes == class_id)
            inside = found > 0
            labels[inside] = found[inside] + (self._count - 1)
            pixels = np.bincount(found.ravel(), minlength=count + 1)[1:]
            self._parts.append((np.full(count, class_id, np.int64), pixels.astype(np.int64)))
            self._count += count
        if self._above is not None:
            touching = (self._above[1] == classes[0]) & (classes[0] > 0)
            self._seams.append(np.stack([self._above[0][touching], labels[0][touching]]))
        self._above = labels[-1].copy(), classes[-1].copy()
        return labels

    def join(self) -> None:
        """Make objects of the labels; `numbers` then says which object each label is part of."""
        seams = np.concatenate([np.zeros((2, 0), np.int64), *self._seams], axis=1)
        edges = (np.ones(seams.shape[1], np.int8), (seams[0], seams[1]))
        graph = coo_matrix(edges, shape=(self._count, self._count))
        count, numbers = connected_components(graph, directed=False)
        classes = np.concatenate([part for part, _ in self._parts])
        pixels = np.concatenate([part for _, part in self._parts])
        self.numbers = numbers.astype(np.int64)
        self.classes = np.zeros(count, np.int64)
        self.classes[self.numbers] = classes
        self.pixels = np.bincount(self.numbers, pixels, minlength=count).astype(np.int64)


class _Tally:
    """How many pixels each pair of labels shares."""

    def __init__(self) -> None:
        self._pairs = np.zeros((3, 0), np.int64)
        self._new: list[_Integers] = []

    def add(self, one: _Integers, other: _Integers) -> None:
        """Count pixels by their labels in both maps."""
        self._new.append(_count_equal(np.stack([one, other, np.ones_like(one)])))
        if sum(part.shape[1] for part in self._new) > self._pairs.shape[1]:
            self._merge()

    def of(self, first: _Integers, second: _Integers) -> _Integers:
        """Return (3, n) object, object, shared pixels, for the objects of the labels."""
        self._merge()
        one, other, shared = self._pairs
        return _count_equal(np.stack([first[one], second[other], shared]))

    def _merge(self) -> None:
        self._pairs = _count_equal(np.concatenate([self._pairs, *self._new], axis=1))
        self._new.clear()


def _count_equal(pairs: _Integers) -> _Integers:
    """Sum the third row over equal pairs of the first two."""
    one, other, counts = pairs
    width = int(other.max(initial=0)) + 1
    keys, inverse = np.unique(one * width + other, return_inverse=True)
    sums = np.bincount(inverse.ravel(), counts, minlength=len(keys)).astype(np.int64)
    return np.stack([keys // width, keys % width, sums])


def _partners(
    result: _Objects, reference: _Objects, overlaps: _Tally
) -> tuple[_Integers, _Integers]:
    """Return the objects of each pair of partners."""
    one, other, shared = overlaps.of(result.numbers, reference.numbers)
    union = result.pixels[one] + reference.pixels[other] - shared
    iou = shared / union
    order = np.flatnonzero(iou >= MATCHING_IOU)
    order = order[np.argsort(-iou[order], kind="stable")]
    # Above a half partners are unique; at exactly a half the first pair takes both.
    for side in (one, other):
        _, leading = np.unique(side[order], return_index=True)
        order = order[np.sort(leading)]
    return one[order], other[order]


def _bands(shape: tuple[int, int]) -> list[Window]:
    height, width = shape
    rows = max(1, min(height, _BAND_PIXELS // width))
    return [Window(0, top, width, min(rows, height - top)) for top in range(0, height, rows)]
