"""Found and missed objects: connected areas of one class, matched from an IoU of one half.

Labels of result and reference that share pixels are counted while bands of rows go by. Memory grows
with the number of objects, not with the raster.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.vector.components import BandLabels

from .boundary import MatchScores

MATCHING_IOU = 0.5
ClassMap = NDArray[np.uint8]
_Integers = NDArray[np.int64]


class ObjectCounts:
    """Counts the objects of each class and their matches.

    Objects are 4-connected areas of one class. Two of the same class match when their IoU is at
    least 0.5; each has at most one match.

    Args:
        class_count: Classes 1 to this, inclusive; 0 is "no class" and has no objects.
    """

    def __init__(self, class_count: int) -> None:
        self._class_count = class_count
        self._result, self._reference = _Objects(), _Objects()
        self._overlaps = _Overlaps()

    def update(self, result: ClassMap, reference: ClassMap) -> None:
        """Add the next band of full rows, from top to bottom.

        Args:
            result: Class ids, (h, width).
            reference: Class ids, (h, width).
        """
        same = (result == reference) & (result > 0)
        self._overlaps.add(self._result.add(result, same), self._reference.add(reference, same))

    def scores(self) -> list[MatchScores]:
        """Return the scores of each class; those of class 0 are empty."""
        one, other, shared = self._overlaps.sums(self._result.join(), self._reference.join())
        union = self._result.pixels[one] + self._reference.pixels[other] - shared
        rows, columns = _matches(one, other, shared / union)
        counted = [
            np.bincount(classes, minlength=self._class_count + 1)
            for classes in (
                self._result.classes,
                self._reference.classes,
                self._result.classes[rows],
                self._reference.classes[columns],
            )
        ]
        return [MatchScores(0, 0, 0, 0)] + [
            MatchScores(*(int(column[class_id]) for column in counted))
            for class_id in range(1, self._class_count + 1)
        ]


class _Objects:
    """The objects of one map.

    Attributes:
        classes: Class of each object, known after `join`.
        pixels: Number of its pixels, known after `join`.
    """

    def __init__(self) -> None:
        self.classes = self.pixels = np.zeros(0, np.int64)
        self._bands = BandLabels()
        self._classes: list[NDArray[np.uint8]] = [np.zeros(0, np.uint8)]
        self._pixels = [np.zeros(0, np.int64)]

    def add(self, classes: ClassMap, wanted: NDArray[np.bool_]) -> _Integers:
        """Add the next band (h, w), and return the labels of wanted pixels through all bands."""
        start = self._bands.count
        labels, label_classes = self._bands.add(classes)
        self._classes.append(label_classes.astype(np.uint8))
        self._pixels.append(np.bincount(labels.ravel(), minlength=len(label_classes) + 1)[1:])
        return labels[wanted].astype(np.int64) + (start - 1)

    def join(self) -> NDArray[np.int32]:
        """Return the object of each label."""
        objects = self._bands.join()
        count = int(objects.max(initial=-1)) + 1
        self.classes = np.zeros(count, np.int64)
        self.classes[objects] = np.concatenate(self._classes)
        sums = np.bincount(objects, np.concatenate(self._pixels), minlength=count)
        self.pixels = sums.astype(np.int64)
        return objects


class _Overlaps:
    """How many pixels each pair of labels shares."""

    def __init__(self) -> None:
        self._pairs = np.zeros((3, 0), np.int64)
        self._new: list[_Integers] = []

    def add(self, one: _Integers, other: _Integers) -> None:
        """Count pixels by their labels in both maps."""
        self._new.append(_count_equal(np.stack([one, other, np.ones_like(one)])))
        if sum(part.shape[1] for part in self._new) > self._pairs.shape[1]:
            self._merge()

    def sums(self, first: NDArray[np.int32], second: NDArray[np.int32]) -> _Integers:
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


def _matches(
    one: _Integers, other: _Integers, iou: NDArray[np.float64]
) -> tuple[_Integers, _Integers]:
    """Return the objects of each matching pair."""
    order = np.flatnonzero(iou >= MATCHING_IOU)
    order = order[np.argsort(-iou[order], kind="stable")]
    # Above a half matches are unique; at exactly a half the first pair takes both.
    for side in (one, other):
        _, leading = np.unique(side[order], return_index=True)
        order = order[np.sort(leading)]
    return one[order], other[order]
