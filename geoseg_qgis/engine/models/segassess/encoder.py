"""Vision transformer of Segment Anything, at any working size."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .configuration import SegAssessConfiguration
from .layers import ChannelNorm, FeedForward
from .stem import ConvolutionalStem


def relative_positions(table: Tensor, length: int) -> Tensor:
    """Look up the relative position vectors of every pair of positions on one axis.

    Args:
        table: Stored vectors, one a distance, (rows, C); resampled linearly to 2 x length - 1.
        length: Number of positions.

    Returns:
        (length, length, C), entry [i, j] belongs to the distance i - j.
    """
    rows = 2 * length - 1
    if table.shape[0] != rows:
        resampled = functional.interpolate(table.T[None], rows, mode="linear", align_corners=False)
        table = resampled[0].T
    positions = torch.arange(length, device=table.device)
    return table[positions[:, None] - positions[None, :] + length - 1]


class RelativeAttention(nn.Module):
    """Multi-head self-attention with decomposed relative positions on a grid."""

    def __init__(self, width: int, heads: int, stored_side: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        rows = 2 * stored_side - 1
        self.rel_pos_h = nn.Parameter(torch.zeros(rows, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(rows, width // heads))

    def forward(self, features: Tensor) -> Tensor:
        """Attend over all positions of each (B, H, W, C) grid."""
        batch, height, width, channels = features.shape
        qkv = self.qkv(features).reshape(batch, height * width, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        bias = self._position_bias(query, height, width)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        merged = attended.transpose(1, 2).reshape(batch, height, width, channels)
        out: Tensor = self.proj(merged)
        return out

    def _position_bias(self, query: Tensor, height: int, width: int) -> Tensor:
        """Return (B, heads, H * W, H * W) from the unscaled queries (B, heads, H * W, C)."""
        grid = query.reshape(*query.shape[:2], height, width, -1)
        rows = relative_positions(self.rel_pos_h, height).to(query.dtype)
        columns = relative_positions(self.rel_pos_w, width).to(query.dtype)
        by_row = torch.einsum("bnhwc,hkc->bnhwk", grid, rows)
        by_column = torch.einsum("bnhwc,wkc->bnhwk", grid, columns)
        bias = by_row[..., :, None] + by_column[..., None, :]
        return bias.flatten(4).flatten(2, 3)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block; `window` 0 attends over the whole grid."""

    def __init__(self, configuration: SegAssessConfiguration, window: int) -> None:
        super().__init__()
        width = configuration.encoder_width
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = RelativeAttention(
            width, configuration.encoder_heads, window or configuration.stored_grid
        )
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = FeedForward(width, 4 * width, nn.GELU())

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        normal = self.norm1(features)
        attended = self._attend_in_windows(normal) if self.window else self.attn(normal)
        features = features + attended
        out: Tensor = features + self.mlp(self.norm2(features))
        return out

    def _attend_in_windows(self, features: Tensor) -> Tensor:
        batch, height, width, channels = features.shape
        side = self.window
        # The padding is attended to, as in Segment Anything: keys and values are the biases.
        padded = functional.pad(features, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = padded.shape[1] // side, padded.shape[2] // side
        windows = padded.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
        attended = self.attn(windows.reshape(-1, side, side, channels))
        merged = attended.reshape(batch, rows, columns, side, side, channels).transpose(2, 3)
        out: Tensor = merged.reshape(padded.shape)[:, :height, :width]
        return out


class Encoded(NamedTuple):
    """Features of images.

    Attributes:
        embedding: (B, D, H // 16, W // 16).
        features: Outputs of the four global blocks, each (B, H // 16, W // 16, C).
        fine: Features (B, 64, H // 4, W // 4) of a stem of convolutions, else None.
    """

    embedding: Tensor
    features: list[Tensor]
    fine: Tensor | None


class PatchEmbedding(nn.Module):
    """Cut an image into patches and project each; incomplete patches are dropped."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, H // patch, W // patch, C)."""
        out: Tensor = self.proj(images).permute(0, 2, 3, 1)
        return out


class ImageEncoder(nn.Module):
    """ViT with windowed and global blocks, position tables resampled to the image at run time."""

    def __init__(self, configuration: SegAssessConfiguration) -> None:
        super().__init__()
        width, out = configuration.encoder_width, configuration.decoder_width
        grid = configuration.stored_grid
        self.global_blocks = configuration.global_blocks
        self.patch_embed = (
            ConvolutionalStem(width)
            if configuration.stem == "convolutions"
            else PatchEmbedding(configuration.patch, width)
        )
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        self.blocks = nn.ModuleList(
            EncoderBlock(configuration, 0 if index in self.global_blocks else configuration.window)
            for index in range(configuration.encoder_depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, out, 1, bias=False),
            ChannelNorm(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            ChannelNorm(out),
        )

    def position_table(self, height: int, width: int) -> Tensor:
        """Return the absolute positions resampled bicubically to (1, height, width, C)."""
        if self.pos_embed.shape[1:3] == (height, width):
            return self.pos_embed
        table = self.pos_embed.permute(0, 3, 1, 2)
        resampled = functional.interpolate(
            table, (height, width), mode="bicubic", align_corners=False
        )
        return resampled.permute(0, 2, 3, 1)

    def forward(self, images: Tensor) -> Encoded:
        """Encode images (B, 3, H, W), RGB, float 0..1."""
        patches = self.patch_embed(images)
        features, fine = patches if isinstance(patches, tuple) else (patches, None)
        features = features + self.position_table(features.shape[1], features.shape[2])
        kept: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index in self.global_blocks:
                kept.append(features)
        return Encoded(self.neck(features.permute(0, 3, 1, 2)), kept, fine)
