"""One batch of windows to class scores: the forward pass of GUMix-RS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from geoseg_qgis.engine.models.clip_tokens import cosine_logits
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear, resize_nearest

from .clusters import merge_regions
from .complexity import complexity_map
from .correlation import (
    allowed_pairs,
    complexity_on_grid,
    dino_input,
    dino_layers,
    fuse_layers,
    layer_weights,
    scoped_attention,
)
from .region_tokens import window_embeddings
from .regions import dense_codes
from .settings import GumixSettings

if TYPE_CHECKING:
    from open_clip import CLIP
    from timm.models.eva import Eva


@dataclass(frozen=True)
class Scope:
    """Correlation of the cells of each window.

    Attributes:
        codes: (B, rows, columns) merged region codes, 0 for unsegmented.
        attention: (B, N, N) float32.
    """

    codes: Tensor
    attention: Tensor


def fused_features(
    dino: Eva, images: Tensor, regions: Tensor, settings: GumixSettings
) -> tuple[Tensor, tuple[int, int]]:
    """DINO features whose layers are weighted by the geometric complexity.

    Args:
        dino: A timm DINOv3 network.
        images: (B, 3, H, W) CLIP-normalised.
        regions: (B, H, W) integer ids.
        settings: Layer weights and the rest.

    Returns:
        (B, N, D) float32 unit rows, and the grid.
    """
    count = len(settings.layer_weights)
    layers, grid = dino_layers(dino, dino_input(images, settings), count)
    complexity = complexity_on_grid(complexity_map(regions, settings), grid)
    return fuse_layers(layers, layer_weights(complexity, settings)), grid


def scope_cells(
    features: Tensor,
    grid: tuple[int, int],
    regions: Tensor,
    settings: GumixSettings,
    valid: Tensor | None = None,
) -> Scope:
    """Merge the regions on the feature grid and restrict the correlation to them.

    Args:
        features: (B, N, D) float32 unit rows; half precision would blur the similarities.
        grid: Rows and columns of the N cells.
        regions: (B, H, W) integer ids.
        settings: Cluster epsilon, temperature and the switches.
        valid: (B, H, W) bool, False on nodata.

    Returns:
        Codes and attention.
    """
    codes = dense_codes(resize_nearest(regions, grid), settings.first_id_is_unsegmented)
    merged = merge_regions(features, codes.flatten(1), settings.cluster_epsilon)
    cells = None if valid is None else resize_nearest(valid, grid).flatten(1)
    similarity = features @ features.transpose(1, 2)
    allowed = allowed_pairs(similarity, merged, settings, cells)
    attention = scoped_attention(similarity, allowed, settings.attention_temperature)
    return Scope(merged.reshape(codes.shape), attention)


@torch.inference_mode()
def cell_logits(
    clip: CLIP,
    dino: Eva,
    images: Tensor,
    regions: Tensor,
    text: Tensor,
    *,
    settings: GumixSettings,
    valid: Tensor | None = None,
) -> Tensor:
    """Cosine of every cell of DINO with every query, for a batch of windows of one size.

    Args:
        clip: An open_clip CLIP with a vision transformer.
        dino: A timm DINOv3 network.
        images: (B, 3, H, W) CLIP-normalised; H and W multiples of `settings.pad_multiple`.
        regions: (B, H, W) integer region ids, 0 for unsegmented.
        text: (Q, E) unit rows.
        settings: The method's settings.
        valid: (B, H, W) bool, False on nodata; such pixels lose their region and no valid cell
            attends to them.

    Returns:
        (B, Q, rows, columns) float32 cosines.
    """
    if valid is not None:
        regions = regions.masked_fill(~valid, 0)
    features, grid = fused_features(dino, images, regions, settings)
    scope = scope_cells(features, grid, regions, settings, valid)
    embeddings = window_embeddings(clip.visual, images, scope.codes, scope.attention, settings)
    cosines = cosine_logits(embeddings, text)
    return cosines.reshape(*cosines.shape[:2], *grid)


@torch.inference_mode()
def window_logits(
    clip: CLIP,
    dino: Eva,
    images: Tensor,
    regions: Tensor,
    text: Tensor,
    *,
    settings: GumixSettings,
    valid: Tensor | None = None,
) -> Tensor:
    """Cosine of every pixel with every query, (B, Q, H, W) float32; see `cell_logits`."""
    cells = cell_logits(clip, dino, images, regions, text, settings=settings, valid=valid)
    return resize_bilinear(cells, (int(images.shape[-2]), int(images.shape[-1])))
