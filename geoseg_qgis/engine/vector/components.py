"""Connected areas of a class raster, found band of rows by band of rows.

A first pass labels each band on its own, joins the labels that touch across bands and sums up what
is known of each area; a second pass labels the bands again, with the final numbers. Memory grows
with the number of areas, not with the raster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

ReadClasses = Callable[[Window], NDArray[np.uint8]]
ReadScores = Callable[[Window, NDArray[np.uint8]], NDArray[np.float32]]
_BAND_PIXELS = 8_000_000


@dataclass(frozen=True)
class Components:
    """Connected areas of equal class, 4-connected.

    Attributes:
        class_ids: Class of each area.
        pixels: Number of its pixels.
        columns: Mean column of its pixel centres.
        rows: Mean row of its pixel centres.
        scores: Mean score of its pixels, NaN without scores.
        joins: Area of each label of each band, counted through all bands, from 0.
        shape: Rows and columns of the raster.
    """

    class_ids: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    columns: NDArray[np.float64]
    rows: NDArray[np.float64]
    scores: NDArray[np.float64]
    joins: NDArray[np.int32]
    shape: tuple[int, int]


def row_windows(shape: tuple[int, int]) -> list[Window]:
    """Return the bands of full rows in which a raster is worked through."""
    height, width = shape
    rows = max(1, min(height, _BAND_PIXELS // width))
    return [Window(0, top, width, min(rows, height - top)) for top in range(0, height, rows)]


def find_components(
    shape: tuple[int, int],
    read_classes: ReadClasses,
    read_scores: ReadScores | None,
    progress: Callable[[float], None],
) -> Components:
    """Find the connected areas of a class raster; 0 belongs to none.

    Args:
        shape: Rows and columns.
        read_classes: Gives class ids (h, w) of a window.
        read_scores: Gives scores (h, w) of a window and its class ids, or None.
        progress: Called with the finished share; may raise to stop.
    """
    sums = _Sums()
    pairs = [np.zeros((0, 2), np.int64)]
    above_labels, above_classes = None, None
    for window in row_windows(shape):
        progress(window.row_off / shape[0])
        classes = read_classes(window)
        labels, label_classes = label_classes_of(classes)
        first = sums.count - 1
        if above_labels is not None:
            touching = (classes[0] == above_classes) & (classes[0] > 0)
            below = labels[0][touching].astype(np.int64) + first
            pairs.append(np.stack([above_labels[touching], below], axis=1))
        scores = None if read_scores is None else read_scores(window, classes)
        sums.add(window, labels, label_classes, scores)
        above_labels, above_classes = labels[-1].astype(np.int64) + first, classes[-1].copy()
    return sums.join(np.concatenate(pairs), shape)


def labelled_bands(
    shape: tuple[int, int], read_classes: ReadClasses, numbers: NDArray[np.int32]
) -> Iterator[tuple[Window, NDArray[np.int32]]]:
    """Yield each band of rows with the number of the area of each pixel.

    Args:
        shape: Rows and columns.
        read_classes: Gives class ids (h, w) of a window, the same as before.
        numbers: Number of each label of each band, `Components.joins` renumbered.
    """
    start = 0
    for window in row_windows(shape):
        labels, label_classes = label_classes_of(read_classes(window))
        count = len(label_classes)
        table = np.concatenate([np.zeros(1, np.int32), numbers[start : start + count]])
        yield window, table[labels]
        start += count


def label_classes_of(
    classes: NDArray[np.uint8],
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Label the 4-connected areas of equal class of an array.

    Returns:
        Labels of shape (h, w) from 1, 0 where the class is 0, and the class of each label.
    """
    height, width = classes.shape
    starts = np.ones((height, width), dtype=np.bool_)
    np.not_equal(classes[:, 1:], classes[:, :-1], out=starts[:, 1:])
    runs = (np.cumsum(starts.ravel(), dtype=np.int32) - 1).reshape(height, width)
    joined = (classes[1:] == classes[:-1]) & (starts[1:] | starts[:-1])
    upper, lower = runs[:-1][joined], runs[1:][joined]
    run_count = int(runs[-1, -1]) + 1
    areas = _connect(upper, lower, run_count)
    run_classes = classes.ravel()[np.flatnonzero(starts.ravel())]
    area_classes = np.zeros(int(areas.max()) + 1, dtype=np.uint8)
    area_classes[areas] = run_classes
    shown = area_classes > 0
    table = np.where(shown, np.cumsum(shown), 0).astype(np.int32)
    return table[areas][runs], area_classes[shown]


def _connect(first: NDArray[Any], second: NDArray[Any], count: int) -> NDArray[np.int32]:
    ones = np.ones(len(first), dtype=np.int8)
    graph = coo_matrix((ones, (first, second)), shape=(count, count))
    numbers: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return numbers


class _Sums:
    """Sums of the pixels of each label of each band."""

    def __init__(self) -> None:
        self.count = 0
        self._classes: list[NDArray[np.uint8]] = [np.zeros(0, np.uint8)]
        self._parts: list[NDArray[np.float64]] = [np.zeros((4, 0))]

    def add(
        self,
        window: Window,
        labels: NDArray[np.int32],
        label_classes: NDArray[np.uint8],
        scores: NDArray[np.float32] | None,
    ) -> None:
        count = len(label_classes)
        flat = labels.ravel()
        parts = np.zeros((4, count + 1))
        parts[0] = np.bincount(flat, minlength=count + 1)
        height, width = labels.shape
        row_centres = np.repeat(np.arange(height) + window.row_off + 0.5, width)
        column_centres = np.tile(np.arange(width) + 0.5, height)
        parts[1] = np.bincount(flat, row_centres, minlength=count + 1)
        parts[2] = np.bincount(flat, column_centres, minlength=count + 1)
        if scores is None:
            parts[3] = np.nan
        else:
            parts[3] = np.bincount(flat, scores.ravel(), minlength=count + 1)
        self._parts.append(parts[:, 1:])
        self._classes.append(label_classes)
        self.count += count

    def join(self, pairs: NDArray[np.int64], shape: tuple[int, int]) -> Components:
        joins = _connect(pairs[:, 0], pairs[:, 1], self.count)
        count = int(joins.max()) + 1 if self.count else 0
        parts = np.concatenate(self._parts, axis=1)
        totals = np.stack([np.bincount(joins, part, minlength=count) for part in parts])
        class_ids = np.zeros(count, dtype=np.uint8)
        class_ids[joins] = np.concatenate(self._classes)
        pixels = np.maximum(totals[0], 1.0)
        return Components(
            class_ids=class_ids,
            pixels=totals[0].astype(np.int64),
            columns=totals[2] / pixels,
            rows=totals[1] / pixels,
            scores=totals[3] / pixels,
            joins=joins,
            shape=shape,
        )
