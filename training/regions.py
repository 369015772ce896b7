"""Random image partitions in place of segmentation regions while CLIP trains."""

from __future__ import annotations

import torch
from torch.nn import functional


def random_regions(
    pixels: torch.Tensor,
    labels: torch.Tensor,
    cells: int,
    count: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """Assign every cell of a grid to the nearest of some seeds in colour, place and label.

    Args:
        pixels: (B, 3, S, S) in 0..1.
        labels: (B, S, S) bit masks.
        cells: Cells a side.
        count: Regions an image.
        generator: Source of the choices.

    Returns:
        (B, cells * cells) int64 region indices.
    """
    batch = pixels.shape[0]
    colour = functional.adaptive_avg_pool2d(pixels, cells).flatten(2).transpose(1, 2)
    step = labels.shape[-1] // cells
    label = labels[:, step // 2 :: step, step // 2 :: step][:, :cells, :cells].flatten(1)
    axis = torch.linspace(0, 1, cells)
    place = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).view(1, -1, 2)
    scale = torch.rand(batch, 3, 1, 1, generator=generator)
    features = torch.cat(
        [
            colour * (2 + 6 * scale[:, 0]),
            place.expand(batch, -1, -1) * (0.3 + 2 * scale[:, 1]),
            torch.stack([((label >> bit) & 1).float() for bit in range(9)], -1)
            * (1.5 * (scale[:, 2] > 0.35)),
        ],
        dim=2,
    )
    seeds = torch.rand(batch, cells * cells, generator=generator).argsort(1)[:, :count]
    centres = features.gather(1, seeds[..., None].expand(-1, -1, features.shape[-1]))
    return torch.cdist(features, centres).argmin(2)


def region_affinity(
    regions: torch.Tensor, features: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return (B, N, N) row-stochastic mixing inside regions by feature similarity.

    Args:
        regions: (B, N) region indices.
        features: (B, N, C), any scale.
        temperature: Factor on the cosine before the softmax.
    """
    unit = functional.normalize(features, dim=-1)
    similarity = temperature * unit @ unit.transpose(1, 2)
    outside = regions[:, :, None] != regions[:, None]
    return similarity.masked_fill(outside, float("-inf")).softmax(-1)
