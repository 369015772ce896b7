"""Patch correlation of DINO features, restricted by regions (paper: value reconstruction)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear

from .settings import GumixSettings

if TYPE_CHECKING:
    from timm.models.eva import Eva


def dino_input(images: Tensor, settings: GumixSettings) -> Tensor:
    """Enlarge CLIP-normalised windows and change them to the DINO normalisation.

    Args:
        images: (B, 3, H, W) CLIP-normalised.
        settings: Scale and the two normalisations.

    Returns:
        (B, 3, scale * H, scale * W) float32.
    """
    size = (images.shape[-2] * settings.dino_scale, images.shape[-1] * settings.dino_scale)
    enlarged = resize_bilinear(images.float(), size)
    unit = enlarged * _channels(settings.clip_std, images) + _channels(settings.clip_mean, images)
    return (unit - _channels(settings.dino_mean, images)) / _channels(settings.dino_std, images)


def dino_layers(dino: Eva, images: Tensor, count: int) -> tuple[Tensor, tuple[int, int]]:
    """Normalised patch tokens of the last blocks.

    Args:
        dino: A timm DINOv3 network.
        images: (B, 3, H, W) in its normalisation.
        count: Number of blocks.

    Returns:
        (count, B, N, D) float32 in block order, and the grid.
    """
    found = dino.forward_intermediates(
        images.to(dino.patch_embed.proj.weight.dtype),
        indices=count,
        norm=True,
        output_fmt="NCHW",
        intermediates_only=True,
    )
    maps = cast("list[Tensor]", found)
    grid = (int(maps[0].shape[-2]), int(maps[0].shape[-1]))
    return torch.stack([layer.float().flatten(2).transpose(1, 2) for layer in maps]), grid


def complexity_on_grid(complexity: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bilinear complexity on the feature grid, (B, H, W) to (B, N), not below 0."""
    return resize_bilinear(complexity[:, None], grid).clamp(min=0).flatten(1)


def layer_weights(complexity: Tensor, settings: GumixSettings) -> Tensor:
    """Softmax over layers of base weight + sensitivity * complexity.

    Args:
        complexity: (B, N).
        settings: Base weights and sensitivities.

    Returns:
        (layers, B, N).
    """
    base = torch.tensor(settings.layer_weights, device=complexity.device)
    slope = torch.tensor(settings.layer_sensitivities, device=complexity.device)
    return torch.softmax(base[:, None, None] + slope[:, None, None] * complexity, dim=0)


def fuse_layers(layers: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of unit layer features, unit length again.

    Args:
        layers: (layers, B, N, D).
        weights: (layers, B, N).

    Returns:
        (B, N, D) float32.
    """
    unit = functional.normalize(layers, dim=-1)
    return functional.normalize((unit * weights[..., None]).sum(dim=0), dim=-1)


def similarity_mean(similarity: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean of the whole similarity matrix of each window, diagonal included.

    Args:
        similarity: (B, N, N).
        valid: (B, N) bool; only pairs of valid cells count.

    Returns:
        (B, 1, 1) float32.
    """
    if valid is None:
        return similarity.float().mean(dim=(1, 2), keepdim=True)
    weights = valid.float()
    total = weights[:, None] @ similarity.float() @ weights[:, :, None]
    return total / weights.sum(dim=1).square().clamp(min=1)[:, None, None]


def allowed_pairs(
    similarity: Tensor, codes: Tensor, settings: GumixSettings, valid: Tensor | None = None
) -> Tensor:
    """Which cell may attend to which (paper: scope mask).

    Cells of one region see each other; pairs with an unsegmented cell need a similarity above
    the mean of the matrix. Invalid cells are seen by themselves alone.

    Args:
        similarity: (B, N, N).
        codes: (B, N) merged codes, 0 for unsegmented.
        settings: Whether the diagonal is always allowed.
        valid: (B, N) bool, or None when every cell is valid.

    Returns:
        (B, N, N) bool, rows attend to columns.
    """
    unsegmented = codes == 0
    same = (codes[:, :, None] == codes[:, None, :]) & ~unsegmented[:, :, None]
    free = unsegmented[:, :, None] | unsegmented[:, None, :]
    allowed = same | (free & (similarity > similarity_mean(similarity, valid)))
    if valid is not None:
        allowed &= valid[:, None, :]
    if settings.diagonal_always_allowed or valid is not None:
        torch.diagonal(allowed, dim1=1, dim2=2).fill_(True)
    return allowed


def scoped_attention(similarity: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    """Softmax of temperature * similarity over the allowed cells.

    Args:
        similarity: (B, N, N).
        allowed: (B, N, N) bool.
        temperature: Factor before the softmax.

    Returns:
        (B, N, N) float32, rows sum to 1; a row without an allowed cell is NaN.
    """
    scores = similarity.float() * temperature
    return torch.softmax(scores.masked_fill_(~allowed, -torch.inf), dim=-1)


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device)[:, None, None]
