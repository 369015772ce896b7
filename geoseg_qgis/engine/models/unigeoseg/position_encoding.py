"""Sine position encodings of feature maps: the fixed one, and a finer learned mix."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_TEMPERATURE = 10000.0
_EPSILON = 1e-6


def sine_positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Encode the cell positions of a map, normalised to one turn over each axis.

    Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020.

    Returns:
        (1, channels, height, width) float32: y in the first half of the channels, x in the second.
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


class FourierPositions(nn.Module):
    """Positions as a learned mix of sines and cosines with half a turn an axis and more.

    Args:
        frequencies: Number of frequencies, each twice the one before.
        width: Channels of the map that the positions are added to.
    """

    def __init__(self, frequencies: int, width: int) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.mix = nn.Linear(4 * frequencies, width, bias=False)

    def forward(self, height: int, width: int) -> Tensor:
        """Encode the cells of a map: (height, width, C)."""
        weight = self.mix.weight
        rows = fourier_features((torch.arange(height) + 0.5) / height, self.frequencies)
        columns = fourier_features((torch.arange(width) + 0.5) / width, self.frequencies)
        grid = torch.cat(
            [
                columns[None].expand(height, -1, -1),
                rows[:, None].expand(-1, width, -1),
            ],
            dim=-1,
        )
        mixed: Tensor = self.mix(grid.to(weight))
        return mixed


def fourier_features(fractions: Tensor, frequencies: int) -> Tensor:
    """Sine and cosine of fractions (...) of an axis at 1/2, 1, 2, ... turns: (..., 2 F)."""
    turns = 0.5 * 2.0 ** torch.arange(frequencies, device=fractions.device)
    phases = fractions[..., None] * turns * (2.0 * math.pi)
    return torch.cat([phases.sin(), phases.cos()], dim=-1)
