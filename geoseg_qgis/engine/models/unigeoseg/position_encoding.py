"""Sine position encoding of feature maps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TEMPERATURE = 10000.0
_EPSILON = 1e-6


def sine_positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Encode the cell positions of a map, normalised to one turn over each axis.

    Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020.

    Returns:
        (1, channels, height, width) float32: the first half of the channels tells y, the second x.
    """
    rows = _encode_axis(height, channels // 2, device)
    columns = _encode_axis(width, channels // 2, device)
    grid = torch.cat(
        [
            rows[:, :, None].expand(-1, -1, width),
            columns[:, None, :].expand(-1, height, -1),
        ]
    )
    return grid[None]


def _encode_axis(length: int, channels: int, device: torch.device) -> Tensor:
    """Return (channels, length): sine on even channels, cosine on odd ones."""
    positions = torch.arange(1, length + 1, dtype=torch.float32, device=device)
    angles = positions / (length + _EPSILON) * (2.0 * math.pi)
    exponents = torch.arange(0, channels, 2, dtype=torch.float32, device=device) / channels
    phases = angles[None, :] / (_TEMPERATURE**exponents)[:, None]
    return torch.stack([phases.sin(), phases.cos()], dim=1).flatten(0, 1)
