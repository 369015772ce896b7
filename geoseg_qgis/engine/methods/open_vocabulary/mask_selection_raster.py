"""Mask selection over a raster: tiles of proposals, each with the class that dominates inside.

Every proposal carries its mean class probabilities onto the pixels it wins; what the tiles say is
blended in their overlaps, so that no seam shows. Pixels in no proposal keep what dense CLIP says
when there are several classes, and are background when there is one (contrastive pipeline).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg_qgis.engine.inference.blending import ScoreSurface
from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.proposals import OVERLAP_SHARE, PAINT_BATCH, Sam2Proposer
from geoseg_qgis.engine.inference.region_map import fine_window
from geoseg_qgis.engine.inference.windows import feather_weights, plan_tiles
from geoseg_qgis.engine.models.automatic_masks import AutomaticMasks
from geoseg_qgis.engine.progress import Progress

from .labelling import ProbabilitySource
from .mask_selection import SelectionSettings, class_scores, painting_order
from .probabilities import BlendedProbabilities


def select_over_raster(
    scene: RasterScene,
    proposer: Sam2Proposer,
    dense: ProbabilitySource,
    *,
    classes: int,
    settings: SelectionSettings,
    progress: Progress,
) -> BlendedProbabilities:
    """Label SAM 2's proposals by dense probabilities, tile by tile.

    Args:
        scene: Output grid and scratch folder.
        proposer: Proposes the masks of a tile.
        dense: Dense class probabilities on the output grid.
        classes: Number of classes, rivals included.
        settings: Rules of the selection.
        progress: Told the finished fraction.
    """
    surface = ScoreSurface(scene.folder, "selection", scene.output, classes)
    factor, size = proposer.subdivision, proposer.size
    height, width = proposer.grid.shape
    tiles = plan_tiles(height, width, size, round(size * OVERLAP_SHARE))
    for number, tile in enumerate(tiles):
        weights = feather_weights(tile, tiles)
        fine = fine_window(tile.window, factor, scene.output)
        rows, columns = int(fine.height), int(fine.width)
        picture = proposer.picture(tile.window)
        if picture is not None and picture.valid.any():
            values = dense.read(fine)[0].numpy()
            values = _carry(values, proposer.masks(picture), size * factor, settings)
            weights = np.repeat(np.repeat(weights, factor, 0), factor, 1)[:rows, :columns]
            surface.add(fine, values, weights)
        progress((number + 1) / len(tiles))
    return BlendedProbabilities(scene, surface)


def _carry(
    values: NDArray[np.float32], masks: AutomaticMasks, side: int, settings: SelectionSettings
) -> NDArray[np.float32]:
    """Return (C, h, w) probabilities in which the proposals have spread their means."""
    height, width = values.shape[1:]
    coarse = masks.logits.shape[-1]
    shrunk = torch.nn.functional.interpolate(
        torch.from_numpy(np.pad(values, ((0, 0), (0, side - height), (0, side - width))))[None],
        size=(coarse, coarse),
        mode="area",
    )[0].numpy()
    small = [mask > 0 for mask in masks.logits.cpu().numpy()]
    means = class_scores(shrunk, small, settings)
    order = painting_order(small, means, settings)
    carried = values.copy()
    if settings.uncovered == "background":
        carried[:] = 0.0
        carried[settings.background_index] = 1.0
    if order:
        painted = masks.select(torch.tensor(order)).iterate((side, side), PAINT_BATCH)
        for start, batch in zip(range(0, len(order), PAINT_BATCH), painted, strict=True):
            for index, mask in zip(order[start:], batch.cpu().numpy(), strict=False):
                carried[:, mask[:height, :width]] = means[index][:, None]
    return carried
