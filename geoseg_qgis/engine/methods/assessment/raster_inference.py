"""SegAssess over a raster of any size: tiles through the network, blended on disk.

The mask lies on the output grid; the network reads its nearest pixels. Probabilities are blended,
never classes, so there are no seams.
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

from geoseg_qgis.engine.inference.blending import ScoreRaster, WindowPlan, match_windows
from geoseg_qgis.engine.inference.chips import Chip, RasterScene
from geoseg_qgis.engine.inference.journal import Arrays
from geoseg_qgis.engine.inference.windows import Tile, feather_weights, plan_tiles
from geoseg_qgis.engine.models.segassess.component import SegAssessModel
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.grids import nearest_window

from .quality_classes import Variant, mask_of
from .view_sums import SheetSums, SummedTile, TileViewSums, ViewSums
from .views import View, ViewResult, assess_views, average_views

CLASSES = 4
# Patches at the edge of a tile have neighbours on one side only; 64 pixels are four patches.
_SMALLEST_OVERLAP = 64
_OVERLAP_SHARE = 8
# Bounds the memory of masks that are read on pixels much finer than those of the network.
_PIXELS_AT_ONCE = 8_000_000


class ObjectLayer(Protocol):
    """The objects of one class of a mask, on the output grid."""

    def read_sheets(self, window: Window) -> NDArray[np.int32]:
        """Return (S, h, w) object ids, 0 for none; objects that overlap lie on different sheets."""


@dataclass(frozen=True)
class QualityPlan:
    """How a raster is run through the network.

    Attributes:
        views: Views of each tile.
        variant: Whether the mask constrains the probabilities.
        batch: Tiles run together; halved automatically when memory runs out.
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
    """Turns chips and their mask into the probabilities of TP, FP, TN and FN.

    Args:
        scene: Grids of mask and network.
        model: The network.
        layer: The mask.
        plan: Views and variant.
        sums: Sums of the views to fill, or None.
        tiles: The tiles of the network's grid, for the blending weights of the sums.
    """

    def __init__(  # noqa: PLR0917
        self,
        scene: RasterScene,
        model: SegAssessModel,
        layer: ObjectLayer,
        plan: QualityPlan,
        sums: ViewSums | None,
        tiles: Sequence[Tile],
    ) -> None:
        self._scene = scene
        self._model = model
        self._layer = layer
        self._plan = plan
        self._sums = sums
        self._plan_tiles = tiles
        self._computed: dict[tuple[float, float], SummedTile] = {}
        self._tiles = {(tile.window.row_off, tile.window.col_off): tile for tile in tiles}

    def __call__(self, chips: list[Chip], windows: list[Window]) -> Tensor:
        """Return (B, 4, H, W) float32 probabilities."""
        side = chips[0].valid.shape[0]
        grids = (self._scene.output, self._scene.base)
        sheets = [sample_sheets(self._layer, *grids, window) for window in windows]
        masks = [fill_square(mask_of(one).astype(np.uint8), side) for one in sheets]
        images = [
            fill_square(chip.pixels[:, : int(window.height), : int(window.width)], side)
            for chip, window in zip(chips, windows, strict=True)
        ]
        tile_sums = self._tile_sums(chips, windows, sheets)
        device = self._model.device
        with self._model.precision():
            views = assess_views(
                self._model.module,
                torch.from_numpy(np.stack(images)).to(device).float() / 255.0,
                torch.from_numpy(np.stack(masks))[:, None].to(device).float(),
                self._plan.views,
            )
            probabilities = average_views(self._added(views, tile_sums))
        for window, one in zip(windows, tile_sums, strict=False):
            self._computed[window.row_off, window.col_off] = one.summed
        return probabilities

    def take(self, windows: Sequence[Window]) -> Arrays:
        """Add the sums of tiles that were just computed, and return them as arrays."""
        arrays: Arrays = []
        for window in windows:
            tile = self._computed.pop((window.row_off, window.col_off), None)
            if tile is not None:
                self._add(tile)
                arrays += [tile.totals, np.array(len(tile.sheets), np.int32)]
                arrays += [array for sheet in tile.sheets for array in sheet]
        return arrays

    def restore(self, windows: Sequence[Window], arrays: Arrays) -> None:
        """Add the sums of tiles that an earlier run has computed."""
        rest = iter(arrays)
        for _, totals in zip(windows, rest, strict=False):
            sheets = tuple(SheetSums(next(rest), next(rest)) for _ in range(int(next(rest))))
            self._add(SummedTile(totals, sheets))

    def _add(self, tile: SummedTile) -> None:
        if self._sums is not None:
            self._sums.add(tile)

    def _tile_sums(
        self, chips: list[Chip], windows: list[Window], sheets: list[NDArray[np.int32]]
    ) -> list[TileViewSums]:
        places = [(window.row_off, window.col_off) for window in windows]
        if self._sums is None or not all(place in self._tiles for place in places):
            return []
        tile_sums = []
        for chip, window, one in zip(chips, windows, sheets, strict=True):
            tile = self._tiles[window.row_off, window.col_off]
            valid = chip.valid[: int(window.height), : int(window.width)]
            weights = feather_weights(tile, self._plan_tiles)
            tile_sums.append(
                TileViewSums(self._sums.views, one, valid, weights, self._sums.options)
            )
        return tile_sums

    def _added(
        self, views: Iterator[ViewResult], tile_sums: list[TileViewSums]
    ) -> Iterator[ViewResult]:
        """Pass views on, and add them to the sums."""
        for number, view in enumerate(views):
            if tile_sums:
                probabilities = view.probabilities.float().cpu().numpy()
                covered = view.covered.cpu().numpy()
                for sums, one in zip(tile_sums, probabilities, strict=True):
                    height, width = sums.shape
                    sums.add(
                        number,
                        one[:, :height, :width],
                        covered[:height, :width],
                        self._plan.variant,
                    )
            yield view


def fill_square(values: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Continue (..., h, w) to the right and below by its mirror image, to (..., side, side)."""
    height, width = values.shape[-2:]
    if (height, width) == (side, side):
        return values
    beyond = [(0, 0)] * (values.ndim - 2) + [(0, side - height), (0, side - width)]
    return np.pad(values, beyond, mode="symmetric")


def infer_quality(
    scene: RasterScene,
    model: SegAssessModel,
    layer: ObjectLayer,
    plan: QualityPlan,
    progress: Progress,
    *,
    name: str = "quality",
    sums: ViewSums | None = None,
) -> ScoreRaster:
    """Return the blended probabilities of one class of a mask, on the network's grid.

    Args:
        scene: Raster, grids and scratch folder.
        model: The network.
        layer: The objects of the class.
        plan: Views, variant and batch.
        progress: Called with the finished fraction; raises to stop.
        name: Name of the scratch file.
        sums: Sums of the views to fill, or None.

    Raises:
        JobError: ``OUT_OF_MEMORY``, ``DISK_FULL`` or ``CANCELLED``.
    """
    side = model.settings.tile
    overlap = tile_overlap(side)
    tiles = plan_tiles(scene.base.height, scene.base.width, side, overlap)
    network = QualityNetwork(scene, model, layer, plan, sums, tiles)
    blended = ScoreRaster(scene.folder, name, scene.base, CLASSES, scene.journal)
    windows = WindowPlan(side, side - overlap, plan.batch)
    match_windows(scene.reader, blended, network, windows, progress, network)
    return blended
