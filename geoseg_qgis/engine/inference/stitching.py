"""What overlapping tiles have in common: the same ground, and the same objects on it.

Regions of SAM 2 (`region_map`) and predictions of objects (`referring.unigeoseg.merging`) are
stitched by different rules, on top of these functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

Slices = tuple[slice, slice]


@dataclass(frozen=True)
class LabelPairs:
    """Labels of two tiles that share pixels, one pair each, in ascending order.

    Attributes:
        first: Labels in the first tile, (n,).
        second: Labels in the second tile, (n,).
        shared: Pixels that both have, (n,).
        first_area: Pixels of the first label in the overlap, (n,).
        second_area: Pixels of the second label in the overlap, (n,).
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shared: NDArray[np.int64]
    first_area: NDArray[np.int64]
    second_area: NDArray[np.int64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair, (n,)."""
        union = self.first_area + self.second_area - self.shared
        return np.asarray(self.shared / union, dtype=np.float64)

    @property
    def cover(self) -> NDArray[np.float64]:
        """Share of the smaller area of each pair that both have, (n,)."""
        smaller = np.minimum(self.first_area, self.second_area)
        return np.asarray(self.shared / smaller, dtype=np.float64)


def label_pairs(first: NDArray[np.int32], second: NDArray[np.int32]) -> LabelPairs:
    """Return the pairs of labels that share pixels; 0 is no label.

    Args:
        first: Labels of the first tile in the overlap, numbered without large gaps.
        second: Those of the second tile, same shape, any numbers.
    """
    both = (first > 0) & (second > 0)
    areas = np.bincount(first.ravel())
    labels, index, label_areas = np.unique(second, return_inverse=True, return_counts=True)
    codes, shared = np.unique(
        first[both].astype(np.int64) * len(labels) + index.reshape(second.shape)[both],
        return_counts=True,
    )
    own, other = np.divmod(codes, max(len(labels), 1))
    return LabelPairs(
        own,
        labels[other].astype(np.int64),
        shared.astype(np.int64),
        areas[own].astype(np.int64),
        label_areas[other].astype(np.int64),
    )


def shared_slices(first: Window, second: Window) -> tuple[Slices, Slices] | None:
    """Return the rows and columns of the overlap in each of two windows, None without any."""
    top = max(int(first.row_off), int(second.row_off))
    left = max(int(first.col_off), int(second.col_off))
    bottom = min(int(first.row_off + first.height), int(second.row_off + second.height))
    right = min(int(first.col_off + first.width), int(second.col_off + second.width))
    if bottom <= top or right <= left:
        return None

    def within(window: Window) -> Slices:
        rows, columns = int(window.row_off), int(window.col_off)
        return slice(top - rows, bottom - rows), slice(left - columns, right - columns)

    return within(first), within(second)
