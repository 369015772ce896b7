"""Resizing of tensors by the rules of the published methods, which are those of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def resize_bilinear(values: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear resize without antialiasing, pixel corners aligned to pixel corners.

    Args:
        values: (B, C, H, W) floating point.
        size: New rows and columns.

    Returns:
        (B, C, *size), same dtype.
    """
    if tuple(values.shape[-2:]) == tuple(size):
        return values
    return functional.interpolate(values, list(size), mode="bilinear", align_corners=False)


def nearest_indices(source: int, target: int, device: torch.device | None = None) -> Tensor:
    """Source index of each target index under PyTorch's "nearest" mode, floor(i * source / target).

    The product is taken in float32, as there, so that the indices are the same.

    Args:
        source: Source length.
        target: Target length.
        device: Where the result lies.

    Returns:
        (target,) int64.
    """
    scale = torch.tensor(float(source)) / torch.tensor(float(target))
    indices = torch.floor(torch.arange(target, dtype=torch.float32) * scale).to(torch.int64)
    return indices.clamp(max=source - 1).to(device)


def resize_nearest(values: Tensor, size: Sequence[int]) -> Tensor:
    """Nearest resize of a map of any dtype; ids are never turned into floating point.

    Args:
        values: (..., H, W).
        size: New rows and columns.

    Returns:
        (..., *size), same dtype.
    """
    height, width = values.shape[-2:]
    if (height, width) == tuple(size):
        return values
    rows = nearest_indices(height, size[0], values.device)
    columns = nearest_indices(width, size[1], values.device)
    return values[..., rows[:, None], columns[None, :]]
