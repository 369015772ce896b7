"""Class scores over a whole raster: windows through a network, blended on disk.

Windows overlap and are weighted by linear ramps, so that no seam shows; a weight band beside the
scores tells which pixels were seen at all. Memory is that of one batch of windows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from ...protocol.errors import ErrorCode, JobError
from ..raster.grid import Grid
from ..raster.scratch import ScratchArray, ScratchFolder
from ..raster.tiles import Tile, feather_weights, plan_tiles
from .reading import Picture, PictureReader, WindowBatch, read_batches

WindowNetwork = Callable[[list[Picture], list[Window]], Tensor]
"""Pictures of one batch and their windows to (B, Q, H, W) float32 scores."""

Progress = Callable[[float], None]
"""Takes the finished fraction in 0..1; raises `CancelledError` when the user cancelled."""

logger = logging.getLogger(__name__)

LEAST_WEIGHT = 1e-6


def share_of(progress: Progress, start: float, end: float) -> Progress:
    """Return a progress whose 0..1 lies between ``start`` and ``end`` of another."""

    def report(fraction: float) -> None:
        progress(start + (end - start) * fraction)

    return report


@dataclass(frozen=True)
class WindowPlan:
    """How a grid is cut: side and step of windows in pixels, windows a batch."""

    size: int
    stride: int
    batch: int


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


def match_windows(
    reader: PictureReader,
    surface: ScoreSurface,
    network: WindowNetwork,
    plan: WindowPlan,
    progress: Progress,
) -> None:
    """Run ``network`` over all windows of the surface's grid and blend what it returns.

    Raises:
        JobError: ``OUT_OF_MEMORY`` when not even one window fits, ``CANCELLED``.
    """
    grid = surface.grid
    tiles = plan_tiles(grid.height, grid.width, plan.size, plan.size - plan.stride)
    done = 0
    for batch in read_batches(reader, grid, tiles, plan.size, plan.batch):
        if batch.tiles:
            scores = _run_batch(network, batch)
            for tile, tile_scores in zip(batch.tiles, scores, strict=True):
                _blend(surface, tile, tile_scores, tiles)
            done = tiles.index(batch.tiles[-1], done)
        progress((done + 1) / len(tiles))


def _blend(surface: ScoreSurface, tile: Tile, scores: Tensor, tiles: list[Tile]) -> None:
    height, width = int(tile.window.height), int(tile.window.width)
    values = scores[:, :height, :width].float().cpu().numpy()
    surface.add(tile.window, values, feather_weights(tile, tiles))


def _run_batch(network: WindowNetwork, batch: WindowBatch) -> list[Tensor]:
    """Run a batch, in halves when memory does not suffice."""
    try:
        return list(network(batch.pictures, [tile.window for tile in batch.tiles]))
    except (torch.OutOfMemoryError, MemoryError) as error:
        if len(batch.tiles) == 1:
            raise JobError(
                ErrorCode.OUT_OF_MEMORY,
                "One window of the image does not fit into the memory of the device.",
                "Choose a smaller model or the device cpu.",
                str(error),
            ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch.tiles) // 2
    logger.warning("Out of memory: batches of %d windows from here on.", middle)
    return [
        scores
        for part in (slice(None, middle), slice(middle, None))
        for scores in _run_batch(network, WindowBatch(batch.tiles[part], batch.pictures[part]))
    ]
