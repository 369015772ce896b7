"""Pixel decoder: deformable attention across three levels, then one fine map for the masks.

Cheng et al., "Masked-attention Mask Transformer", CVPR 2022, sec. 3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .configuration import SegmentationConfig
from .deformable_attention import DeformableAttention, LevelShapes
from .position_encoding import FourierPositions, sine_positions

NUM_LEVELS = 3
_GROUPS = 32


class PixelFeatures(NamedTuple):
    """What the mask decoder reads of an image."""

    mask_features: Tensor
    """(B, C, H/4, W/4)."""
    multi_scale: list[Tensor]
    """Three maps (B, C, H_l, W_l), coarsest first."""


class EncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward, each normalised after its addition."""

    def __init__(self, config: SegmentationConfig) -> None:
        super().__init__()
        width = config.width
        self.self_attn = DeformableAttention(
            width, config.num_heads, NUM_LEVELS, config.sampling_points
        )
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, config.encoder_ffn)
        self.linear2 = nn.Linear(config.encoder_ffn, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(
        self, features: Tensor, positions: Tensor, reference_points: Tensor, shapes: LevelShapes
    ) -> Tensor:
        """Map features (B, N, C) to the same shape; positions steer the queries only."""
        attended = self.self_attn(features + positions, reference_points, features, shapes)
        features = self.norm1(features + attended)
        mapped: Tensor = self.norm2(
            features + self.linear2(nn.functional.relu(self.linear1(features)))
        )
        return mapped


class LevelTransformer(nn.Module):
    """The encoder over all levels, with a learned embedding for each level."""

    def __init__(self, config: SegmentationConfig) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(NUM_LEVELS, config.width))
        layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.encoder = nn.ModuleDict({"layers": layers})

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Let maps (B, C, H_l, W_l) exchange information; shapes stay as they are."""
        shapes = [(level.shape[-2], level.shape[-1]) for level in maps]
        features = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
        positions = torch.cat(
            [
                sine_positions(height, width, features.shape[-1], features.device)
                .flatten(2)
                .transpose(1, 2)
                .to(features.dtype)
                + embedding
                for (height, width), embedding in zip(shapes, self.level_embed, strict=True)
            ],
            dim=1,
        )
        points = reference_points(shapes, features.device).expand(features.shape[0], -1, -1, -1)
        for layer in self.encoder["layers"].children():
            features = layer(features, positions, points, shapes)
        levels = torch.split(features, [height * width for height, width in shapes], dim=1)
        return [
            level.transpose(1, 2).reshape(len(level), -1, height, width)
            for level, (height, width) in zip(levels, shapes, strict=True)
        ]


class PixelDecoder(nn.Module):
    """Four tower maps in, one fine map and three coarse ones of equal width out."""

    def __init__(self, config: SegmentationConfig, widths: tuple[int, ...]) -> None:
        super().__init__()
        width = config.width
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1), nn.GroupNorm(_GROUPS, width))
            for channels in reversed(widths[1:])
        )
        self.transformer = LevelTransformer(config)
        self.adapter_1 = nn.Sequential(
            nn.Conv2d(widths[0], width, 1), nn.GroupNorm(_GROUPS, width), nn.ReLU()
        )
        self.layer_1 = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(_GROUPS, width), nn.ReLU()
        )
        self.mask_features = nn.Conv2d(width, width, 1)
        self.fine_positions = _positions(config)
        self.mask_positions = _positions(config)

    def forward(self, maps: list[Tensor]) -> PixelFeatures:
        """Decode tower maps, finest first (strides 4, 8, 16, 32), each (B, C_i, H_i, W_i)."""
        projected = [
            project(level)
            for project, level in zip(self.input_proj, reversed(maps[1:]), strict=True)
        ]
        multi_scale = self.transformer(projected)
        lateral = self.adapter_1(maps[0])
        upsampled = nn.functional.interpolate(
            multi_scale[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False
        )
        fine = lateral + upsampled
        if self.fine_positions is not None:
            fine = fine + self.fine_positions(*fine.shape[-2:]).permute(2, 0, 1)
        features = self.mask_features(self.layer_1(fine))
        if self.mask_positions is not None:
            features = features + self.mask_positions(*fine.shape[-2:]).permute(2, 0, 1)
        return PixelFeatures(features, multi_scale)


def _positions(config: SegmentationConfig) -> FourierPositions | None:
    if not config.position_frequencies:
        return None
    return FourierPositions(config.position_frequencies, config.width)


def reference_points(shapes: LevelShapes, device: torch.device) -> Tensor:
    """Cell centres of all levels as fractions (x, y) of their own level.

    Returns:
        (1, sum(H_l * W_l), L, 2) float32, the same centre for every level that is read.
    """
    centres = []
    for height, width in shapes:
        rows = (torch.arange(height, device=device) + 0.5) / height
        columns = (torch.arange(width, device=device) + 0.5) / width
        grid = torch.stack(
            [columns[None, :].expand(height, -1), rows[:, None].expand(-1, width)], dim=-1
        )
        centres.append(grid.flatten(0, 1))
    return torch.cat(centres)[None, :, None].expand(-1, -1, len(shapes), -1)
