"""Class scores over a whole raster: windows through a network, blended on disk.

Windows overlap and are weighted by linear ramps, so that no seam shows; a weight band beside the
scores marks the pixels that any window covered. Memory holds one batch of windows, and one more
for every further device that the windows are spread over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.models.oom_fallback import OutOfMemoryFallback, Work
from geoseg_qgis.engine.progress import Progress, share_of
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchArray, ScratchFolder

from .chips import Chip, ChipReader, RasterScene, WindowBatch, read_batches
from .multi_gpu import Worker, spread
from .windows import Tile, feather_weights, plan_tiles

WindowNetwork = Callable[[list[Chip], list[Window]], Tensor]
"""Chips of one batch and their windows to (B, Q, H, W) float32 scores."""

# Less than at the corner of a ramp (5e-6 in windows of 224 pixels): no window lay there.
LEAST_WEIGHT = 1e-6

# Windows are halved at most twice when memory runs out, to no less than two cells of the network,
# and overlap by a quarter then, so that their edges are blended as well.
SHRINK_LEVELS = 2
LEAST_MULTIPLES = 2
SHRUNK_OVERLAP = 0.25


@dataclass(frozen=True)
class WindowPlan:
    """How a grid is cut.

    Attributes:
        size: Side of a window in pixels.
        stride: Step between windows in pixels.
        batch: Windows run together.
        multiple: The network also takes smaller windows whose sides are multiples of this many
            pixels, should memory run out; 0 when it takes no other side.
        feathered: Whether windows are weighted by linear ramps in their overlaps; else all windows
            have the same weight there.
    """

    size: int
    stride: int
    batch: int
    multiple: int = 0
    feathered: bool = True

    @property
    def levels(self) -> int:
        """How often windows may be halved."""
        if not self.multiple:
            return 0
        sides = [self.side(level) for level in range(1, SHRINK_LEVELS + 1)]
        least = LEAST_MULTIPLES * self.multiple
        return sum(least <= side < self.size for side in sides)

    def side(self, level: int) -> int:
        """Return the side of windows halved ``level`` times, rounded up to a whole multiple."""
        multiple = max(self.multiple, 1)
        return -(-self.size // (multiple << level)) * multiple


@dataclass(frozen=True)
class DeviceNetwork:
    """A window network on one device.

    Attributes:
        network: The network.
        fallback: What is done when the device's memory runs out.
    """

    network: WindowNetwork
    fallback: OutOfMemoryFallback


class ScoreRaster:
    """Blended scores of every query on a grid, kept on disk.

    Attributes:
        grid: Where the scores lie.
        queries: Number of score bands.
    """

    def __init__(self, folder: ScratchFolder, name: str, grid: Grid, queries: int) -> None:
        self.grid = grid
        self.queries = queries
        self._bands = ScratchArray(
            folder, name, queries + 1, grid.height, grid.width, np.dtype(np.float32)
        )

    def add(
        self, window: Window, scores: NDArray[np.float32], weights: NDArray[np.float32]
    ) -> None:
        """Add (Q, h, w) scores with (h, w) weights."""
        self._bands.add(window, np.concatenate([scores * weights, weights[None]]))

    def read_bands(self, window: Window) -> Tensor:
        """Return (Q + 1, h, w) float32: the scores, and last 1 where any window lay, else 0."""
        bands = torch.from_numpy(self._bands.read(window))
        weights = bands[-1]
        seen = (weights > LEAST_WEIGHT).float()
        return torch.cat([bands[:-1] / weights.clamp(min=LEAST_WEIGHT), seen[None]])

    def close(self) -> None:
        """Delete the file."""
        self._bands.close()


def make_score_rasters(
    scene: RasterScene, name: str, scales: Sequence[float], queries: int
) -> list[ScoreRaster]:
    """Return a score raster for each scale of a raster.

    Args:
        scene: Its grids, and where scratch files lie.
        name: Of the scratch files.
        scales: Enlargements.
        queries: Number of score bands.

    Raises:
        JobError: The disk has no room for all of them.
    """
    return [
        ScoreRaster(scene.folder, f"{name}-{number}", scene.scale_grid(scale), queries)
        for number, scale in enumerate(scales)
    ]


def match_scales(
    reader: ChipReader,
    score_rasters: Sequence[ScoreRaster],
    networks: Callable[[Grid], Sequence[DeviceNetwork]],
    plan: WindowPlan,
    progress: Progress,
) -> None:
    """Run networks over all windows of some grids, as `match_windows` does over those of one.

    Args:
        reader: Where pixels come from.
        score_rasters: Where scores go.
        networks: Returns the copies of the network, one a device, for the grid of a score raster.
        plan: How each grid is cut.
        progress: Takes the finished fraction.
    """
    pixels = [raster.grid.width * raster.grid.height for raster in score_rasters]
    work = np.cumsum([0.0, *pixels])
    shares = work / work[-1]
    for score_raster, start, end in zip(score_rasters, shares, shares[1:]):
        share = share_of(progress, start, end)
        match_windows(reader, score_raster, networks(score_raster.grid), plan, share)


def match_windows(
    reader: ChipReader,
    score_raster: ScoreRaster,
    network: WindowNetwork | Sequence[DeviceNetwork],
    plan: WindowPlan,
    progress: Progress,
) -> None:
    """Run a network over all windows of the score raster's grid and blend what it returns.

    Args:
        reader: Where pixels come from.
        score_raster: Where scores go.
        network: The network, or its copies on several devices, which share the windows.
        plan: How the grid is cut.
        progress: Takes the finished fraction.

    Raises:
        JobError: ``OUT_OF_MEMORY`` when not even one window fits, ``CANCELLED``;
            ``DEVICE_UNAVAILABLE`` when one of several devices fails.
    """
    if callable(network):
        network = [DeviceNetwork(network, OutOfMemoryFallback())]
    grid = score_raster.grid
    tiles = plan_tiles(grid.height, grid.width, plan.size, plan.size - plan.stride)
    workers = [
        Worker(str(copy.fallback.device), partial(_run_batch, copy, plan)) for copy in network
    ]
    done = 0
    batches = read_batches(reader, grid, tiles, plan.size, plan.batch)
    for batch, scores in spread(workers, batches):
        for tile, tile_scores in zip(batch.tiles, scores, strict=True):
            weights = feather_weights(tile, tiles) if plan.feathered else None
            _blend(score_raster, tile, tile_scores, weights)
        if batch.tiles:
            done = tiles.index(batch.tiles[-1], done)
        progress((done + 1) / len(tiles))


def _blend(
    score_raster: ScoreRaster, tile: Tile, scores: Tensor, weights: NDArray[np.float32] | None
) -> None:
    height, width = int(tile.window.height), int(tile.window.width)
    if weights is None:
        weights = np.ones((height, width), dtype=np.float32)
    score_raster.add(tile.window, scores[:, :height, :width].numpy(), weights)


def _run_batch(copy: DeviceNetwork, plan: WindowPlan, batch: WindowBatch) -> list[Tensor]:
    """Return (Q, H, W) float32 on the CPU for each window."""

    def compute(items: Sequence[tuple[Window, Chip]]) -> list[Tensor]:
        scores = copy.network([chip for _, chip in items], [window for window, _ in items])
        return list(scores.float().cpu())

    def shrink(item: tuple[Window, Chip], level: int) -> Tensor:
        return _in_smaller_windows(copy.network, item, plan.side(level))

    work = Work(compute, shrink=shrink, levels=plan.levels)
    pairs = zip(batch.tiles, batch.chips, strict=True)
    items = [(tile.window, chip) for tile, chip in pairs]
    with _current_device(copy.fallback.device):
        return copy.fallback.run(work, items)


def _in_smaller_windows(network: WindowNetwork, item: tuple[Window, Chip], side: int) -> Tensor:
    """Return the scores of one window from smaller ones, blended like windows are."""
    window, chip = item
    height, width = chip.valid.shape
    tiles = plan_tiles(height, width, side, round(side * SHRUNK_OVERLAP))
    total: Tensor | None = None
    for tile in tiles:
        rows, columns = tile.slices
        cut = Chip(chip.pixels[:, rows, columns], chip.valid[rows, columns])
        if not cut.valid.any():
            continue
        place = Window(
            window.col_off + tile.window.col_off, window.row_off + tile.window.row_off, side, side
        )
        scores = network([cut], [place])[0].float().cpu()
        if total is None:
            total = torch.zeros(len(scores), height, width)
        total[:, rows, columns] += scores * torch.from_numpy(feather_weights(tile, tiles))
    if total is None:
        raise ValueError("The window holds no data; leave such windows out.")
    return total


def _current_device(device: torch.device | None) -> contextlib.AbstractContextManager[object]:
    """Return the context in which a thread's kernels run on a card other than the first."""
    if device is None or device.type != "cuda":
        return contextlib.nullcontext()
    return torch.cuda.device(device)
