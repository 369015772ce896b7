"""Class scores over a whole raster: windows through a network, blended on disk.

Windows overlap and are weighted by linear ramps, so that no seam shows; a weight band beside the
scores tells which pixels were seen at all. Memory is that of one batch of windows, and one more
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
"""Pictures of one batch and their windows to (B, Q, H, W) float32 scores."""

LEAST_WEIGHT = 1e-6

# How far windows shrink when memory runs out, and how much smaller ones overlap.
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
        feathered: Whether windows are weighted by linear ramps in their overlaps; else they count
            alike there.
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
        ladder: What is done when the device's memory runs out.
    """

    network: WindowNetwork
    fallback: OutOfMemoryFallback


class ScoreSurface:
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
        """Return (Q + 1, h, w) float32: the scores, and last 1 where any window came, else 0."""
        bands = torch.from_numpy(self._bands.read(window))
        weights = bands[-1]
        seen = (weights > LEAST_WEIGHT).float()
        return torch.cat([bands[:-1] / weights.clamp(min=LEAST_WEIGHT), seen[None]])

    def close(self) -> None:
        """Give the disk's room back."""
        self._bands.close()


def scale_surfaces(
    scene: RasterScene, name: str, scales: Sequence[float], queries: int
) -> list[ScoreSurface]:
    """Return a surface for each scale of a raster.

    Args:
        scene: Its grids, and where scratch files lie.
        name: Of the scratch files.
        scales: Enlargements.
        queries: Number of score bands.

    Raises:
        JobError: The disk has no room for all of them.
    """
    return [
        ScoreSurface(scene.folder, f"{name}-{number}", scene.scale_grid(scale), queries)
        for number, scale in enumerate(scales)
    ]


def match_scales(
    reader: ChipReader,
    surfaces: Sequence[ScoreSurface],
    networks: Callable[[Grid], Sequence[DeviceNetwork]],
    plan: WindowPlan,
    progress: Progress,
) -> None:
    """Run networks over all windows of some grids, as `match_windows` does over those of one.

    Args:
        reader: Where pixels come from.
        surfaces: Where scores go.
        networks: Makes the copies of the network on each device, for the grid of a surface.
        plan: How each grid is cut.
        progress: Told the finished fraction.
    """
    work = np.cumsum([0.0, *(surface.grid.width * surface.grid.height for surface in surfaces)])
    shares = work / work[-1]
    for surface, start, end in zip(surfaces, shares, shares[1:]):
        part = share_of(progress, start, end)
        match_windows(reader, surface, networks(surface.grid), plan, part)


def match_windows(
    reader: ChipReader,
    surface: ScoreSurface,
    network: WindowNetwork | Sequence[DeviceNetwork],
    plan: WindowPlan,
    progress: Progress,
) -> None:
    """Run a network over all windows of the surface's grid and blend what it returns.

    Args:
        reader: Where pixels come from.
        surface: Where scores go.
        network: The network, or its copies on several devices: these share the windows.
        plan: How the grid is cut.
        progress: Told the finished fraction.

    Raises:
        JobError: ``OUT_OF_MEMORY`` when not even one window fits, ``CANCELLED``;
            ``DEVICE_UNAVAILABLE`` when one of several devices fails.
    """
    if callable(network):
        network = [DeviceNetwork(network, OutOfMemoryFallback())]
    grid = surface.grid
    tiles = plan_tiles(grid.height, grid.width, plan.size, plan.size - plan.stride)
    workers = [
        Worker(str(copy.fallback.device), partial(_run_batch, copy, plan)) for copy in network
    ]
    done = 0
    batches = read_batches(reader, grid, tiles, plan.size, plan.batch)
    for batch, scores in spread(workers, batches):
        for tile, tile_scores in zip(batch.tiles, scores, strict=True):
            weights = feather_weights(tile, tiles) if plan.feathered else None
            _blend(surface, tile, tile_scores, weights)
        if batch.tiles:
            done = tiles.index(batch.tiles[-1], done)
        progress((done + 1) / len(tiles))


def _blend(
    surface: ScoreSurface, tile: Tile, scores: Tensor, weights: NDArray[np.float32] | None
) -> None:
    height, width = int(tile.window.height), int(tile.window.width)
    if weights is None:
        weights = np.ones((height, width), dtype=np.float32)
    surface.add(tile.window, scores[:, :height, :width].numpy(), weights)


def _run_batch(copy: DeviceNetwork, plan: WindowPlan, batch: WindowBatch) -> list[Tensor]:
    """Return (Q, H, W) float32 on the CPU for each window."""

    def compute(items: Sequence[tuple[Window, Chip]]) -> list[Tensor]:
        scores = copy.network([picture for _, picture in items], [window for window, _ in items])
        return list(scores.float().cpu())

    def shrink(item: tuple[Window, Chip], level: int) -> Tensor:
        return _in_smaller_windows(copy.network, item, plan.side(level))

    work = Work(compute, shrink=shrink, levels=plan.levels)
    pairs = zip(batch.tiles, batch.pictures, strict=True)
    items = [(tile.window, picture) for tile, picture in pairs]
    with _current_device(copy.fallback.device):
        return copy.fallback.run(work, items)


def _in_smaller_windows(network: WindowNetwork, item: tuple[Window, Chip], side: int) -> Tensor:
    """Return the scores of one window from smaller ones, blended like windows are."""
    window, picture = item
    height, width = picture.valid.shape
    tiles = plan_tiles(height, width, side, round(side * SHRUNK_OVERLAP))
    total: Tensor | None = None
    for tile in tiles:
        rows, columns = tile.slices
        part = Chip(picture.pixels[:, rows, columns], picture.valid[rows, columns])
        if not part.valid.any():
            continue
        place = Window(
            window.col_off + tile.window.col_off, window.row_off + tile.window.row_off, side, side
        )
        scores = network([part], [place])[0].float().cpu()
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
