"""GUMix-RS over a whole raster: both scales sampled from source pixels, one routing for all.

The published method fits an image into 448 pixels and routes with the statistics of that image.
Here each scale has its own grid that is read from the source, regions are those of the raster, and
ranges and median are taken over all of it, so that equal ground is treated equally in every tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.blending import (
    DeviceNetwork,
    ScoreRaster,
    WindowPlan,
    make_score_rasters,
    match_scales,
)
from geoseg_qgis.engine.inference.chips import Chip, RasterScene
from geoseg_qgis.engine.inference.region_map import RegionMap
from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.methods.open_vocabulary.probabilities import class_probabilities
from geoseg_qgis.engine.models.oom_fallback import OutOfMemoryFallback
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.grids import sample_bilinear

from .complexity import boundary_pixels
from .routing import RoutingStatistics, class_entropy, route
from .routing_accumulator import RoutingAccumulator
from .settings import GumixSettings
from .window import cell_logits


@dataclass(frozen=True)
class GumixModels:
    """The networks and the words of one run, on one device.

    Attributes:
        clip: An open_clip CLIP.
        dino: A timm DINOv3 network.
        text: (Q, E) unit rows.
        class_index: Class of each row.
        settings: Normalisation and the method's constants.
        device: Where the networks lie.
        batch: Windows run together.
        fallback: What is done when the device's memory runs out.
    """

    clip: Any
    dino: Any
    text: Tensor
    class_index: tuple[int, ...]
    settings: GumixSettings
    device: torch.device
    batch: int
    fallback: OutOfMemoryFallback = field(default_factory=OutOfMemoryFallback)


class RegionGeometry:
    """Geometric complexity of every region of a raster, counted block by block.

    Args:
        regions: The raster's regions, or None when there are none (complexity 0).
        grid: Grid of scale 1.0, whose pixels are the unit of area and perimeter.
        settings: Minimum area and epsilon.
    """

    def __init__(self, regions: RegionMap | None, grid: Grid, settings: GumixSettings) -> None:
        self._regions = regions
        self._complexity = np.zeros(1, dtype=np.float32)
        if regions is not None:
            areas, perimeters = self._count(regions, grid)
            complexity = perimeters / (areas + settings.complexity_epsilon)
            complexity[areas < settings.complexity_minimum_area] = 0.0
            complexity[0] = 0.0
            self._complexity = complexity.astype(np.float32)

    @staticmethod
    def _count(regions: RegionMap, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        areas = np.zeros(regions.count + 1, dtype=np.int64)
        perimeters = np.zeros(regions.count + 1, dtype=np.int64)
        for window in blocks(grid):
            outer, rows, columns = _with_halo(window, grid)
            ids = regions.sample(grid.shape, outer)
            boundary = boundary_pixels(torch.from_numpy(ids)[None])[0].numpy()[rows, columns]
            inner = ids[rows, columns]
            areas += np.bincount(inner.ravel(), minlength=len(areas))
            perimeters += np.bincount(inner[boundary], minlength=len(areas))
        return areas, perimeters

    def complexity(self, shape: tuple[int, int], window: Window) -> Tensor:
        """Return (h, w) float32 complexity at the pixels of a window of a grid of that shape."""
        if self._regions is None:
            return torch.zeros(int(window.height), int(window.width))
        return torch.from_numpy(self._complexity[self._regions.sample(shape, window)])


class RoutedProbabilities:
    """Class probabilities on the output grid, each pixel taken from its better scale.

    Args:
        scene: Tells the output grid and which pixels hold data.
        models: Class of each query, scales, weights and logit scale.
        score_rasters: Scores of each scale, on its own grid.
        regions: The raster's regions, or None.
        progress: Takes the finished fraction of gathering the statistics.
    """

    def __init__(
        self,
        scene: RasterScene,
        models: GumixModels,
        score_rasters: Sequence[ScoreRaster],
        regions: RegionMap | None,
        progress: Progress,
    ) -> None:
        self._score_rasters = score_rasters
        self._class_index = models.class_index
        self._settings = models.settings
        self._reader = scene.reader
        self._output = scene.output
        self._geometry = RegionGeometry(regions, scene.base, models.settings)
        self.statistics = self._measure(progress)

    def _measure(self, progress: Progress) -> RoutingStatistics:
        grid = self._score_rasters[0].grid
        accumulator = RoutingAccumulator(len(self._score_rasters))
        windows = list(blocks(grid))
        for number, window in enumerate(windows):
            logits, known = self._sample(grid, window)
            entropies = class_entropy(logits, self._settings.entropy_epsilon)
            complexity = self._geometry.complexity(grid.shape, window)
            accumulator.update(complexity.numpy(), entropies.numpy(), known.numpy())
            progress((number + 1) / len(windows))
        return accumulator.result()

    def _sample(self, grid: Grid, window: Window) -> tuple[Tensor, Tensor]:
        """Return (S, Q, h, w) logits and (h, w) bool of the pixels that have data and scores."""
        known = torch.from_numpy(self._reader.valid(grid, window))
        sampled = []
        for raster in self._score_rasters:
            bands = sample_bilinear(raster.read_bands, raster.grid.shape, grid.shape, window)
            known &= bands[-1] > 0.5
            sampled.append(bands[:-1])
        return torch.stack(sampled), known

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return (C, h, w) float32 probabilities and (h, w) bool, False where unknown."""
        logits, known = self._sample(self._output, window)
        if len(self._score_rasters) > 1:
            complexity = self._geometry.complexity(self._output.shape, window)
            chosen = route(logits, complexity, self._settings, self.statistics).logits
        else:
            chosen = logits[0]
        scale = self._settings.logit_scale
        return class_probabilities(chosen, self._class_index, scale), known


