"""Majority label of each region of a raster, gathered tile by tile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .counting import SparseCounts, look_up


@dataclass(frozen=True)
class RegionLabels:
    """The outcome of a vote.

    Attributes:
        ids: (N,) ascending region ids.
        labels: (N,) winning label of each.
        shares: (N,) float64, share of the votes that the winner got.
        sizes: (N,) number of votes, pixels.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    shares: NDArray[np.float64]
    sizes: NDArray[np.int64]

    def apply(
        self, labels: NDArray[np.integer], regions: NDArray[np.integer]
    ) -> NDArray[np.integer]:
        """Replace labels by those of their regions.

        Args:
            labels: (H, W) labels, kept where the region got no vote.
            regions: (H, W) region ids.

        Returns:
            (H, W) in the dtype of `labels`.
        """
        winners, found = look_up(self.ids, self.labels, regions)
        return np.where(found, winners, labels).astype(labels.dtype)


class RegionVotes:
    """Votes of pixels for the label of their region; ids may be any positive integers.

    Args:
        class_count: Labels are 0 to this, exclusive.
    """

    def __init__(self, class_count: int) -> None:
        self._class_count = class_count
        self._counts = SparseCounts()

    def update(
        self,
        labels: NDArray[np.integer],
        regions: NDArray[np.integer],
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count one tile; tiles must not overlap.

        Args:
            labels: (H, W) label of each pixel.
            regions: (H, W) region ids; ids up to 0 do not vote.
            valid: (H, W) bool; only these pixels vote.

        Raises:
            ValueError: A voting label lies outside the classes.
        """
        counted = regions > 0 if valid is None else (regions > 0) & valid
        ballots = labels[counted].astype(np.int64)
        if ballots.size and not 0 <= ballots.min() <= ballots.max() < self._class_count:
            raise ValueError(f"Labels must lie between 0 and {self._class_count - 1}.")
        self._counts.add(regions[counted].astype(np.int64) * self._class_count + ballots)

    def result(self) -> RegionLabels:
        """Winner of each region so far; the smaller label wins ties."""
        keys, counts = self._counts.result()
        ids, labels = np.divmod(keys, self._class_count)
        order = np.lexsort((labels, -counts, ids))
        first = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]]) if len(ids) else order
        best = order[first]
        sizes = np.add.reduceat(counts, first) if len(ids) else counts
        return RegionLabels(ids[best], labels[best], counts[best] / sizes, sizes)
