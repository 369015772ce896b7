"""Routing statistics of a raster gathered tile by tile."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .routing import RoutingStatistics


class RoutingAccumulator:
    """Ranges and the median of tiles seen one after another.

    The median is the lower edge of its bin in a histogram of the complexity over 0..1: with the
    default 2**20 bins it is at most 1e-6 below the exact lower median, and exact when that is 0.
    Ranges are exact. Tiles must not overlap where the median is to count each pixel once.

    Args:
        scale_count: Number of scales.
        bins: Bins of the histogram.
    """

    def __init__(self, scale_count: int, bins: int = 1 << 20) -> None:
        self._bins = bins
        self._histogram: NDArray[np.int64] = np.zeros(bins + 1, dtype=np.int64)
        self._complexity: tuple[float, float] | None = None
        self._entropies: list[tuple[float, float] | None] = [None] * scale_count

    def update(
        self, complexity: ArrayLike, entropies: ArrayLike, valid: ArrayLike | None = None
    ) -> None:
        """Count one tile.

        Args:
            complexity: (H, W) geometric complexity.
            entropies: (S, H, W) entropy of each scale.
            valid: (H, W) bool; only these pixels count.

        Raises:
            ValueError: The number of scales differs, or a value is not finite.
        """
        values = np.asarray(complexity, dtype=np.float32)
        rows = np.asarray(entropies, dtype=np.float32)
        if len(rows) != len(self._entropies):
            raise ValueError(f"Expected entropies of {len(self._entropies)} scales.")
        kept = np.ones(values.shape, dtype=bool) if valid is None else np.asarray(valid, bool)
        values, rows = values[kept], rows[:, kept]
        if values.size == 0:
            return
        if not (np.isfinite(values).all() and np.isfinite(rows).all()):
            raise ValueError("Complexity or entropy is not finite; mask such pixels out.")
        bins = (values.astype(np.float64) * self._bins).astype(np.int64)
        self._histogram += np.bincount(bins.clip(0, self._bins), minlength=self._bins + 1)
        self._complexity = _widened(self._complexity, values)
        self._entropies = [
            _widened(span, row) for span, row in zip(self._entropies, rows, strict=True)
        ]

    def result(self) -> RoutingStatistics:
        """Statistics of all tiles; all zero when no pixel was valid."""
        if self._complexity is None:
            return RoutingStatistics((0.0, 0.0), 0.0, tuple((0.0, 0.0) for _ in self._entropies))
        cumulative = np.cumsum(self._histogram)
        middle = (int(cumulative[-1]) + 1) // 2
        median = int(np.searchsorted(cumulative, middle)) / self._bins
        return RoutingStatistics(
            self._complexity,
            max(median, self._complexity[0]),
            tuple(span or (0.0, 0.0) for span in self._entropies),
        )


def _widened(span: tuple[float, float] | None, values: NDArray[np.float32]) -> tuple[float, float]:
    least, greatest = float(values.min()), float(values.max())
    if span is None:
        return least, greatest
    return min(span[0], least), max(span[1], greatest)