def _with_halo(window: Window, grid: Grid) -> tuple[Window, slice, slice]:
    """Return the window grown by a pixel inside the grid, and where it lies therein."""
    top, left = min(int(window.row_off), 1), min(int(window.col_off), 1)
    row, column = int(window.row_off) - top, int(window.col_off) - left
    height = min(int(window.height) + top + 1, grid.height - row)
    width = min(int(window.width) + left + 1, grid.width - column)
    return (
        Window(column, row, width, height),
        slice(top, top + int(window.height)),
        slice(left, left + int(window.width)),
    )


class GumixNetwork:
    """The window network of GUMix-RS for one scale of one raster.

    Args:
        models: Networks, words and settings.
        regions: The raster's regions, or None.
        shape: Rows and columns of the scale's grid.
    """

    def __init__(
        self, models: GumixModels, regions: RegionMap | None, shape: tuple[int, int]
    ) -> None:
        self._models = models
        self._regions = regions
        self._shape = shape

    def __call__(self, chips: list[Chip], windows: list[Window]) -> Tensor:
        """Return (B, Q, rows, columns) float32 cosines of a batch, on the cells of DINO."""
        models, settings = self._models, self._models.settings
        images = torch.stack(
            [chip.normalised(settings.pixel_mean, settings.pixel_std) for chip in chips]
        )
        valid = torch.from_numpy(np.stack([chip.valid for chip in chips]))
        return cell_logits(
            models.clip,
            models.dino,
            images.to(models.device),
            self._region_ids(chips, windows).to(models.device),
            models.text,
            settings=settings,
            valid=valid.to(models.device),
        )

    def _region_ids(self, chips: list[Chip], windows: list[Window]) -> Tensor:
        height, width = chips[0].valid.shape
        if self._regions is None:
            return torch.zeros(len(windows), height, width, dtype=torch.int32)
        ids = [
            self._regions.sample_padded(
                self._shape, Window(window.col_off, window.row_off, width, height)
            )
            for window in windows
        ]
        return torch.from_numpy(np.stack(ids))


def route_raster(
    scene: RasterScene,
    models: GumixModels,
    regions: RegionMap | None,
    match: Progress,
    weigh: Progress,
    *,
    copies: Sequence[GumixModels] = (),
) -> RoutedProbabilities:
    """Run GUMix-RS over a raster.

    Args:
        scene: What to read and where scratch files lie.
        models: Networks, words and settings.
        regions: The raster's regions, or None.
        match: Takes the finished fraction of the window networks.
        weigh: Takes the finished fraction of gathering the routing statistics.
        copies: The same on further devices, which share the windows.

    Returns:
        Probabilities that can be read in any window of the output grid.
    """
    settings = models.settings
    plan = WindowPlan(
        settings.window, settings.stride, models.batch, settings.pad_multiple, settings.feathered
    )

    def networks(grid: Grid) -> list[DeviceNetwork]:
        return [
            DeviceNetwork(GumixNetwork(each, regions, grid.shape), each.fallback)
            for each in (models, *copies)
        ]

    score_rasters = make_score_rasters(scene, "scores", settings.scales, len(models.text))
    match_scales(scene.reader, score_rasters, networks, plan, match)
    return RoutedProbabilities(scene, models, score_rasters, regions, weigh)
