"""Targets: the class of each pixel of a mask, and the edges of the true objects."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def quality_target(masks: Tensor, truth: Tensor) -> Tensor:
    """Return the class codes 0 TP, 1 FP, 2 TN, 3 FN, int64.

    Args:
        masks: Masks under test, 0 or 1, any shape.
        truth: True masks of the same shape.
    """
    in_mask, is_object = masks > 0.5, truth > 0.5
    outside = torch.where(is_object, 3, 2)
    inside = torch.where(is_object, 0, 1)
    return torch.where(in_mask, inside, outside)


def known_boundary(truth: Tensor, valid: Tensor) -> Tensor:
    """Return where it is known whether there is an edge.

    An object may continue into pixels without a label.

    Args:
        truth: True masks (B, 1, H, W), 0 or 1.
        valid: 1 where the truth is known, of the same shape.

    Returns:
        1 where it is known, of the same shape and dtype as ``valid``.
    """
    doubtful = (truth > 0.5) & _beside(1 - valid, 0.0)
    return torch.where(doubtful, torch.zeros_like(valid), valid)


def object_boundary(truth: Tensor) -> Tensor:
    """Return the object pixels with a 4-neighbour that is background or outside the tile.

    Args:
        truth: True masks (B, 1, H, W), 0 or 1.

    Returns:
        Edges one pixel wide, inside the objects, (B, 1, H, W), of the same dtype.
    """
    return ((truth > 0.5) & _beside((truth <= 0.5).float(), 1.0)).to(truth.dtype)


def _beside(marks: Tensor, outside: float) -> Tensor:
    """Return which pixels have a marked 4-neighbour, (B, 1, H, W) bool.

    Beyond the border marks are ``outside``.
    """
    around = functional.pad(marks, (1, 1, 1, 1), value=outside)
    above, below = around[..., :-2, 1:-1], around[..., 2:, 1:-1]
    left, right = around[..., 1:-1, :-2], around[..., 1:-1, 2:]
    return above + below + left + right > 0
