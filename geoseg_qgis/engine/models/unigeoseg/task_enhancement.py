"""Task-aware text enhancement (TATE): the template sentence, altered for the task.

The network enhances the constant sentence between the image and the instruction, so the referring
and reasoning results depend on the weights alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .position_encoding import fourier_features


class ReferringAttention(nn.Module):
    """A learned query that weighs words."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, width))

    def weights(self, words: Tensor) -> Tensor:
        """Weigh words (L, H): (L, 1) float32, summing to one."""
        words = words.float()
        scores = words @ self.query.float().t() / math.sqrt(words.shape[-1])
        return scores.softmax(dim=0)

    def forward(self, words: Tensor) -> Tensor:
        """Scale every word of (L, H) by its weight; the length stays."""
        return self.weights(words) * words.float()

    def pool(self, words: Tensor) -> Tensor:
        """Sum words (L, H) by their weights: (H,) float32."""
        return (self.weights(words) * words.float()).sum(dim=0)


class ReasoningPooling(nn.Module):
    """Four learned views of the words fused with their projected mean."""

    def __init__(self, width: int, num_queries: int = 4) -> None:
        super().__init__()
        self.multi_query = nn.Parameter(torch.randn(num_queries, width) * 0.01)
        self.functional_proj = nn.Linear(width, width)
        self.fusion = nn.Linear(2 * width, width)
        self.layer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, words: Tensor) -> Tensor:
        """Map words (L, H) to one vector, repeated over all L positions."""
        words = words.to(self.fusion.weight.dtype)
        scores = (words.float() @ self.multi_query.float().t()) / math.sqrt(words.shape[-1])
        views = scores.softmax(dim=0).to(words.dtype).t() @ words
        mean = self.functional_proj(words).mean(dim=0)
        fused = self.dropout(self.fusion(torch.cat([views.mean(dim=0), mean])))
        summary: Tensor = self.layer_norm(fused)
        return summary.expand(words.shape[0], -1)


def place_coordinates(
    coordinates: Tensor | None, projection: nn.Linear, length: int, frequencies: int = 0
) -> Tensor:
    """Project points or a box onto the first words of a sentence.

    Args:
        coordinates: (n, 2) points or (1, 4) box as fractions, or None.
        projection: Linear layer from 4 numbers, and the waves of each, to H.
        length: Number of words L.
        frequencies: Number of waves.

    Returns:
        (L, H): one row a point, zeros on the words after them.
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
