"""Dense CLIP without regions, the quick method (after SegEarth-OV).

In the last block each token attends to tokens with similar queries, keys or values; its residual
connection and perceptron are left out. The class token, which leans towards whatever dominates
the window, is subtracted from every patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.blending import (
    DeviceNetwork,
    WindowNetwork,
    WindowPlan,
    make_score_rasters,
    match_scales,
)
from geoseg_qgis.engine.inference.chips import Chip
from geoseg_qgis.engine.models.clip_tokens import (
    cosine_logits,
    embed_tokens,
    join_heads,
    normalise_layer,
    project_heads,
    run_block,
)
from geoseg_qgis.engine.models.model_cache import out_of_memory_fallback
from geoseg_qgis.engine.progress import JobContext, Progress
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear

from .method import MATCHING, Match, MatchRequest, register
from .probabilities import SampledProbabilities
from .regions import user_regions

if TYPE_CHECKING:
    from open_clip import CLIP
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    from geoseg_qgis.engine.models.clip import ClipModel
    from geoseg_qgis.engine.models.preset import LoadedPreset


@dataclass(frozen=True)
class FastSettings:
    """Constants of the method, those of SegEarth-OV.

    Attributes:
        window: Side of a sliding window, pixels.
        stride: Step between windows, pixels.
        pixel_mean: Mean of the CLIP normalisation, RGB, 0..255.
        pixel_std: Standard deviation of the CLIP normalisation, RGB, 0..255.
        class_token_weight: Share of the class token's cosine taken off each patch.
        logit_scale: Factor on the cosines before the softmax.
        scales: Enlargements of the raster; cosines are means over them.
    """

    window: int = 224
    stride: int = 112
    pixel_mean: tuple[float, ...] = (122.771, 116.746, 104.094)
    pixel_std: tuple[float, ...] = (68.501, 66.632, 70.323)
    class_token_weight: float = 0.3
    logit_scale: float = 50.0
    scales: tuple[float, ...] = (1.0,)


@register("fast")
def match(request: MatchRequest, context: JobContext) -> Match:
    """Run dense CLIP alone; regions only if the user gave some."""
    regions = user_regions(request.scene, request.task, context.span(0.0, 0.1))
    span = context.span(0.1, 1.0)
    settings = fast_settings(request.models)
    probabilities = dense_probabilities(
        request, settings, lambda done: span.progress(done, MATCHING), context
    )
    return Match(probabilities, regions)


def fast_settings(models: LoadedPreset) -> FastSettings:
    """Return the settings with the preset's own normalisation."""
    mean, std = (
        tuple(255.0 * value for value in values.flatten().tolist())
        for values in (models.clip.mean, models.clip.std)
    )
    return FastSettings(pixel_mean=mean, pixel_std=std)


def dense_probabilities(
    request: MatchRequest, settings: FastSettings, progress: Progress, context: JobContext
) -> SampledProbabilities:
    """Return the class probabilities that dense CLIP gives to every pixel.

    Args:
        request: The raster, the networks and the words.
        settings: Windows, normalisation and scales.
        progress: Takes the finished fraction.
        context: Takes a warning when the results may change because memory runs out.
    """
    scene, clip = request.scene, request.models.clip
    networks = [
        DeviceNetwork(
            _window_network(copy.clip, request.text.to(copy.device.device), settings),
            out_of_memory_fallback(copy, context, "clip"),
        )
        for copy in request.models.copies
    ]
    side = -(-settings.window // clip.patch_size) * clip.patch_size
    plan = WindowPlan(side, settings.stride, request.batch, clip.patch_size)
    score_rasters = make_score_rasters(scene, "dense", settings.scales, len(request.text))
    match_scales(scene.reader, score_rasters, lambda _: networks, plan, progress)
    index = request.prompts.queries.class_index
    return SampledProbabilities(scene, score_rasters, index, settings.logit_scale)


def _window_network(clip: ClipModel, text: Tensor, settings: FastSettings) -> WindowNetwork:
    def network(chips: list[Chip], _windows: list[Window]) -> Tensor:
        images = [chip.normalised(settings.pixel_mean, settings.pixel_std) for chip in chips]
        batch = torch.stack(images).to(clip.device)
        return cell_logits(clip.module, batch, text, settings)

    return network


def self_attention(block: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """Attention by similarity: softmax(qq) + softmax(kk) + softmax(vv), output projection alone.

    Args:
        block: The last open_clip block.
        tokens: (B, L, D).

    Returns:
        (B, L, D); the rows of the attention sum to 3, which the next normalisation removes.
    """
    projections = project_heads(block, tokens)
    values = projections[2]
    scale = values.shape[-1] ** -0.5
    attended = torch.zeros_like(values)
    for projection in projections:
        similarity = (projection @ projection.transpose(-1, -2)) * scale
        weights = torch.softmax(similarity.float(), dim=-1).to(values.dtype)
        attended += weights @ values
    return join_heads(block, attended)


def dense_embeddings(visual: VisionTransformer, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Embeddings of the class token and the patches in the joint space with text.

    Args:
        visual: The open_clip vision tower.
        images: (B, 3, H, W) CLIP-normalised; H and W multiples of the patch size.

    Returns:
        (B, 1 + N, E) before length normalisation, class token first, and the grid.
    """
    tokens, grid = embed_tokens(visual, images)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        tokens = run_block(block, tokens)
    mixed = normalise_layer(visual.ln_post, self_attention(last, tokens))
    return (mixed if visual.proj is None else mixed @ visual.proj), grid


@torch.inference_mode()
def cell_logits(clip: CLIP, images: Tensor, text: Tensor, settings: FastSettings) -> Tensor:
    """Debiased cosine of every patch with every query.

    Args:
        clip: An open_clip CLIP with a vision transformer.
        images: (B, 3, H, W) CLIP-normalised; H and W multiples of the patch size.
        text: (Q, E) unit rows.
        settings: Weight of the class token.

    Returns:
        (B, Q, rows, columns) float32.
    """
    embeddings, grid = dense_embeddings(clip.visual, images)
    cosines = cosine_logits(embeddings, text)
    debiased = cosines[..., 1:] - settings.class_token_weight * cosines[..., :1]
    return debiased.reshape(*debiased.shape[:2], *grid)


@torch.inference_mode()
def window_logits(clip: CLIP, images: Tensor, text: Tensor, settings: FastSettings) -> Tensor:
    """Debiased cosine of every pixel with every query, (B, Q, H, W); see `cell_logits`."""
    size = (int(images.shape[-2]), int(images.shape[-1]))
    return resize_bilinear(cell_logits(clip, images, text, settings), size)
