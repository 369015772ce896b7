"""What coarse-to-fine methods share: find an object on coarse pixels, then draw it on fine ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EDGE_SHARE = 1 / 8
"""Share of a crop's side over which its weight rises from each edge."""


def agree(fine: NDArray[np.bool_], coarse: NDArray[np.bool_], least_iou: float) -> bool:
    """Return whether two masks (h, w) show the same object; two empty masks do not.

    Args:
        fine: What was found on fine pixels.
        coarse: What was found on coarse pixels, on the same grid.
        least_iou: Smallest intersection over union of the two.
    """
    union = np.count_nonzero(fine | coarse)
    return bool(union and np.count_nonzero(fine & coarse) >= least_iou * union)


def edge_ramp(length: int, *, start: bool = True, end: bool = True) -> NDArray[np.float64]:
    """Return weights (length,) in 0..1 that fall towards the edges of a crop.

    A crop that fades out leaves no seam where an object reaches beyond it.

    Args:
        length: Pixels along one side of the crop.
        start: Whether the weights fall towards the first pixel.
        end: Whether they fall towards the last pixel.
    """
    centres = np.arange(length) + 0.5
    rise = max(length * EDGE_SHARE, 1.0)
    weights = np.ones(length)
    if start:
        weights = np.minimum(weights, centres / rise)
    if end:
        weights = np.minimum(weights, (length - centres) / rise)
    return weights
