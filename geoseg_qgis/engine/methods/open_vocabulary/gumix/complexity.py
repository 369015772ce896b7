"""Geometric complexity of regions: perimeter pixels over area (paper: instance complexity)."""

from __future__ import annotations

import torch
from torch import Tensor

from .regions import dense_codes
from .settings import GumixSettings


def boundary_pixels(regions: Tensor) -> Tensor:
    """Pixels with a 4-neighbour of another id or outside the array.

    Args:
        regions: (B, H, W) integer ids.

    Returns:
        (B, H, W) bool.
    """
    boundary = torch.zeros(regions.shape, dtype=torch.bool, device=regions.device)
    boundary[:, [0, -1], :] = True
    boundary[:, :, [0, -1]] = True
    vertical = regions[:, 1:] != regions[:, :-1]
    horizontal = regions[:, :, 1:] != regions[:, :, :-1]
    boundary[:, 1:] |= vertical
    boundary[:, :-1] |= vertical
    boundary[:, :, 1:] |= horizontal
    boundary[:, :, :-1] |= horizontal
    return boundary


def complexity_map(regions: Tensor, settings: GumixSettings) -> Tensor:
    """Complexity of the region under each pixel, in 1 / pixel, between 0 and 1.

    Disconnected parts of one id are one region. Unsegmented pixels, padding and regions below
    the minimum area have complexity 0.

    Args:
        regions: (B, H, W) integer ids.
        settings: Minimum area, epsilon and the meaning of the padding id.

    Returns:
        (B, H, W) float32.
    """
    codes = dense_codes(regions, first_id_is_unsegmented=True)
    count = int(codes.max()) + 1
    offsets = torch.arange(len(codes), device=codes.device)[:, None, None] * count
    flat = (codes + offsets).reshape(-1)
    size = len(codes) * count
    areas = torch.bincount(flat, minlength=size)
    perimeters = torch.bincount(flat[boundary_pixels(regions).reshape(-1)], minlength=size)
    values = perimeters.float() / (areas.float() + settings.complexity_epsilon)
    values[areas < settings.complexity_minimum_area] = 0.0
    counted = regions > 0
    if settings.padding_is_region:
        counted = counted & (regions < settings.padding_id)
    return values[flat].reshape(regions.shape) * counted
