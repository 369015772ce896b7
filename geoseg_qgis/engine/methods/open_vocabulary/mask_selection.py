"""SAM 2's masks, labelled by dense CLIP: a mask knows the outline, dense CLIP knows the class.

Every mask spreads its mean class probabilities over the pixels that it wins; tiles are blended in
their overlaps, so that no seam shows. Pixels in no mask keep the probabilities of dense CLIP when
there are several classes, and are background when there is one (contrastive pipeline). Where the
publication is silent the settings decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg_qgis.engine.inference.blending import ScoreRaster
from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.proposals import OVERLAP_SHARE, PAINT_BATCH, Sam2Proposer
from geoseg_qgis.engine.inference.region_map import fine_window
from geoseg_qgis.engine.inference.windows import feather_weights, plan_tiles
from geoseg_qgis.engine.models.automatic_masks import AutomaticMasks, AutomaticMaskSettings
from geoseg_qgis.engine.progress import JobContext, Progress

from .fast import dense_probabilities, fast_settings
from .method import MATCHING, Match, MatchRequest, register
from .probabilities import BlendedProbabilities, ProbabilitySource
from .regions import make_proposer, user_regions

# Looser than SAM 2's own thresholds, which drop most objects seen from above.
MASKS = AutomaticMaskSettings(
    points_per_side=20, iou_threshold=0.7, stability_threshold=0.85, at_source=False
)


@dataclass(frozen=True)
class SelectionSettings:
    """Rules of the selection.

    Attributes:
        largest_share: Masks above this share of a tile are left out: they are ground, not an
            object (the publication states no limit).
        background: Class index of the pixels in no mask, None when they keep their own
            probabilities.
    """

    largest_share: float = 0.6
    background: int | None = None


@register("mask_selection")
def match(request: MatchRequest, context: JobContext) -> Match:
    """Run dense CLIP, then give each mask of SAM 2 what dominates inside it."""
    scene, models = request.scene, request.models
    matching, selecting = context.span(0.0, 0.4), context.span(0.4, 1.0)
    settings = fast_settings(models)
    if models.card.clip is not None:
        settings = replace(settings, scales=models.card.clip.scales)
    dense = dense_probabilities(
        request, settings, lambda done: matching.progress(done, MATCHING), context
    )
    regions = user_regions(scene, request.task, matching)
    if regions is not None:
        return Match(dense, regions)
    masks = MASKS
    if request.task.points_per_side is not None:
        masks = replace(masks, points_per_side=request.task.points_per_side)
    proposer = make_proposer(scene, models, masks, 1.0, selecting)
    prompts = request.prompts
    probabilities = select_over_raster(
        scene,
        proposer,
        dense,
        classes=prompts.queries.class_count,
        settings=SelectionSettings(background=1 if prompts.named == 1 else None),
        progress=lambda done: selecting.progress(done, "Selecting masks"),
    )
    return Match(probabilities)


def select_over_raster(
    scene: RasterScene,
    proposer: Sam2Proposer,
    dense: ProbabilitySource,
    *,
    classes: int,
    settings: SelectionSettings,
    progress: Progress,
) -> BlendedProbabilities:
    """Label SAM 2's masks by dense probabilities, tile by tile.

    Args:
        scene: The grid of the results and a scratch folder.
        proposer: Proposes the masks of a tile.
        dense: Dense class probabilities on the grid of the results.
        classes: Number of classes, that of the background prompts included.
        settings: Rules of the selection.
        progress: Takes the finished fraction.
    """
    score_raster = ScoreRaster(scene.folder, "selection", scene.output, classes)
    factor, size = proposer.subdivision, proposer.size
    height, width = proposer.grid.shape
    tiles = plan_tiles(height, width, size, round(size * OVERLAP_SHARE))
    for number, tile in enumerate(tiles):
        weights = feather_weights(tile, tiles)
        fine = fine_window(tile.window, factor, scene.output)
        rows, columns = int(fine.height), int(fine.width)
        chip = proposer.chip(tile.window)
        if chip is not None and chip.valid.any():
            values = dense.read(fine)[0].numpy()
            values = spread_means(values, proposer.masks(chip), size * factor, settings)
            weights = np.repeat(np.repeat(weights, factor, 0), factor, 1)[:rows, :columns]
            score_raster.add(fine, values, weights)
        progress((number + 1) / len(tiles))
    return BlendedProbabilities(scene, score_raster)


def spread_means(
    values: NDArray[np.float32], masks: AutomaticMasks, side: int, settings: SelectionSettings
) -> NDArray[np.float32]:
    """Return probabilities in which every mask has spread its means over the pixels that it wins.

    Args:
        values: (C, h, w) dense probabilities of a tile.
        masks: The masks of the tile, as small logits.
        side: Side of a full tile in pixels of ``values``; tiles at the edge are smaller.
        settings: Rules of the selection.

    Returns:
        (C, h, w).
    """
    height, width = values.shape[1:]
    coarse = masks.logits.shape[-1]
    shrunk = torch.nn.functional.interpolate(
        torch.from_numpy(np.pad(values, ((0, 0), (0, side - height), (0, side - width))))[None],
        size=(coarse, coarse),
        mode="area",
    )[0].numpy()
    small = [mask > 0 for mask in masks.logits.cpu().numpy()]
    means = mask_means(shrunk, small)
    order = painting_order(small, means, settings.largest_share)
    painted = values.copy()
    if settings.background is not None:
        painted[:] = 0.0
        painted[settings.background] = 1.0
    if order:
        batches = masks.select(torch.tensor(order)).iterate((side, side), PAINT_BATCH)
        for start, batch in zip(range(0, len(order), PAINT_BATCH), batches, strict=True):
            for index, mask in zip(order[start:], batch.cpu().numpy(), strict=False):
                painted[:, mask[:height, :width]] = means[index][:, None]
    return painted


def mask_means(
    values: NDArray[np.float32], masks: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float32]:
    """Mean of each channel inside each mask.

    Args:
        values: (C, H, W).
        masks: N masks (H, W).

    Returns:
        (N, C), 0 for an empty mask.
    """
    means = np.zeros((len(masks), len(values)), dtype=np.float32)
    for index, mask in enumerate(masks):
        rows = np.flatnonzero(mask.any(axis=1))
        if rows.size == 0:
            continue
        columns = np.flatnonzero(mask.any(axis=0))
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        means[index] = values[(slice(None), *box)][:, mask[box]].mean(axis=1, dtype=np.float64)
    return means


def painting_order(
    masks: Sequence[NDArray[np.bool_]], means: NDArray[np.float32], largest_share: float
) -> list[int]:
    """Indices of the usable masks, last the one that wins every overlap: the surest of its class.

    Args:
        masks: N masks (H, W).
        means: (N, C) mean probabilities inside them.
        largest_share: Masks above this share of H x W are left out.
    """
    areas = [int(mask.sum()) for mask in masks]
    usable = [
        index for index, mask in enumerate(masks) if 0 < areas[index] <= largest_share * mask.size
    ]
    return sorted(usable, key=lambda index: (cast("float", means[index].max()), -index))
