"""What the network learns: the class of each pixel of a mask, and the true objects' edges."""

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


def object_boundary(truth: Tensor) -> Tensor:
    """Return the object pixels with a 4-neighbour that is background or outside the tile.

    Args:
        truth: True masks (B, 1, H, W), 0 or 1.

    Returns:
        Edges one pixel wide, inside the objects, (B, 1, H, W), of the same dtype.
    """
    background = functional.pad((truth <= 0.5).float(), (1, 1, 1, 1), value=1.0)
    beside = (
        background[..., :-2, 1:-1]
        + background[..., 2:, 1:-1]
        + background[..., 1:-1, :-2]
        + background[..., 1:-1, 2:]
    )
    return ((truth > 0.5) & (beside > 0)).to(truth.dtype)
