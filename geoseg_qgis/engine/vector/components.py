"""Connected areas of a class raster, found one band of rows after the other.

A first pass labels each band, joins labels that touch across bands, and sums the pixels of each
area. A second pass labels the bands again, with the final numbers. Memory grows with the number of
areas, not with the raster.
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

from geoseg_qgis.engine.progress import Progress

ReadClasses = Callable[[Window], NDArray[np.integer[Any]]]
ReadScores = Callable[[Window, NDArray[Any]], NDArray[np.float32]]
# Bounds memory: labels and sums of one band take some 50 bytes a pixel.
BAND_PIXELS = 8_000_000


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

    class_ids: NDArray[np.integer[Any]]
    pixels: NDArray[np.int64]
    columns: NDArray[np.float64]
    rows: NDArray[np.float64]
    scores: NDArray[np.float64]
    joins: NDArray[np.int32]
    shape: tuple[int, int]


def row_windows(shape: tuple[int, int]) -> list[Window]:
    """Return the bands of full rows in which a raster is processed."""
    height, width = shape
    rows = max(1, min(height, BAND_PIXELS // width))
    return [Window(0, top, width, min(rows, height - top)) for top in range(0, height, rows)]


def find_components(
    shape: tuple[int, int],
    read_classes: ReadClasses,
    read_scores: ReadScores | None,
    progress: Progress,
) -> Components:
    """Find the connected areas of a class raster; 0 belongs to none.

    Args:
        shape: Rows and columns.
        read_classes: Returns the class ids (h, w) of a window.
        read_scores: Returns the scores (h, w) of a window and its class ids; None without.
        progress: Called with the finished fraction; may raise to stop.
    """
    bands, sums = BandLabels(), _Sums()
    for window in row_windows(shape):
        progress(window.row_off / shape[0])
        classes = read_classes(window)
        labels, label_classes = bands.add(classes)
        scores = None if read_scores is None else read_scores(window, classes)
        sums.add(window, labels, label_classes, scores)
    return sums.result(bands.join(), shape)


def labelled_bands(
    shape: tuple[int, int], read_classes: ReadClasses, numbers: NDArray[np.int32]
) -> Iterator[tuple[Window, NDArray[np.int32]]]:
    """Yield each band of rows with the number of the area of each pixel.

    Args:
        shape: Rows and columns.
        read_classes: Returns the class ids (h, w) of a window, the same as before.
        numbers: Number of each label of each band, `Components.joins` renumbered.
    """
    start = 0
    for window in row_windows(shape):
        labels, label_classes = label_classes_of(read_classes(window))
        count = len(label_classes)
        table = np.concatenate([np.zeros(1, np.int32), numbers[start : start + count]])
        yield window, table[labels]
        start += count


class BandLabels:
    """Labels of the bands of a class raster, and which of them belong to one area.

    Attributes:
        count: Labels so far, through all bands.
    """

    def __init__(self) -> None:
        self.count = 0
        self._touching = [np.zeros((2, 0), np.int64)]
        self._above: tuple[NDArray[np.int64], NDArray[np.integer[Any]]] | None = None

    def add(
        self, classes: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int32], NDArray[np.integer[Any]]]:
        """Label the next band of full rows, as `label_classes_of` does."""
        labels, label_classes = label_classes_of(classes)
        if self._above is not None:
            above_labels, above_classes = self._above
            same = (classes[0] == above_classes) & (classes[0] > 0)
            self._touching.append(np.stack([above_labels[same], self._places(labels[0])[same]]))
        self._above = self._places(labels[-1]), classes[-1].copy()
        self.count += len(label_classes)
        return labels, label_classes

    def join(self) -> NDArray[np.int32]:
        """Return the area of each label, counted through all bands, from 0."""
        first, second = np.concatenate(self._touching, axis=1)
        return join_labels(first, second, self.count)

    def _places(self, labels: NDArray[np.int32]) -> NDArray[np.int64]:
        return labels.astype(np.int64) + (self.count - 1)


def label_classes_of(
    classes: NDArray[np.integer[Any]],
) -> tuple[NDArray[np.int32], NDArray[np.integer[Any]]]:
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
    areas = join_labels(upper, lower, run_count)
    run_classes = classes.ravel()[np.flatnonzero(starts.ravel())]
    area_classes = np.zeros(int(areas.max()) + 1, dtype=classes.dtype)
    area_classes[areas] = run_classes
    shown = area_classes > 0
    table = np.where(shown, np.cumsum(shown), 0).astype(np.int32)
    return table[areas][runs], area_classes[shown]


def join_labels(
    first: NDArray[np.integer], second: NDArray[np.integer], count: int
) -> NDArray[np.int32]:
    """Return the group of each of ``count`` labels, from 0.

    Args:
        first: One label of each pair that belongs together, (n,).
        second: The other one, (n,).
        count: Number of labels, which count from 0.
    """
    ones = np.ones(len(first), dtype=np.int8)
    graph = coo_matrix((ones, (first, second)), shape=(count, count))
    numbers: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return numbers


class _Sums:
    """Sums of the pixels of each label of each band."""

    def __init__(self) -> None:
        self._classes: list[NDArray[np.integer[Any]]] = [np.zeros(0, np.uint8)]
        self._parts: list[NDArray[np.float64]] = [np.zeros((4, 0))]

    def add(
        self,
        window: Window,
        labels: NDArray[np.int32],
        label_classes: NDArray[np.integer[Any]],
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

    def result(self, joins: NDArray[np.int32], shape: tuple[int, int]) -> Components:
        count = int(joins.max(initial=-1)) + 1
        parts = np.concatenate(self._parts, axis=1)
        totals = np.stack([np.bincount(joins, part, minlength=count) for part in parts])
        classes = np.concatenate(self._classes)
        class_ids: NDArray[Any] = np.zeros(count, dtype=classes.dtype)
        class_ids[joins] = classes
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
