"""Values that stand for no data though nothing says so: collars of zeros, frames of 65535.

Such a value pulls a limit of the contrast stretch to itself, and all the rest becomes grey.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .source import Patch
from .stretch import LinearStretch

# Imagery of snow or deep shadow saturates too, but not as a value apart from all others.
_LEAST_SHARE = 0.01
_GAP = 0.2
# Robust ends of the values of a band, as damaged sensors have single wild pixels.
_ENDS = (0.5, 99.5)
_FEW_LEVELS = 8
_NEARLY_ALL = 0.95


def suspected_fill(patch: Patch) -> tuple[float, float] | None:
    """Return a value that likely means no data, and the share of the valid pixels that hold it.

    It is the smallest or largest value of every band, in the same pixels, and lies apart from all
    other values by a fifth of their range.

    Args:
        patch: Pixels spread over the raster, of any shape.

    Returns:
        ``(value, share)``, or None where nothing looks like it.
    """
    known = patch.values[:, patch.valid]
    if known.shape[1] == 0:
        return None
    for extremes in (known.min(axis=1), known.max(axis=1)):
        filled = (known == extremes[:, None]).all(axis=0)
        share = float(filled.mean())
        if extremes.min() != extremes.max() or not _LEAST_SHARE <= share < 1.0:
            continue
        low, high = np.percentile(known[:, ~filled], _ENDS, axis=1)
        gaps = np.maximum(low - extremes, extremes - high)
        if (gaps > _GAP * np.maximum(high - low, 1e-6)).all():
            return float(extremes[0]), share
    return None


def is_washed_out(patch: Patch, stretch: LinearStretch) -> bool:
    """Return whether nearly all pixels fall on a few grey levels once they are stretched."""
    levels: NDArray[np.uint8] = stretch.apply(patch.values, patch.valid)[:, patch.valid]
    if levels.shape[1] == 0:
        return False
    counts = [np.sort(np.bincount(band, minlength=256))[::-1] for band in levels]
    return all(band[:_FEW_LEVELS].sum() >= _NEARLY_ALL * band.sum() for band in counts)
