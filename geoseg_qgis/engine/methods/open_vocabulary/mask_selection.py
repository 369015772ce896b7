"""SAM 2's masks, labelled by dense CLIP: a mask knows the outline, dense CLIP knows the class.

Every mask spreads its mean class probabilities over the pixels that it wins; tiles are blended in
their overlaps, so that no seam shows. Pixels in no mask keep the probabilities of dense CLIP when
there are several classes, and are background when there is one (contrastive pipeline). Where the
publication is silent the settings decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.blending import ScoreRaster
from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.journal import Arrays
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
    identity = (size, factor, proposer.grid.transform, proposer.grid.shape)
    stage = scene.journal.stage("selection", identity, len(tiles))
    for number, tile in enumerate(tiles):
        weights = feather_weights(tile, tiles)
        fine = fine_window(tile.window, factor, scene.output)
        rows, columns = int(fine.height), int(fine.width)
        read = cache(partial(_read_values, dense, fine))
        select = partial(_select, proposer, tile.window, read, settings)
        selection = stage.recall(f"{tile.row}-{tile.column}", select)
        if selection:
            winners, means = selection
            values = paint_means(read(), winners, means, settings)
            weights = np.repeat(np.repeat(weights, factor, 0), factor, 1)[:rows, :columns]
            score_raster.add(fine, values, weights)
        progress((number + 1) / len(tiles))
    return BlendedProbabilities(scene, score_raster)


def _read_values(dense: ProbabilitySource, window: Window) -> NDArray[np.float32]:
    values: NDArray[np.float32] = dense.read(window)[0].numpy()
    return values


def _select(
    proposer: Sam2Proposer,
    window: Window,
    read: Callable[[], NDArray[np.float32]],
    settings: SelectionSettings,
) -> Arrays:
    """Return the winners and means of a tile, nothing where it holds no data."""
    chip = proposer.chip(window)
    if chip is None or not chip.valid.any():
        return []
    side = proposer.size * proposer.subdivision
    return list(win_pixels(read(), proposer.masks(chip), side, settings))


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
    return paint_means(values, *win_pixels(values, masks, side, settings), settings)


def win_pixels(
    values: NDArray[np.float32], masks: AutomaticMasks, side: int, settings: SelectionSettings
) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.float32]]:
    """Return the mask that wins each pixel, (h, w) from 1 (0 none), and the masks' means, (N, C).

    Args:
        values: (C, h, w) dense probabilities of a tile.
        masks: The masks of the tile, as small logits.
        side: Side of a full tile in pixels of ``values``.
        settings: Rules of the selection.
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
    winners = np.zeros((height, width), np.min_scalar_type(len(small)))
    if order:
        batches = masks.select(torch.tensor(order)).iterate((side, side), PAINT_BATCH)
        for start, batch in zip(range(0, len(order), PAINT_BATCH), batches, strict=True):
            for index, mask in zip(order[start:], batch.cpu().numpy(), strict=False):
                winners[mask[:height, :width]] = index + 1
    return winners, means


def paint_means(
    values: NDArray[np.float32],
    winners: NDArray[np.unsignedinteger[Any]],
    means: NDArray[np.float32],
    settings: SelectionSettings,
) -> NDArray[np.float32]:
    """Return probabilities (C, h, w): the means of the winner, or the pixel's own without any.

    Args:
        values: (C, h, w) dense probabilities of a tile.
        winners: See `win_pixels`.
        means: See `win_pixels`.
        settings: Tells what pixels without a mask are.
    """
    painted = values.copy()
    if settings.background is not None:
        painted[:] = 0.0
        painted[settings.background] = 1.0
    won = winners > 0
    painted[:, won] = means.T[:, winners[won].astype(np.intp) - 1]
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
