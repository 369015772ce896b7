"""Class scores over a whole raster: windows through a network, blended on disk.

Windows overlap and are weighted by linear ramps, so that no seam shows; a weight band beside the
scores marks the pixels that any window covered. Memory holds one batch of windows, and one more
for every further device that the windows are spread over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.models.oom_fallback import OutOfMemoryFallback, Work
from geoseg_qgis.engine.progress import Progress, share_of
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear
from geoseg_qgis.engine.raster.scratch import ScratchArray, ScratchFolder

from .chips import Chip, ChipReader, RasterScene, WindowBatch, read_batch, row_groups
from .journal import NO_JOURNAL, Arrays, Journal, Stage
from .multi_gpu import Worker, spread
from .windows import Tile, feather_weights, plan_tiles

WindowNetwork = Callable[[list[Chip], list[Window]], Tensor]
"""Chips of one batch and their windows to (B, Q, h, w) float32 scores.

Scores on coarser cells than the pixels of the chips are enlarged to them, bilinear. Finished
windows are kept as the network returns them, so coarse scores take little space.
"""

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


class ByProducts(Protocol):
    """What a network makes of windows besides their scores, for example sums over objects."""

    def take(self, windows: Sequence[Window]) -> Arrays:
        """Return, once, what the network made of windows that it has just computed."""

    def restore(self, windows: Sequence[Window], arrays: Arrays) -> None:
        """Do with the by-products of windows what was done when they were computed."""


class ScoreRaster:
    """Blended scores of every query on a grid, kept on disk.

    Args:
        folder: Where its file lies.
        name: Of the file, and of the stage of the run.
        grid: Where the scores lie.
        queries: Number of score bands.
        journal: Keeps finished windows.

    Attributes:
        name: As given.
        grid: As given.
        queries: As given.
        journal: As given.
    """

    def __init__(
        self,
        folder: ScratchFolder,
        name: str,
        grid: Grid,
        queries: int,
        journal: Journal = NO_JOURNAL,
    ) -> None:
        self.name = name
        self.grid = grid
        self.queries = queries
        self.journal = journal
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
        ScoreRaster(
            scene.folder, f"{name}-{number}", scene.scale_grid(scale), queries, scene.journal
        )
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


def match_windows(  # noqa: PLR0917
    reader: ChipReader,
    score_raster: ScoreRaster,
    network: WindowNetwork | Sequence[DeviceNetwork],
    plan: WindowPlan,
    progress: Progress,
    by_products: ByProducts | None = None,
) -> None:
    """Run a network over all windows of the score raster's grid and blend what it returns.

    Windows that the score raster's journal knows from an earlier run are neither read nor computed.

    Args:
        reader: Where pixels come from.
        score_raster: Where scores go.
        network: The network, or its copies on several devices, which share the windows.
        plan: How the grid is cut.
        progress: Takes the finished fraction.
        by_products: What a single network makes besides scores.

    Raises:
        JobError: ``OUT_OF_MEMORY`` when not even one window fits, ``CANCELLED``;
            ``DEVICE_UNAVAILABLE`` when one of several devices fails.
    """
    if callable(network):
        network = [DeviceNetwork(network, OutOfMemoryFallback())]
    grid = score_raster.grid
    tiles = plan_tiles(grid.height, grid.width, plan.size, plan.size - plan.stride)
    identity = (plan, grid.transform, grid.shape, score_raster.queries)
    stage = score_raster.journal.stage(score_raster.name, identity, len(tiles))
    workers = [
        Worker(str(copy.fallback.device), partial(_run_group, copy, plan)) for copy in network
    ]
    done = 0
    for group, scores in spread(workers, _groups(reader, grid, tiles, plan, stage)):
        windows = [tile.window for tile in group.batch.tiles]
        products = [] if by_products is None else _products(by_products, group, windows)
        if group.found is None and group.whole and scores.cells is not None:
            stage.keep(group.key, [group.places, scores.cells.numpy(), *products], group.count)
        for tile, tile_scores in zip(group.batch.tiles, scores.pixels, strict=True):
            weights = feather_weights(tile, tiles) if plan.feathered else None
            _blend(score_raster, tile, tile_scores, weights)
        if group.batch.tiles:
            done = tiles.index(group.batch.tiles[-1], done)
        progress((done + 1) / len(tiles))


@dataclass(frozen=True)
class _Group:
    """Windows of a row that are computed together.

    Attributes:
        key: Of the group in the journal.
        count: Its windows.
        places: Which of them hold data, (n,).
        batch: Those, and their chips unless an earlier run has computed them.
        found: What an earlier run has kept: places, scores on cells, by-products.
        whole: Whether all of it could be read.
    """

    key: str
    count: int
    places: NDArray[np.int32]
    batch: WindowBatch
    found: Arrays | None
    whole: bool


@dataclass(frozen=True)
class _GroupScores:
    """The scores of a group.

    Attributes:
        cells: As the network returned them, (B, Q, h, w) on the CPU; None when windows were cut.
        pixels: Those of each window, (Q, H, W) on the CPU.
    """

    cells: Tensor | None
    pixels: list[Tensor]


def _groups(
    reader: ChipReader, grid: Grid, tiles: list[Tile], plan: WindowPlan, stage: Stage
) -> Iterator[_Group]:
    for group in row_groups(tiles, plan.batch):
        key = f"{group[0].row}-{group[0].column}"
        found = stage.find(key)
        if found is not None:
            places = found[0]
            batch = WindowBatch([group[place] for place in places], [])
            yield _Group(key, len(group), places, batch, found, whole=True)
            continue
        failures = stage.failures
        batch = read_batch(reader, grid, group, plan.size)
        places = np.array([group.index(tile) for tile in batch.tiles], np.int32)
        yield _Group(key, len(group), places, batch, None, whole=stage.failures == failures)


def _products(by_products: ByProducts, group: _Group, windows: list[Window]) -> list[NDArray[Any]]:
    if group.found is None:
        return by_products.take(windows)
    by_products.restore(windows, group.found[2:])
    return []


def _blend(
    score_raster: ScoreRaster, tile: Tile, scores: Tensor, weights: NDArray[np.float32] | None
) -> None:
    height, width = int(tile.window.height), int(tile.window.width)
    if weights is None:
        weights = np.ones((height, width), dtype=np.float32)
    score_raster.add(tile.window, scores[:, :height, :width].numpy(), weights)


@torch.inference_mode()
def _enlarged(cells: Tensor, size: tuple[int, int]) -> Tensor:
    return resize_bilinear(cells, size).float().cpu()


def _run_group(copy: DeviceNetwork, plan: WindowPlan, group: _Group) -> _GroupScores:
    """Return the scores of a group, from the network or as an earlier run has kept them."""
    size = (plan.size, plan.size)
    if not group.batch.tiles:
        return _GroupScores(torch.zeros(0), [])
    with _current_device(copy.fallback.device):
        if group.found is not None:
            cells = torch.from_numpy(group.found[1]).to(copy.fallback.device or "cpu")
            return _GroupScores(None, list(_enlarged(cells, size)))
        return _run_batch(copy, plan, group.batch)


def _run_batch(copy: DeviceNetwork, plan: WindowPlan, batch: WindowBatch) -> _GroupScores:
    parts: list[Tensor] = []

    def compute(items: Sequence[tuple[Window, Chip]]) -> list[Tensor]:
        chips = [chip for _, chip in items]
        # Enlarged alike whether they come from the network or from the disk.
        cells = copy.network(chips, [window for window, _ in items]).float().contiguous()
        pixels = list(_enlarged(cells, chips[0].valid.shape))
        parts.append(cells.cpu())
        return pixels

    def shrink(item: tuple[Window, Chip], level: int) -> Tensor:
        return _in_smaller_windows(copy.network, item, plan.side(level))

    work = Work(compute, shrink=shrink, levels=plan.levels)
    pairs = zip(batch.tiles, batch.chips, strict=True)
    pixels = copy.fallback.run(work, [(tile.window, chip) for tile, chip in pairs])
    cells = torch.cat(parts) if parts else torch.zeros(0)
    return _GroupScores(cells if len(cells) == len(pixels) else None, pixels)


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
        scores = _enlarged(network([cut], [place]), cut.valid.shape)[0]
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
