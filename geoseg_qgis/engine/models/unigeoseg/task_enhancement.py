"""Task-aware text enhancement (TATE): the sentence of the template, enhanced for the task.

The network enhances the constant sentence between the image and the instruction, so the referring
and reasoning results depend on the weights alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .position_encoding import fourier_features


class ReferringAttention(nn.Module):
    """A learned query that weighs tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, width))

    def weights(self, tokens: Tensor) -> Tensor:
        """Weigh tokens (L, H): (L, 1) float32, summing to one."""
        tokens = tokens.float()
        scores = tokens @ self.query.float().t() / math.sqrt(tokens.shape[-1])
        return scores.softmax(dim=0)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scale every token of (L, H) by its weight; the length stays."""
        return self.weights(tokens) * tokens.float()

    def pool(self, tokens: Tensor) -> Tensor:
        """Sum tokens (L, H) by their weights: (H,) float32."""
        return (self.weights(tokens) * tokens.float()).sum(dim=0)


class ReasoningPooling(nn.Module):
    """Four learned poolings of the tokens, fused with their projected mean."""

    def __init__(self, width: int, num_queries: int = 4) -> None:
        super().__init__()
        self.multi_query = nn.Parameter(torch.randn(num_queries, width) * 0.01)
        self.functional_proj = nn.Linear(width, width)
        self.fusion = nn.Linear(2 * width, width)
        self.layer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (L, H) to one vector, repeated over all L positions."""
        tokens = tokens.to(self.fusion.weight.dtype)
        scores = (tokens.float() @ self.multi_query.float().t()) / math.sqrt(tokens.shape[-1])
        pooled = scores.softmax(dim=0).to(tokens.dtype).t() @ tokens
        mean = self.functional_proj(tokens).mean(dim=0)
        fused = self.dropout(self.fusion(torch.cat([pooled.mean(dim=0), mean])))
        summary: Tensor = self.layer_norm(fused)
        return summary.expand(tokens.shape[0], -1)


def place_coordinates(
    coordinates: Tensor | None, projection: nn.Linear, length: int, frequencies: int = 0
) -> Tensor:
    """Project points or a box onto the first tokens of a sentence.

    Args:
        coordinates: (n, 2) points or (1, 4) box as fractions, or None.
        projection: Linear layer from 4 numbers, and sines and cosines of each, to H.
        length: Number of tokens L.
        frequencies: Number of frequencies of the sines and cosines.

    Returns:
        (L, H): one row a point, zeros on the tokens after them.
    """
    weight = projection.weight
    rows = weight.new_zeros(1, projection.in_features)
    if coordinates is not None:
        count, numbers = coordinates.shape
        rows = weight.new_zeros(count, projection.in_features)
        rows[:, :numbers] = coordinates.to(weight)
        waves = fourier_features(coordinates, frequencies).flatten(1)
        rows[:, 4 : 4 + waves.shape[1]] = waves.to(weight)
    projected: Tensor = projection(rows)[:length]
    placed = weight.new_zeros(length, weight.shape[0])
    return torch.cat([projected, placed[projected.shape[0] :]])
