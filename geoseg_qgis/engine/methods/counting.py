"""Sparse counts that grow tile by tile, for rasters with any number of regions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class SparseCounts:
    """Counts of integer keys; memory grows with the number of different keys.

    Args:
        compact_after: Pending entries after which they are merged.
    """

    def __init__(self, compact_after: int = 1 << 20) -> None:
        self._compact_after = compact_after
        self._pending: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._pending_size = 0

    def add(self, keys: NDArray[np.int64]) -> None:
        """Count each occurrence of each key (N,)."""
        if keys.size == 0:
            return
        unique, counts = np.unique(keys, return_counts=True)
        self._pending.append((unique.astype(np.int64), counts.astype(np.int64)))
        self._pending_size += len(unique)
        if len(self._pending) > 1 and self._pending_size > self._compact_after:
            self._compact()
            self._compact_after = max(self._compact_after, 2 * self._pending_size)

    def result(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ascending keys and their counts."""
        if not self._pending:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self._compact()
        return self._pending[0]

    def _compact(self) -> None:
        keys = np.concatenate([part for part, _ in self._pending])
        counts = np.concatenate([part for _, part in self._pending])
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        self._pending = [(keys[starts], np.add.reduceat(counts, starts))]
        self._pending_size = len(starts)


def look_up(
    keys: NDArray[np.integer], values: NDArray[np.generic], wanted: NDArray[np.integer]
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Value of each wanted key.

    Args:
        keys: (N,) ascending.
        values: (N,) one value a key.
        wanted: Keys of any shape.

    Returns:
        Values in the shape of `wanted` (arbitrary where absent) and whether each was found.
    """
    if len(keys) == 0:
        return np.zeros(wanted.shape, dtype=values.dtype), np.zeros(wanted.shape, dtype=bool)
    position = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return values[position], keys[position] == wanted
