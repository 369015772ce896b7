"""Connectors that turn the coarsest feature map into visual tokens of the language model.

Published checkpoints name one of three kinds; their parameter names differ.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .configuration import ConnectorKind


class SparseConvConnector(nn.Module):
    """Two convolutions with whole-volume normalisation and no activation; halves the map.

    The affine normalisations cover (C, H, W), so the map size is part of the weights.
    """

    def __init__(self, in_width: int, out_width: int, map_size: int) -> None:
        super().__init__()
        half = (map_size + 1) // 2
        self.proj1 = nn.Conv2d(in_width, out_width, 3, padding=1)
        self.norm1 = nn.LayerNorm([out_width, map_size, map_size])
        self.proj2 = nn.Conv2d(out_width, out_width, 3, stride=2, padding=1)
        self.norm2 = nn.LayerNorm([out_width, half, half])
        self.fc = nn.Conv2d(out_width, out_width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, S, S) to (B, ceil(S/2)**2, H)."""
        features = self.norm1(self.proj1(features))
        features = self.norm2(self.proj2(features))
        tokens: Tensor = self.fc(features)
        return tokens.flatten(2).transpose(1, 2)


class MultiScaleConnector(nn.Module):
    """A fine and a coarse convolution side by side, followed by four learned global tokens."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        half = out_width // 2
        self.branch1 = nn.Conv2d(in_width, half, 3, stride=2, padding=1)
        self.branch2 = nn.Conv2d(in_width, half, 5, stride=4, padding=2)
        self.norm1 = nn.GroupNorm(1, half)
        self.norm2 = nn.GroupNorm(1, half)
        self.global_tokens = nn.Parameter(torch.randn(4, out_width) * 0.02)
        self.fc = nn.Linear(out_width, out_width)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, S, S) to (B, ceil(S/2)**2 + 4, H)."""
        fine = self.norm1(self.branch1(features))
        coarse = self.norm2(self.branch2(features))
        coarse = nn.functional.interpolate(
            coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False
        )
        local = torch.cat([fine, coarse], dim=1).flatten(2).transpose(1, 2)
        shared = self.global_tokens.to(local).expand(local.shape[0], -1, -1)
        tokens: Tensor = self.fc(torch.cat([local, shared], dim=1))
        return tokens


class ResidualBlock(nn.Module):
    """A residual block whose second convolution is applied twice, as the weights expect."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, out_width, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_width)
        self.conv2 = nn.Conv2d(out_width, out_width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_width)
        self.downsample = nn.Sequential(
            nn.Conv2d(in_width, out_width, 1, stride=2, bias=False), nn.BatchNorm2d(out_width)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, S, S) to (B, H, ceil(S/2), ceil(S/2))."""
        changed = nn.functional.relu(self.bn1(self.conv1(features)))
        changed = self.bn2(self.conv2(self.conv2(changed)))
        return nn.functional.relu(changed + self.downsample(features))


class ResidualConnector(nn.Module):
    """One residual block, then a linear layer on every position."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(ResidualBlock(in_width, out_width))
        self.fc = nn.Linear(out_width, out_width)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, S, S) to (B, ceil(S/2)**2, H)."""
        tokens: Tensor = self.fc(self.layer1(features).flatten(2).transpose(1, 2))
        return tokens


def build_connector(kind: ConnectorKind, in_width: int, out_width: int, map_size: int) -> nn.Module:
    """Build the connector of a checkpoint for a square map of ``map_size`` cells a side."""
    if kind == "SparseConv_1":
        return SparseConvConnector(in_width, out_width, map_size)
    if kind == "MSCC":
        return MultiScaleConnector(in_width, out_width)
    return ResidualConnector(in_width, out_width)


def detect_connector(names: Iterable[str]) -> ConnectorKind | None:
    """Return the kind that parameter names show, which are more reliable than a configuration."""
    marks: dict[str, ConnectorKind] = {
        "mm_projector.proj1.": "SparseConv_1",
        "mm_projector.branch1.": "MSCC",
        "mm_projector.layer1.": "swin_conv",
    }
    for name in names:
        for mark, kind in marks.items():
            if mark in name:
                return kind
    return None
