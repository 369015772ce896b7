"""Values that mean no data but are not declared as nodata: collars of zeros, frames of 65535.

Such a value becomes a limit of the contrast stretch, and everything else turns grey.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .source import Patch
from .stretch import LinearStretch

# Snow and deep shadow saturate as well, but there are values close to theirs.
_LEAST_SHARE = 0.01
_GAP = 0.2
# Percentiles, as damaged sensors have single outliers.
_ENDS = (0.5, 99.5)
_FEW_LEVELS = 8
_NEARLY_ALL = 0.95


def suspected_fill(patch: Patch) -> tuple[float, float] | None:
    """Return a value that likely means no data, and its share of the valid pixels.

    It is the smallest or largest value of every band, in the same pixels, and differs from all
    other values by at least a fifth of their range.

    Args:
        patch: Pixels spread over the raster, of any shape.

    Returns:
        ``(value, share)``, or None if there is no such value.
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
    """Return whether nearly all pixels have one of a few grey levels after the stretch."""
    levels: NDArray[np.uint8] = stretch.apply(patch.values, patch.valid)[:, patch.valid]
    if levels.shape[1] == 0:
        return False
    counts = [np.sort(np.bincount(band, minlength=256))[::-1] for band in levels]
    return all(band[:_FEW_LEVELS].sum() >= _NEARLY_ALL * band.sum() for band in counts)
