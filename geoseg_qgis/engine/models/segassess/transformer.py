"""Two-way transformer between tokens and image features (Segment Anything)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from .configuration import SegAssessConfiguration
from .layers import FeedForward


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than its outer width."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from (B, Q, C) to (B, K, C)."""
        split = [
            layer(features).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, features in (
                (self.q_proj, query),
                (self.k_proj, key),
                (self.v_proj, value),
            )
        ]
        attended = functional.scaled_dot_product_attention(*split)
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out


class TwoWayLayer(nn.Module):
    """Tokens attend to each other and to the image, then the image attends to the tokens."""

    def __init__(self, configuration: SegAssessConfiguration, first: bool) -> None:
        super().__init__()
        width, heads = configuration.decoder_width, configuration.decoder_heads
        self.first = first
        self.self_attn = Attention(width, width, heads)
        self.norm1 = nn.LayerNorm(width, eps=1e-5)
        self.cross_attn_token_to_image = Attention(width, width // 2, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-5)
        self.mlp = FeedForward(width, configuration.decoder_hidden, nn.ReLU())
        self.norm3 = nn.LayerNorm(width, eps=1e-5)
        self.norm4 = nn.LayerNorm(width, eps=1e-5)
        self.cross_attn_image_to_token = Attention(width, width // 2, heads)

    def forward(
        self, tokens: Tensor, image: Tensor, token_positions: Tensor, image_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (B, T, D) and image features (B, H * W, D)."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            query = tokens + token_positions
            tokens = tokens + self.self_attn(query, query, tokens)
        tokens = self.norm1(tokens)
        placed = image + image_positions
        tokens = tokens + self.cross_attn_token_to_image(tokens + token_positions, placed, image)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.cross_attn_image_to_token(placed, tokens + token_positions, tokens)
        return tokens, self.norm4(image)


class TwoWayTransformer(nn.Module):
    """Layers of two-way attention and a last attention from the tokens to the image."""

    def __init__(self, configuration: SegAssessConfiguration) -> None:
        super().__init__()
        width = configuration.decoder_width
        self.layers = nn.ModuleList(
            TwoWayLayer(configuration, first=index == 0)
            for index in range(configuration.decoder_depth)
        )
        self.final_attn_token_to_image = Attention(width, width // 2, configuration.decoder_heads)
        self.norm_final_attn = nn.LayerNorm(width, eps=1e-5)

    def forward(self, image: Tensor, positions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run the layers.

        Args:
            image: Features (B, D, H, W).
            positions: Positional map (1, D, H, W).
            tokens: (B, T, D), also used as their own positions.

        Returns:
            Tokens (B, T, D) and image features (B, H * W, D).
        """
        keys = image.flatten(2).transpose(1, 2)
        key_positions = positions.flatten(2).transpose(1, 2)
        queries = tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, key_positions)
        attended = self.final_attn_token_to_image(queries + tokens, keys + key_positions, keys)
        return self.norm_final_attn(queries + attended), keys
