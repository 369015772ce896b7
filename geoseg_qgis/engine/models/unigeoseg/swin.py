"""Swin Transformer tower: one image in, four normalised feature maps out.

Liu et al., "Swin Transformer", ICCV 2021. The window keeps its size on maps smaller than it, and
every map is padded to whole windows, as the published weights expect.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .configuration import VisionConfig
from .position_encoding import FourierPositions

PATCH_SIZE = 4
_REGION_PENALTY = -100.0


class PatchEmbedding(nn.Module):
    """Non-overlapping 4x4 patches of an RGB image, projected and normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH_SIZE, stride=PATCH_SIZE)
        self.norm = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pixels (B, 3, H, W) as (B, ceil(H/4), ceil(W/4), C)."""
        height, width = pixels.shape[-2:]
        padded = nn.functional.pad(pixels, (0, -width % PATCH_SIZE, 0, -height % PATCH_SIZE))
        embedded: Tensor = self.norm(self.proj(padded).permute(0, 2, 3, 1))
        return embedded


class WindowAttention(nn.Module):
    """Multi-head attention inside square windows, with a learned relative position bias."""

    relative_position_index: Tensor

    def __init__(self, width: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * window - 1) ** 2, num_heads)
        )
        self.register_buffer("relative_position_index", relative_position_index(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, windows: Tensor, region_mask: Tensor | None) -> Tensor:
        """Attend within windows.

        Args:
            windows: (B, N, L, C): N windows of L = window**2 positions.
            region_mask: (N, L, L) additive, or None.

        Returns:
            (B, N, L, C).
        """
        batch, count, length, width = windows.shape
        qkv = self.qkv(windows).view(batch, count, length, 3, self.num_heads, -1)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        bias = bias.view(length, length, self.num_heads).permute(2, 0, 1)
        if region_mask is not None:
            bias = bias + region_mask[:, None].to(bias)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed: Tensor = self.proj(attended.transpose(2, 3).reshape(batch, count, length, width))
        return mixed


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, features: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        mapped: Tensor = self.fc2(nn.functional.gelu(self.fc1(features)))
        return mapped


class SwinBlock(nn.Module):
    """Window attention and feed-forward, each normalised before and added back."""

    def __init__(self, width: int, num_heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, num_heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)

    def forward(self, features: Tensor, region_mask: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape; ``region_mask`` serves shifted blocks only."""
        features = features + self._attend(self.norm1(features), region_mask)
        summed: Tensor = features + self.mlp(self.norm2(features))
        return summed

    def _attend(self, features: Tensor, region_mask: Tensor) -> Tensor:
        height, width = features.shape[1:3]
        padded = nn.functional.pad(
            features, (0, 0, 0, -width % self.window, 0, -height % self.window)
        )
        if self.shift:
            padded = padded.roll((-self.shift, -self.shift), dims=(1, 2))
        windows = split_windows(padded, self.window)
        attended = self.attn(windows, region_mask if self.shift else None)
        joined = join_windows(attended, self.window, padded.shape[1], padded.shape[2])
        if self.shift:
            joined = joined.roll((self.shift, self.shift), dims=(1, 2))
        return joined[:, :height, :width]


class PatchMerging(nn.Module):
    """Halve a map: four neighbours concatenated, normalised, projected to twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, ceil(H/2), ceil(W/2), 2C)."""
        height, width = features.shape[1:3]
        padded = nn.functional.pad(features, (0, 0, 0, width % 2, 0, height % 2))
        neighbours = [padded[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(neighbours, dim=-1)))
        return merged


class SwinStage(nn.Module):
    """Blocks of one resolution, then the merging that leads to the next."""

    def __init__(self, width: int, depth: int, num_heads: int, window: int, merge: bool) -> None:
        super().__init__()
        self.window = window
        self.shift = window // 2
        self.blocks = nn.ModuleList(
            SwinBlock(width, num_heads, window, self.shift if index % 2 else 0)
            for index in range(depth)
        )
        self.downsample = PatchMerging(width) if merge else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Run the blocks on (B, H, W, C).

        Returns:
            The result, and the next stage's input: merged, or the same after the last stage.
        """
        height, width = features.shape[1:3]
        region_mask = shifted_region_mask(height, width, self.window, self.shift, features.device)
        for block in self.blocks:
            features = block(features, region_mask)
        return features, features if self.downsample is None else self.downsample(features)


class SwinTower(nn.Module):
    """The whole tower; parameter names are those of the published checkpoints."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(config.embed_dim)
        self.patch_positions = (
            FourierPositions(config.position_frequencies, config.embed_dim)
            if config.position_frequencies
            else None
        )
        last = len(config.depths) - 1
        self.layers = nn.ModuleList(
            SwinStage(width, depth, heads, config.window_size, merge=stage < last)
            for stage, (width, depth, heads) in enumerate(
                zip(config.widths, config.depths, config.num_heads, strict=True)
            )
        )
        for stage, width in enumerate(config.widths):
            self.add_module(f"norm{stage}", nn.LayerNorm(width))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode an image.

        Args:
            pixels: (B, 3, H, W), normalised.

        Returns:
            Four maps (B, C_i, H_i, W_i) at strides 4, 8, 16 and 32, finest first.
        """
        features = self.patch_embed(pixels)
        if self.patch_positions is not None:
            features = features + self.patch_positions(*features.shape[1:3])
        maps = []
        for index, stage in enumerate(self.layers):
            staged, features = stage(features)
            normalised = self.get_submodule(f"norm{index}")(staged)
            maps.append(normalised.permute(0, 3, 1, 2).contiguous())
        return maps


def split_windows(features: Tensor, window: int) -> Tensor:
    """Cut (B, H, W, C), whole windows only, into (B, N, window**2, C)."""
    batch, height, width, channels = features.shape
    grid = features.view(batch, height // window, window, width // window, window, channels)
    return grid.transpose(2, 3).reshape(batch, -1, window * window, channels)


def join_windows(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """Undo ``split_windows``: (B, N, window**2, C) back to (B, H, W, C)."""
    batch, _, _, channels = windows.shape
    grid = windows.view(batch, height // window, width // window, window, window, channels)
    return grid.transpose(2, 3).reshape(batch, height, width, channels)


def shifted_region_mask(
    height: int, width: int, window: int, shift: int, device: torch.device
) -> Tensor:
    """Penalty between positions that only a cyclic shift brought into one window.

    Returns:
        (N, window**2, window**2) float32: 0 inside a region, -100 between regions.
    """
    rows = _regions(height + -height % window, window, shift, device)
    columns = _regions(width + -width % window, window, shift, device)
    regions = (3 * rows[:, None] + columns[None, :])[None, :, :, None]
    labels = split_windows(regions, window)[0, :, :, 0]
    different = labels[:, None, :] != labels[:, :, None]
    return different.float() * _REGION_PENALTY


def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for every pair of positions: (window**2, window**2) int64."""
    axis = torch.arange(window)
    rows, columns = (grid.flatten() for grid in torch.meshgrid(axis, axis, indexing="ij"))
    row_offset = rows[:, None] - rows[None, :] + window - 1
    column_offset = columns[:, None] - columns[None, :] + window - 1
    return row_offset * (2 * window - 1) + column_offset


def _regions(length: int, window: int, shift: int, device: torch.device) -> Tensor:
    positions = torch.arange(length, device=device)
    return (positions >= length - window).long() + (positions >= length - shift).long()
