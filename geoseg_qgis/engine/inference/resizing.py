"""Resizing of images, region maps and scores by the rules of the published methods."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def fitted_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Size of an image fitted into a square with its aspect kept.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        side: Side of the square, pixels.

    Returns:
        Rows and columns, each rounded half up.
    """
    factor = side / max(height, width)
    return int(height * factor + 0.5), int(width * factor + 0.5)


def resize_bilinear(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize without antialiasing, pixel corners aligned to pixel corners.

    Args:
        values: (B, C, H, W) floating point.
        size: New rows and columns.

    Returns:
        (B, C, *size), same dtype.
    """
    if tuple(values.shape[-2:]) == tuple(size):
        return values
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=False)


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an 8-bit image as OpenCV's linear mode does, within one grey level.

    Args:
        image: (3, H, W) uint8.
        size: New rows and columns.

    Returns:
        (3, *size) uint8.
    """
    resized = resize_bilinear(image[None].to(torch.float32), size)[0]
    return resized.round().clamp(0, 255).to(torch.uint8)


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


def resize_nearest(values: Tensor, size: tuple[int, int]) -> Tensor:
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
