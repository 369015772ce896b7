"""SegAssess over a raster of any size: tiles through the network, blended on disk.

The mask lies on the output grid and is seen by the network at the nearest pixel of its own grid.
Probabilities are blended, never classes, so no seam shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.blending import ScoreSurface, WindowPlan, match_windows
from geoseg_qgis.engine.inference.chips import Chip, RasterScene
from geoseg_qgis.engine.inference.windows import Tile, feather_weights, plan_tiles
from geoseg_qgis.engine.models.segassess.component import SegAssessModel
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.grids import nearest_window

from .quality_classes import Variant, mask_of
from .view_sums import RunSums, TileRuns
from .views import View, ViewResult, assess_views, average_views

CLASSES = 4
_SMALLEST_OVERLAP = 64
_OVERLAP_SHARE = 8
_PIXELS_AT_ONCE = 8_000_000


class ObjectLayer(Protocol):
    """The objects of one class of a mask, on the output grid."""

    def read_sheets(self, window: Window) -> NDArray[np.int32]:
        """Return (S, h, w) object ids, 0 for none; objects that overlap lie on different sheets."""


@dataclass(frozen=True)
class QualityPlan:
    """How a raster is run through the network.

    Attributes:
        views: Looks at each tile.
        variant: Whether the mask constrains the probabilities.
        batch: Tiles run together; halved by itself when memory does not suffice.
    """

    views: tuple[View, ...]
    variant: Variant = "constrained"
    batch: int = 1


def tile_overlap(side: int) -> int:
    """Return the pixels that neighbouring tiles share: at least 64, and less than half."""
    return min(max(_SMALLEST_OVERLAP, side // _OVERLAP_SHARE), side // 2)


def sample_sheets(
    layer: ObjectLayer, output: Grid, grid: Grid, window: Window
) -> NDArray[np.int32]:
    """Return the sheets of a layer at the pixel centres of a window of another grid, (S, h, w)."""
    if grid.shape == output.shape:
        return layer.read_sheets(window)
    step = max(1, int(_PIXELS_AT_ONCE * grid.width / (output.width * max(window.width, 1))))
    step = max(1, int(step * grid.height / output.height))
    parts = []
    for top in range(int(window.row_off), int(window.row_off + window.height), step):
        rows = min(step, int(window.row_off + window.height) - top)
        part = Window(window.col_off, top, window.width, rows)
        source, down, across = nearest_window(grid.shape, output.shape, part)
        parts.append(layer.read_sheets(source)[:, down[:, None], across])
    return np.concatenate(parts, axis=1)


class QualityNetwork:
    """Pictures and the mask under them to the probabilities of TP, FP, TN and FN.

    Args:
        scene: Grids of mask and network.
        model: The network.
        layer: The mask.
        plan: Views and variant.
        runs: Sums to fill, or None.
        tiles: The tiles of the network's grid, which tell the blending weights of the sums.
    """

    def __init__(  # noqa: PLR0917
        self,
        scene: RasterScene,
        model: SegAssessModel,
        layer: ObjectLayer,
        plan: QualityPlan,
        runs: RunSums | None,
        tiles: Sequence[Tile],
    ) -> None:
        self._scene = scene
        self._model = model
        self._layer = layer
        self._plan = plan
        self._runs = runs
        self._plan_tiles = tiles
        self._tiles = {(tile.window.row_off, tile.window.col_off): tile for tile in tiles}

    def __call__(self, pictures: list[Chip], windows: list[Window]) -> Tensor:
        """Return (B, 4, H, W) float32 probabilities."""
        side = pictures[0].valid.shape[0]
        grids = (self._scene.output, self._scene.base)
        sheets = [sample_sheets(self._layer, *grids, window) for window in windows]
        masks = [fill_square(mask_of(one).astype(np.uint8), side) for one in sheets]
        images = [
            fill_square(picture.pixels[:, : int(window.height), : int(window.width)], side)
            for picture, window in zip(pictures, windows, strict=True)
        ]
        recorders = self._recorders(pictures, windows, sheets)
        device = self._model.device
        with self._model.precision():
            views = assess_views(
                self._model.module,
                torch.from_numpy(np.stack(images)).to(device).float() / 255.0,
                torch.from_numpy(np.stack(masks))[:, None].to(device).float(),
                self._plan.views,
            )
            probabilities = average_views(self._recorded(views, recorders))
        if self._runs is not None:
            for recorder in recorders:
                self._runs.add(recorder)
        return probabilities

    def _recorders(
        self, pictures: list[Chip], windows: list[Window], sheets: list[NDArray[np.int32]]
    ) -> list[TileRuns]:
        places = [(window.row_off, window.col_off) for window in windows]
        if self._runs is None or not all(place in self._tiles for place in places):
            return []
        recorders = []
        for picture, window, one in zip(pictures, windows, sheets, strict=True):
            tile = self._tiles[window.row_off, window.col_off]
            valid = picture.valid[: int(window.height), : int(window.width)]
            weights = feather_weights(tile, self._plan_tiles)
            recorders.append(TileRuns(self._runs.runs, one, valid, weights, self._runs.options))
        return recorders

    def _recorded(
        self, views: Iterator[ViewResult], recorders: list[TileRuns]
    ) -> Iterator[ViewResult]:
        for run, view in enumerate(views):
            if recorders:
                probabilities = view.probabilities.float().cpu().numpy()
                covered = view.covered.cpu().numpy()
                for recorder, one in zip(recorders, probabilities, strict=True):
                    height, width = recorder.shape
                    recorder.add(
                        run, one[:, :height, :width], covered[:height, :width], self._plan.variant
                    )
            yield view


def fill_square(values: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Continue (..., h, w) to the right and below by its mirror image, to (..., side, side)."""
    height, width = values.shape[-2:]
    if (height, width) == (side, side):
        return values
    beyond = [(0, 0)] * (values.ndim - 2) + [(0, side - height), (0, side - width)]
    return np.pad(values, beyond, mode="symmetric")


def quality_surface(
    scene: RasterScene,
    model: SegAssessModel,
    layer: ObjectLayer,
    plan: QualityPlan,
    progress: Progress,
    *,
    name: str = "quality",
    runs: RunSums | None = None,
) -> ScoreSurface:
    """Return the blended probabilities of one class of a mask, on the network's grid.

    Args:
        scene: Raster, grids and scratch folder.
        model: The network.
        layer: The objects of the class.
        plan: Views, variant and batch.
        progress: Told the finished fraction; raises to stop.
        name: Name of the scratch file.
        runs: Sums of the single views to fill, or None.

    Raises:
        JobError: ``OUT_OF_MEMORY``, ``DISK_FULL`` or ``CANCELLED``.
    """
    side = model.settings.tile
    overlap = tile_overlap(side)
    tiles = plan_tiles(scene.base.height, scene.base.width, side, overlap)
    network = QualityNetwork(scene, model, layer, plan, runs, tiles)
    surface = ScoreSurface(scene.folder, name, scene.base, CLASSES)
    windows = WindowPlan(side, side - overlap, plan.batch)
    match_windows(scene.reader, surface, network, windows, progress)
    return surface
