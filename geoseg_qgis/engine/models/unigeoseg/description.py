"""From the hidden states of an instruction to the one query of the mask decoder.

The latent knowledge memory (LKM) mixes the pooled instruction with learned slots; a small perceiver
then reads the coarsest feature map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .configuration import SegmentationConfig


def recall_memory(pooled: Tensor, slots: Tensor, strength: Tensor) -> Tensor:
    """Mix pooled vectors with the memory slots most similar to them.

    Args:
        pooled: (B, H) float32.
        slots: (K, H).
        strength: (B, 1), the share of the memory (lambda).

    Returns:
        (B, H): ``(1 - strength) * pooled + strength * recalled``.
    """
    slots = slots.to(pooled)
    recalled = (pooled @ slots.t()).softmax(dim=-1) @ slots
    return (1.0 - strength) * pooled + strength * recalled


class PerceiverAttention(nn.Module):
    """Latents read the media and themselves; no bias on any projection."""

    def __init__(self, width: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        inner = num_heads * head_dim
        self.num_heads = num_heads
        self.norm_media = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, media: Tensor, latents: Tensor) -> Tensor:
        """Attend from latents (B, Q, D) to media (B, N, D) and latents: (B, Q, D)."""
        media, latents = self.norm_media(media), self.norm_latents(latents)
        query = self._split(self.to_q(latents))
        key, value = self.to_kv(torch.cat([media, latents], dim=1)).chunk(2, dim=-1)
        read = nn.functional.scaled_dot_product_attention(
            query, self._split(key), self._split(value)
        )
        mixed: Tensor = self.to_out(read.transpose(1, 2).flatten(2))
        return mixed

    def _split(self, features: Tensor) -> Tensor:
        batch, length, _ = features.shape
        return features.view(batch, length, self.num_heads, -1).transpose(1, 2)


class PerceiverLayer(nn.ModuleList):
    """Attention, then feed-forward, each added back."""

    def __init__(self, config: SegmentationConfig) -> None:
        width = config.head_width
        feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width, bias=False),
            nn.GELU(),
            nn.Linear(width, width, bias=False),
        )
        attention = PerceiverAttention(width, config.head_heads, config.head_dim)
        super().__init__([attention, feed_forward])

    def forward(self, media: Tensor, latents: Tensor) -> Tensor:
        """Refine latents (B, Q, D) with media (B, N, D)."""
        attention, feed_forward = self
        latents = latents + attention(media, latents)
        refined: Tensor = latents + feed_forward(latents)
        return refined


class Perceiver(nn.Module):
    """One layer and a final normalisation."""

    def __init__(self, config: SegmentationConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList([PerceiverLayer(config)])
        self.norm = nn.LayerNorm(config.head_width)

    def forward(self, media: Tensor, latents: Tensor) -> Tensor:
        """Refine latents (B, Q, D) with media (B, N, D)."""
        for layer in self.layers:
            latents = layer(media, latents)
        refined: Tensor = self.norm(latents)
        return refined
