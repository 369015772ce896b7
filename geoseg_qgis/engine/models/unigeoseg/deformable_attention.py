"""Multi-scale deformable attention in plain PyTorch.

Zhu et al., "Deformable DETR", ICLR 2021, eq. 3. Sampling runs in float32 whatever the weights'
precision: half precision cannot place a sample on a 128-cell map.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LevelShapes = list[tuple[int, int]]


class DeformableAttention(nn.Module):
    """Each query reads a few learned positions on every level."""

    def __init__(self, width: int, num_heads: int, num_levels: int, num_points: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_levels = num_levels
        self.num_points = num_points
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(width, samples * 2)
        self.attention_weights = nn.Linear(width, samples)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Start with uniform weights on rays around the query, one direction a head."""
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        nn.init.xavier_uniform_(self.value_proj.weight)
        nn.init.zeros_(self.value_proj.bias)
        nn.init.xavier_uniform_(self.output_proj.weight)
        nn.init.zeros_(self.output_proj.bias)
        angles = torch.arange(self.num_heads) * (2.0 * math.pi / self.num_heads)
        rays = torch.stack([angles.cos(), angles.sin()], dim=-1)
        rays = rays / rays.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1)
        offsets = rays[:, None, None, :] * steps[None, None, :, None]
        offsets = offsets.expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.reshape(-1))

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        values: Tensor,
        shapes: LevelShapes,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend from every query to a few positions of all levels.

        Args:
            query: (B, Q, C), position already added.
            reference_points: (B, Q, L, 2), x and y as fractions of each level.
            values: (B, sum(H_l * W_l), C), levels one after another, rows first.
            shapes: Height and width of each level.
            padding_mask: (B, sum(H_l * W_l)) bool, True where a value counts as zero.

        Returns:
            (B, Q, C).
        """
        batch, queries, _ = query.shape
        projected = self.value_proj(values)
        if padding_mask is not None:
            projected = projected.masked_fill(padding_mask[..., None], 0.0)
        grid = (batch, queries, self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).float().view(*grid, 2)
        weights = self.attention_weights(query).float().view(*grid[:3], -1).softmax(-1)
        sizes = torch.tensor([(width, height) for height, width in shapes], device=query.device)
        locations = reference_points.float()[:, :, None, :, None] + offsets / sizes[:, None]
        sampled = sample_levels(
            projected.view(*projected.shape[:2], self.num_heads, -1).float(),
            locations,
            weights.view(grid),
            shapes,
        )
        mixed: Tensor = self.output_proj(sampled.to(query.dtype))
        return mixed


def sample_levels(
    values: Tensor, locations: Tensor, weights: Tensor, shapes: LevelShapes
) -> Tensor:
    """Weighted sum of bilinear samples over levels and points.

    Args:
        values: (B, sum(H_l * W_l), heads, D) float32.
        locations: (B, Q, heads, L, P, 2), x and y as fractions; outside 0..1 reads zero.
        weights: (B, Q, heads, L, P).
        shapes: Height and width of each level.

    Returns:
        (B, Q, heads * D) float32.
    """
    batch, _, heads, depth = values.shape
    queries = locations.shape[1]
    grids = (2.0 * locations - 1.0).permute(0, 2, 3, 1, 4, 5).flatten(0, 1)
    level_weights = weights.permute(0, 2, 3, 1, 4).flatten(0, 1)
    levels = torch.split(values, [height * width for height, width in shapes], dim=1)
    total = values.new_zeros(batch * heads, depth, queries)
    for index, (level, (height, width)) in enumerate(zip(levels, shapes, strict=True)):
        image = level.permute(0, 2, 3, 1).reshape(batch * heads, depth, height, width)
        samples = nn.functional.grid_sample(
            image, grids[:, index], mode="bilinear", padding_mode="zeros", align_corners=False
        )
        total = total + (samples * level_weights[:, None, index]).sum(-1)
    return total.view(batch, heads * depth, queries).transpose(1, 2)
