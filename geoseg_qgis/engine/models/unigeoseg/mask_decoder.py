"""Mask decoder: one query, refined by masked attention and compared with every cell.

Cheng et al., "Masked-attention Mask Transformer", CVPR 2022, sec. 3.1, with a single query that
comes from the language model instead of learned ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .configuration import SegmentationConfig
from .pixel_decoder import NUM_LEVELS, PixelFeatures
from .position_encoding import sine_positions


class CrossAttentionLayer(nn.Module):
    """The query reads the unblocked cells of one level."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, query: Tensor, keys: Tensor, values: Tensor, blocked: Tensor | None
    ) -> Tensor:
        """Attend from (B, Q, C) to (B, N, C); ``blocked`` is (B * heads, Q, N) bool, if any."""
        attended, _ = self.multihead_attn(
            query, keys, values, attn_mask=blocked, need_weights=False
        )
        normalised: Tensor = self.norm(query + attended)
        return normalised


class SelfAttentionLayer(nn.Module):
    """Queries read each other."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, query: Tensor) -> Tensor:
        """Map (B, Q, C) to the same shape."""
        attended, _ = self.self_attn(query, query, query, need_weights=False)
        normalised: Tensor = self.norm(query + attended)
        return normalised


class FeedForwardLayer(nn.Module):
    """Two linear layers with a ReLU, added back and normalised."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, query: Tensor) -> Tensor:
        """Map (B, Q, C) to the same shape."""
        normalised: Tensor = self.norm(
            query + self.linear2(nn.functional.relu(self.linear1(query)))
        )
        return normalised


class MaskEmbedding(nn.Module):
    """Three linear layers from a query to the vector compared with the mask features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, query: Tensor) -> Tensor:
        """Map (B, Q, C) to the same shape."""
        for layer in self.layers[:-1]:
            query = nn.functional.relu(layer(query))
        embedded: Tensor = self.layers[-1](query)
        return embedded


class MaskDecoder(nn.Module):
    """The decoder, which predicts a mask from the query before and after every layer."""

    def __init__(self, config: SegmentationConfig) -> None:
        super().__init__()
        width, heads, depth = config.width, config.num_heads, config.decoder_layers
        self.num_heads = heads
        self.open_layers = config.open_layers
        self.keep_small_answers = config.keep_small_answers
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttentionLayer(width, heads) for _ in range(depth)
        )
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttentionLayer(width, heads) for _ in range(depth)
        )
        self.transformer_ffn_layers = nn.ModuleList(
            FeedForwardLayer(width, config.decoder_ffn) for _ in range(depth)
        )
        self.decoder_norm = nn.LayerNorm(width)
        self.level_embed = nn.Embedding(NUM_LEVELS, width)
        self.mask_embed = MaskEmbedding(width)

    def forward(self, features: PixelFeatures, query: Tensor) -> list[Tensor]:
        """Predict one mask a query.

        Args:
            features: Output of the pixel decoder for B images.
            query: (B, Q, C).

        Returns:
            Mask logits (B, Q, H/4, W/4) before the first and after each layer; the last counts.
        """
        return self.refine(features, query)[0]

    def refine(
        self, features: PixelFeatures, query: Tensor, *, alone: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Predict masks and return the queries that they come from.

        Args:
            features: Output of the pixel decoder for B images.
            query: (B, Q, C).
            alone: Decode each query as if it were the only one: they do not read each other.

        Returns:
            Mask logits (B, Q, H/4, W/4) and queries (B, Q, C), before the first and after each
            layer.
        """
        keys, values = self.read_levels(features)
        queries = [query]
        predictions = [self.predict(query, features.mask_features)]
        layers = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        for index, (cross_attention, self_attention, feed_forward) in enumerate(layers):
            level = index % NUM_LEVELS
            blocked = None
            if index >= self.open_layers:
                size = features.multi_scale[level].shape[-2:]
                blocked = blocked_cells(predictions[-1], size, self.keep_small_answers)
                blocked = blocked.repeat_interleave(self.num_heads, dim=0)
            query = cross_attention(query, keys[level], values[level], blocked)
            together = query.flatten(0, 1)[:, None] if alone else query
            query = feed_forward(self_attention(together)).view(query.shape)
            queries.append(query)
            predictions.append(self.predict(query, features.mask_features))
        return predictions, queries

    def read_levels(self, features: PixelFeatures) -> tuple[list[Tensor], list[Tensor]]:
        """Return keys and values (B, N, C) of each level; keys include their positions."""
        values = [
            level.flatten(2).transpose(1, 2) + embedding
            for level, embedding in zip(features.multi_scale, self.level_embed.weight, strict=True)
        ]
        keys = [
            value + self._positions(level).to(value.dtype)
            for value, level in zip(values, features.multi_scale, strict=True)
        ]
        return keys, values

    def predict(self, query: Tensor, mask_features: Tensor) -> Tensor:
        """Compare queries (B, Q, C) with features (B, C, H, W): logits (B, Q, H, W)."""
        embedded = self.mask_embed(self.decoder_norm(query))
        return torch.einsum("bqc,bchw->bqhw", embedded, mask_features)

    @staticmethod
    def _positions(level: Tensor) -> Tensor:
        channels, height, width = level.shape[1:]
        encoded = sine_positions(height, width, channels, level.device)
        return encoded.flatten(2).transpose(1, 2)


@torch.no_grad()
def blocked_cells(logits: Tensor, size: torch.Size, keep_small: bool = False) -> Tensor:
    """Return the cells that the next layer must not read: background of the last prediction.

    Args:
        logits: (B, Q, H, W).
        size: Height and width of the level that is read next.
        keep_small: Read a cell where any fine cell in it is foreground, not only where the fine
            cells around its centre are on average; that misses objects of few cells.

    Returns:
        (B, Q, h * w) bool; a query whose cells would all be blocked reads all of them.
    """
    if keep_small:
        resized = nn.functional.adaptive_max_pool2d(logits.float(), tuple(size))
    else:
        resized = nn.functional.interpolate(
            logits.float(), size=tuple(size), mode="bilinear", align_corners=False
        )
    blocked = resized.sigmoid().flatten(2) < 0.5
    return blocked & ~blocked.all(dim=-1, keepdim=True)
