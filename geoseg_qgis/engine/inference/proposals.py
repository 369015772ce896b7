"""Regions proposed by SAM 2: what it reads, and how finely its masks are drawn."""

from __future__ import annotations

import math

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.models.automatic_masks import (
    AutomaticMasks,
    AutomaticMaskSettings,
    automatic_masks,
    point_grid,
)
from geoseg_qgis.engine.models.oom_fallback import OutOfMemoryFallback, Work
from geoseg_qgis.engine.models.sam2 import Sam2Embedding, Sam2Model
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid

from .chips import Chip, ChipReader
from .region_map import RegionMap, RegionPlan, propose_regions

# SAM 2's logits have a quarter of its input's pixels along a side; finer outlines hold no more.
FINEST_SUBDIVISION = 4
# Share of a tile that its neighbour sees again: 128 of 1024 pixels, more than most objects measure.
OVERLAP_SHARE = 0.125
# Masks at full size in memory at once: 8 of 4096 x 4096 pixels take 0.5 GB as float32.
PAINT_BATCH = 8


def subdivide(output: Grid, finest: Grid) -> tuple[Grid, int]:
    """Return the grid that SAM 2 reads, and how many result pixels lie along each of its pixels.

    SAM 2 reads pixels that are a whole number of the result's pixels wide, as close to ``finest``
    (the grid of the largest scale) as that allows. Its mask logits are smooth, so that outlines
    can be drawn on the result's own pixels.

    Args:
        output: Grid of the results.
        finest: Finest grid that any network reads, over the same ground.
    """
    ratio = min(output.width / finest.width, output.height / finest.height)
    subdivision = max(1, min(math.floor(ratio + 1e-6), FINEST_SUBDIVISION))
    coarse = Grid(
        output.transform @ Affine.scale(subdivision, subdivision),
        -(-output.width // subdivision),
        -(-output.height // subdivision),
        output.crs_wkt,
    )
    return coarse, subdivision


class Sam2Proposer:
    """Proposes regions of a raster's windows.

    Args:
        reader: Where pixels come from.
        grid: The grid SAM 2 reads.
        model: The network.
        settings: Points, thresholds.
        subdivision: Result pixels along one pixel of ``grid``.
        checkpoint: Called between batches of prompts; raises when the user cancelled.
        fallback: What is done when the device's memory runs out.
    """

    def __init__(
        self,
        reader: ChipReader,
        grid: Grid,
        model: Sam2Model,
        *,
        settings: AutomaticMaskSettings,
        subdivision: int,
        checkpoint: Progress,
        fallback: OutOfMemoryFallback | None = None,
    ) -> None:
        self.grid = grid
        self.subdivision = subdivision
        self.size = model.image_size
        self._reader = reader
        self._model = model
        self._settings = settings
        self._checkpoint = checkpoint
        self._fallback = fallback or OutOfMemoryFallback(model.device)

    def __call__(self, window: Window) -> NDArray[np.int32]:
        """Return ids on the result's pixels; the largest mask wins overlaps, as in GUMix-RS."""
        side = self.size * self.subdivision
        ids = np.zeros((side, side), dtype=np.int32)
        chip = self.chip(window)
        if chip is None or not chip.valid.any():
            return ids
        paint_masks(self.masks(chip), ids)
        valid = np.repeat(np.repeat(chip.valid, self.subdivision, 0), self.subdivision, 1)
        return np.where(valid, ids, 0)

    def chip(self, window: Window) -> Chip | None:
        """Return the square chip of a tile, None where the raster cannot be read."""
        return self._reader.read(
            self.grid, Window(window.col_off, window.row_off, self.size, self.size)
        )

    def points(self, wanted: NDArray[np.bool_]) -> Tensor:
        """Return those points of the grid of prompts that lie on wanted pixels, (n, 2).

        Args:
            wanted: (H, W) over the ground of a square chip, at any resolution.
        """
        points = point_grid(self._settings.points_per_side, (self.size, self.size))
        columns, rows = (points * (len(wanted) / self.size)).long().numpy().T
        return points[torch.from_numpy(wanted[rows, columns])]

    def masks(self, chip: Chip, points: Tensor | None = None) -> AutomaticMasks:
        """Return the masks of a square chip.

        Args:
            chip: The chip.
            points: See `points`; None asks all over the chip.
        """
        images = torch.from_numpy(chip.continued())[None].float() / 255.0
        tile: Work[Tensor, Sam2Embedding] = Work(
            lambda parts: [self._model.encode(part) for part in parts], "One tile of the image"
        )
        embedding = self._fallback.run(tile, [images])[0]
        return automatic_masks(
            self._model, embedding, self._settings, self._checkpoint, self._fallback, points
        )


def paint_masks(masks: AutomaticMasks, ids: NDArray[np.int32]) -> None:
    """Paint masks as regions, a few at a time, in ascending order of area.

    The largest mask wins every overlap, and masks of equal area keep their order (GUMix-RS).

    Args:
        masks: The masks.
        ids: (H, W), painted over with numbers from 1.
    """
    order = torch.argsort(masks.areas, stable=True)
    number = 0
    for batch in masks.select(order).iterate(ids.shape, PAINT_BATCH):
        for mask in batch.cpu().numpy():
            number += 1
            ids[mask] = number


def fill_from_sam2(regions: RegionMap, proposer: Sam2Proposer, progress: Progress) -> None:
    """Fill a region map with SAM 2's regions, tile by tile.

    Args:
        regions: The map to fill; its grid is the result's.
        proposer: Proposes one tile.
        progress: Takes the finished fraction.
    """
    overlap = round(proposer.size * OVERLAP_SHARE)
    plan = RegionPlan(proposer.size, overlap, proposer.subdivision)
    propose_regions(regions, proposer, plan, progress)
