"""Prompt encoder: the mask under test and the positions of the patches."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .configuration import SegAssessConfiguration
from .layers import ChannelNorm


class FourierPositions(nn.Module):
    """Random Fourier features of positions on a grid."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, height: int, width: int) -> Tensor:
        """Return the features of the cell centres, (1, C, height, width)."""
        frequencies = self.positional_encoding_gaussian_matrix
        rows = (torch.arange(height).to(frequencies) + 0.5) / height
        columns = (torch.arange(width).to(frequencies) + 0.5) / width
        points = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        phases = 2 * math.pi * ((2 * points - 1) @ frequencies)
        features = torch.cat([phases.sin(), phases.cos()], dim=-1)
        return features.permute(2, 0, 1)[None]


class PromptEncoder(nn.Module):
    """Embedding of a full-resolution mask.

    The embeddings of points and of an absent mask are unused, but checkpoints hold them.
    """

    def __init__(self, configuration: SegAssessConfiguration) -> None:
        super().__init__()
        width = configuration.decoder_width
        self.pe_layer = FourierPositions(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, stride=2),
            ChannelNorm(4),
            nn.GELU(),
            nn.Conv2d(4, 16, 2, stride=2),
            ChannelNorm(16),
            nn.GELU(),
            nn.Conv2d(16, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def forward(self, masks: Tensor) -> Tensor:
        """Map masks (B, 1, H, W) of 0 and 1 to (B, D, H // 4, W // 4)."""
        out: Tensor = self.mask_downscaling(masks)
        return out
