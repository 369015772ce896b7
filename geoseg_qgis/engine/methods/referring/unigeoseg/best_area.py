"""Keeping only the connected area that a network has most evidence for.

A network that hesitates between two objects marks both. The evidence for an area is the mean log
odds of its pixels, beyond those of the threshold, times the square root of their number: a large
area does not win by its size alone, nor a few pixels by being certain.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.progress import Progress, share_of
from geoseg_qgis.engine.vector.components import find_components, labelled_bands

# Pixels around the best area that keep their probability, so that resampling keeps its outline.
_MARGIN = 2
# Probabilities are clipped to this distance from 0 and 1, where log odds are infinite.
_LEAST = 1e-6


class WritableProbabilities(Protocol):
    """Probabilities (h, w) float32 that are read and written by windows, NaN where unknown."""

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return the probabilities of a window."""

    def write(self, window: Window, probability: NDArray[np.float32]) -> None:
        """Replace the probabilities of a window."""


def keep_best(
    raster: WritableProbabilities, shape: tuple[int, int], threshold: float, progress: Progress
) -> int:
    """Set all but the best 4-connected area to 0 and return how many areas were left out.

    Args:
        raster: Probabilities; unknown pixels stay unknown.
        shape: Rows and columns.
        threshold: Probability above which a pixel is foreground.
        progress: Called with the finished fraction; may raise to stop.
    """

    def foreground(window: Window) -> NDArray[np.uint8]:
        above: NDArray[np.bool_] = np.nan_to_num(raster.read(window)) > np.float32(threshold)
        return above.astype(np.uint8)

    def evidence(window: Window, _: NDArray[np.uint8]) -> NDArray[np.float32]:
        odds = _log_odds(np.nan_to_num(raster.read(window))) - _log_odds(np.float32(threshold))
        return odds.astype(np.float32)

    areas = find_components(shape, foreground, evidence, share_of(progress, 0.0, 0.5))
    count = len(areas.pixels)
    if count < 2:
        return 0
    best = int(np.argmax(areas.scores * np.sqrt(areas.pixels)))
    numbers = np.where(areas.joins == best, np.int32(2), np.int32(1))
    written = share_of(progress, 0.5, 1.0)
    for window, kept in _with_margin(labelled_bands(shape, foreground, numbers)):
        probability = raster.read(window)
        dropped = np.isfinite(probability) & ~kept
        raster.write(window, np.where(dropped, np.float32(0.0), probability))
        written((window.row_off + window.height) / shape[0])
    return count - 1


def keep_best_of(probability: NDArray[np.float32], threshold: float) -> int:
    """Do as `keep_best` with an array (h, w) in memory, which is changed."""
    return keep_best(_ArrayRaster(probability), probability.shape, threshold, lambda _: None)


class _ArrayRaster:
    """An array behind the face of a raster."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self._values = values

    def read(self, window: Window) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self._values[window.toslices()].copy()
        return values

    def write(self, window: Window, probability: NDArray[np.float32]) -> None:
        self._values[window.toslices()] = probability


def _with_margin(
    bands: Iterator[tuple[Window, NDArray[np.int32]]],
) -> Iterator[tuple[Window, NDArray[np.bool_]]]:
    """Yield which pixels are in or around area 2 and in no other, a band behind the labels."""
    window, labels = next(bands)
    nothing = np.zeros((0, labels.shape[1]), np.int32)
    above: NDArray[np.bool_] = nothing == 2
    for following, below in itertools.chain(bands, [(window, nothing)]):
        kept = labels == 2
        rows = [above[-_MARGIN:], kept, below[:_MARGIN] == 2]
        near = ndimage.binary_dilation(np.concatenate(rows), iterations=_MARGIN)
        yield window, near[len(rows[0]) : len(rows[0]) + len(kept)] & (labels != 1)
        above, window, labels = kept, following, below


def _log_odds(probability: NDArray[np.float32] | np.float32) -> NDArray[np.float64]:
    clipped = np.clip(np.asarray(probability, np.float64), _LEAST, 1.0 - _LEAST)
    odds: NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds
