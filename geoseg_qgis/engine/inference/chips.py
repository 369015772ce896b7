"""The raster as networks read it: one stretch, one grid, batches of windows of one size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import Raster
from geoseg_qgis.engine.raster.stretch import LinearStretch
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .journal import NO_JOURNAL, Journal
from .windows import Tile

# A network drive may fail once; a file that fails twice is damaged.
READ_ATTEMPTS = 2


@dataclass(frozen=True)
class Chip:
    """Part of a raster, stretched to 8 bits.

    Attributes:
        pixels: (3, H, W) uint8, 0 where invalid.
        valid: (H, W) bool, False on nodata and outside the raster.
    """

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]

    def normalised(self, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        """Return (3, H, W) float32, ``(pixel - mean) / std``; invalid pixels become 0.

        Args:
            mean: Of each channel, in 0..255.
            std: Of each channel, in 0..255.
        """
        scaled = (torch.from_numpy(self.pixels).float() - torch.tensor(mean)[:, None, None]) / (
            torch.tensor(std)[:, None, None]
        )
        return scaled * torch.from_numpy(self.valid)

    def continued(self) -> NDArray[np.uint8]:
        """Return (3, H, W) uint8 with mirrored pixels around the valid area, its mean in the gaps.

        Networks that look for outlines would find one where the image ends in black.
        """
        rows, columns = (np.flatnonzero(self.valid.any(axis)) for axis in (1, 0))
        if self.valid.all() or not len(rows):
            return self.pixels
        mean = self.pixels[:, self.valid].mean(axis=1).round().astype(np.uint8)
        filled = np.where(self.valid, self.pixels, mean[:, None, None])
        (top, bottom), (left, right) = ((int(n[0]), int(n[-1]) + 1) for n in (rows, columns))
        height, width = self.valid.shape
        around = ((0, 0), (top, height - bottom), (left, width - right))
        return np.pad(filled[:, top:bottom, left:right], around, mode="symmetric")


class ChipReader:
    """Reads windows of a grid and remembers the places that could not be read.

    A second try opens the file anew, as the raster closes it after an error.
    """

    def __init__(self, raster: Raster, stretch: LinearStretch) -> None:
        self._raster = raster
        self._stretch = stretch
        self._failures: list[str] = []

    @property
    def failures(self) -> list[str]:
        """One sentence for each place that stayed unreadable after a second try."""
        return [*self._failures, *self._raster.failures]

    @property
    def source_grid(self) -> Grid:
        """The raster's own pixels."""
        return self._raster.grid

    def read(self, grid: Grid, window: Window) -> Chip | None:
        """Return the window, or None when it stayed unreadable after a second try."""
        for attempt in range(READ_ATTEMPTS):
            try:
                patch = self._raster.read(grid, window)
            except JobError as error:
                if error.code is not ErrorCode.SOURCE_UNREADABLE:
                    raise
                if attempt + 1 == READ_ATTEMPTS:
                    self._failures.append(error.message)
            else:
                return Chip(self._stretch.apply(patch.values, patch.valid), patch.valid)
        return None

    def valid(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """Return (h, w) bool, False on nodata and where the raster cannot be read."""
        chip = self.read(grid, window)
        if chip is None:
            return np.zeros((int(window.height), int(window.width)), dtype=bool)
        return chip.valid


@dataclass(frozen=True)
class RasterScene:
    """One run's raster, its grids and its scratch folder.

    Attributes:
        reader: Reads stretched pixels.
        output: Grid of the results.
        base: Grid that networks read at scale 1.0, over the same ground.
        folder: Where scratch files lie.
        journal: Keeps finished tiles, should the run be stopped.
    """

    reader: ChipReader
    output: Grid
    base: Grid
    folder: ScratchFolder
    journal: Journal = NO_JOURNAL

    def scale_grid(self, scale: float) -> Grid:
        """Return the grid of a scale: ``scale`` times as many pixels along each side."""
        if scale == 1.0:
            return self.base
        return self.base.rescaled(
            max(1, round(self.base.width * scale)), max(1, round(self.base.height * scale))
        )


@dataclass(frozen=True)
class WindowBatch:
    """Windows of one size that were read together.

    Attributes:
        tiles: Where they lie; the last ones of a grid may be smaller than the window.
        chips: One for each tile, all of the full window size.
    """

    tiles: list[Tile]
    chips: list[Chip]


def read_batch(reader: ChipReader, grid: Grid, group: Sequence[Tile], size: int) -> WindowBatch:
    """Read windows of one row together, as one strip; empty and unreadable ones are left out.

    Args:
        reader: Where pixels come from.
        grid: The grid of the tiles.
        group: Neighbours in a row, see `row_groups`.
        size: Side of a window in pixels; smaller rasters are padded with invalid pixels.
    """
    first, last = group[0].window, group[-1].window
    left, top = int(first.col_off), int(first.row_off)
    width = int(last.col_off) - left + size
    strip = reader.read(grid, Window(left, top, width, size))
    kept: list[Tile] = []
    chips: list[Chip] = []
    for tile in group:
        chip = (
            reader.read(grid, Window(int(tile.window.col_off), top, size, size))
            if strip is None
            else _cut(strip, int(tile.window.col_off) - left, size)
        )
        if chip is not None and chip.valid.any():
            kept.append(tile)
            chips.append(chip)
    return WindowBatch(kept, chips)


def _cut(strip: Chip, left: int, size: int) -> Chip:
    return Chip(strip.pixels[:, :, left : left + size], strip.valid[:, left : left + size])


def row_groups(tiles: Sequence[Tile], batch: int) -> Iterator[list[Tile]]:
    """Yield neighbours in a row together, at most ``batch`` of them.

    Args:
        tiles: In row-major order.
        batch: Most tiles in a group.
    """
    group: list[Tile] = []
    for tile in tiles:
        if group and (len(group) == batch or tile.row != group[0].row):
            yield group
            group = []
        group.append(tile)
    if group:
        yield group
