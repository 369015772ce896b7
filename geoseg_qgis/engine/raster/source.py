"""Reading of rasters: any window of any grid, as three bands of float32 and a validity mask.

Example:
    >>> with open_raster(RasterSource("orthophoto.tif")) as raster:  # doctest: +SKIP
    ...     grid = output_grid(raster.grid, GridRequest(resolution=0.3))
    ...     patch = raster.read(grid, Window(0, 0, 512, 512))
    ...     patch.values.shape
    (3, 512, 512)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geoseg_qgis.protocol.errors import JobError
from geoseg_qgis.protocol.source import RasterSource

from .bands import BandPlan, plan_bands
from .datasets import OpenDataset, open_dataset, unreadable
from .grid import Grid
from .resampling.reads import AxisSampling, resample, sample_axis
from .sparse import WrittenBlocks

# GDAL's own default is 5 % of the memory, which grows with the computer.
CACHE_BYTES = 256 * 1024 * 1024
# Source pixels that are read at once.
_BLOCK_BUDGET = 4 * 1024 * 1024
# Below this, reading an overview saves no time.
_OVERVIEW_FROM = 4.0
# Pixels; smaller pieces of a mosaic are given up when part of them is missing.
_SMALLEST_PIECE = 32


@dataclass(frozen=True)
class Patch:
    """Pixels of a window.

    Attributes:
        values: Band values, float32 of shape (3, h, w); 0 where invalid.
        valid: Which pixels hold data, of shape (h, w).
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]


class Raster:
    """An open raster; made by `open_raster`, safe to read from several threads.

    Attributes:
        grid: Its own pixels.
        bands: One-based numbers of the bands used as red, green and blue.
        dtype: Data type of the file, as numpy names it.
        is_palette: Whether they are colours of a palette.
        is_byte: Whether values can be displayed unchanged, as 0..255: plain 8-bit, or a palette.
        name: Name to show.
        failures: One sentence for each place of a mosaic whose pixels could not be read.
    """

    def __init__(self, source: RasterSource) -> None:
        self._source = source
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[OpenDataset] = []
        self.failures: list[str] = []
        first = self._handle(None)
        self.name = source.name or source.uri
        self.grid = first.grid(source.crs_wkt)
        self._plan: BandPlan = plan_bands(first.dataset, source)
        self._overviews: tuple[int, ...] = first.overviews()
        self._blocks = WrittenBlocks.of(first.dataset, self._plan.numbers)
        self.bands = self._plan.shown
        self.dtype: str = self._plan.dtype
        self.is_palette = self._plan.palette is not None
        self.is_byte = self._plan.is_byte
        if first.is_mosaic:
            self._reopen(None)

    def close(self) -> None:
        """Close the file in all threads."""
        with self._lock:
            for opened in self._open:
                opened.close()
            self._open.clear()
        self._local = threading.local()

    def read(self, grid: Grid, window: Window) -> Patch:
        """Return the pixels of a window of a grid.

        The grid may be coarser or finer than the raster and the window may reach outside. Coarser
        pixels are means of the valid pixels that they cover, finer ones are interpolated. Pixels
        outside are invalid, and so are nodata, transparent, masked and non-finite pixels and
        blocks that were never written to a sparse file.

        Args:
            grid: Grid on the axes of this raster.
            window: Window in whole pixels of ``grid``.

        Raises:
            JobError: ``SOURCE_UNREADABLE`` when the file is damaged there.
            ValueError: When the grid does not lie on the axes of the raster.
        """
        scale_x, _, scale_y, _ = grid.axes_to(self.grid)
        scale = min(scale_x, scale_y)
        fitting = [index for index, factor in enumerate(self._overviews) if 2 * factor <= scale]
        level = fitting[-1] if fitting and scale >= _OVERVIEW_FROM else None
        return self._read(grid, window, level)

    def _read(self, grid: Grid, window: Window, level: int | None) -> Patch:
        scale_x, offset_x, scale_y, offset_y = grid.axes_to(self.grid)
        dataset = self._handle(level).dataset
        ratio_x = self.grid.width / dataset.width
        ratio_y = self.grid.height / dataset.height
        view = _View(
            level,
            (dataset.height, dataset.width),
            (offset_x + window.col_off * scale_x) / ratio_x,
            scale_x / ratio_x,
            (offset_y + window.row_off * scale_y) / ratio_y,
            scale_y / ratio_y,
        )
        height, width = int(window.height), int(window.width)
        patch = Patch(
            np.zeros((3, height, width), dtype=np.float32),
            np.zeros((height, width), dtype=np.bool_),
        )
        self._fill(view, patch, (0, height), (0, width))
        return patch

    def has_data(self, grid: Grid, window: Window) -> bool:
        """Return whether any block under a window was written, without reading pixels.

        False only where a sparse file has no data, or outside the raster.
        """
        scale_x, offset_x, scale_y, offset_y = grid.axes_to(self.grid)
        left = max(int(np.floor(offset_x + window.col_off * scale_x)), 0)
        top = max(int(np.floor(offset_y + window.row_off * scale_y)), 0)
        right = min(
            int(np.ceil(offset_x + (window.col_off + window.width) * scale_x)), self.grid.width
        )
        bottom = min(
            int(np.ceil(offset_y + (window.row_off + window.height) * scale_y)), self.grid.height
        )
        if right <= left or bottom <= top:
            return False
        return self._blocks.any_in(top, bottom, left, right)

    def sample(self, grid: Grid, budget: int = 2_000_000) -> Patch:
        """Return about ``budget`` source pixels spread over the ground of ``grid``, unordered.

        They come from an overview of a suitable size, else from windows in a regular lattice, so
        that no large raster is decoded as a whole. Damaged windows are left out.

        Returns:
            A patch whose values have shape (3, 1, n).

        Raises:
            JobError: ``SOURCE_UNREADABLE`` when all of it is damaged.
        """
        scale_x, _, scale_y, _ = grid.axes_to(self.grid)
        full = grid.rescaled(
            max(round(grid.width * scale_x), 1), max(round(grid.height * scale_y), 1)
        )
        shrink = np.sqrt(full.width * float(full.height) / budget)
        enough = [index for index, factor in enumerate(self._overviews) if factor >= shrink]
        if shrink > 1.0 and enough and self._overviews[enough[0]] <= 2.0 * shrink:
            factor = self._overviews[enough[0]]
            small = grid.rescaled(-(-full.width // factor), -(-full.height // factor))
            whole = Window(0, 0, small.width, small.height)
            return _flatten([self._read(small, whole, enough[0])])
        patches, failure = [], None
        for window in self._lattice(full, budget):
            try:
                patches.append(self._read(full, window, None))
            except JobError as error:
                failure = error
        if failure is not None and not patches:
            raise failure
        return _flatten(patches)

    def _lattice(self, full: Grid, budget: int) -> list[Window]:
        side = 256
        windows = [
            Window(left, top, min(side, full.width), min(side, full.height))
            for top in _spread(full.height, side)
            for left in _spread(full.width, side)
        ]
        written = [window for window in windows if self.has_data(full, window)]
        keep = max(budget // (side * side), 1)
        chosen = np.linspace(0, len(written) - 1, min(keep, len(written))).round().astype(int)
        return [written[index] for index in chosen]

    def _handle(self, level: int | None) -> OpenDataset:
        handles: dict[int | None, OpenDataset] = self._local.__dict__.setdefault("handles", {})
        if level not in handles:
            handles[level] = open_dataset(self._source, level)
            with self._lock:
                self._open.append(handles[level])
        return handles[level]

    def _reopen(self, level: int | None) -> None:
        """Close this thread's handle: GDAL may read zeros from a damaged file next."""
        opened = self._local.handles.pop(level)
        with self._lock:
            self._open.remove(opened)
        opened.close()

    def _fill(
        self, view: _View, patch: Patch, rows: tuple[int, int], columns: tuple[int, int]
    ) -> None:
        down, across = view.sample(rows, columns)
        height, width = down.last - down.first, across.last - across.first
        if height == 0 or width == 0 or not self._written(view, down, across):
            return
        target_height, target_width = rows[1] - rows[0], columns[1] - columns[0]
        if height * width > _BLOCK_BUDGET and target_height * target_width > 1:
            if target_height >= target_width:
                middle = (rows[0] + rows[1]) // 2
                self._fill(view, patch, (rows[0], middle), columns)
                self._fill(view, patch, (middle, rows[1]), columns)
            else:
                middle = (columns[0] + columns[1]) // 2
                self._fill(view, patch, rows, (columns[0], middle))
                self._fill(view, patch, rows, (middle, columns[1]))
            return
        place = (slice(*rows), slice(*columns))
        values, valid = self._read_pixels(view, down, across)
        values, valid = resample(values, valid, down, across)
        patch.values[(slice(None), *place)] = values
        patch.valid[place] = valid

    def _written(self, view: _View, down: AxisSampling, across: AxisSampling) -> bool:
        ratio_y, ratio_x = self.grid.height / view.shape[0], self.grid.width / view.shape[1]
        return self._blocks.any_in(
            int(down.first * ratio_y),
            int(np.ceil(down.last * ratio_y)),
            int(across.first * ratio_x),
            int(np.ceil(across.last * ratio_x)),
        )

    def _read_pixels(
        self, view: _View, down: AxisSampling, across: AxisSampling
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        window = Window(
            across.first, down.first, across.last - across.first, down.last - down.first
        )
        values, valid = self._read_window(view, window)
        if not self._blocks.complete:
            ratio_y, ratio_x = self.grid.height / view.shape[0], self.grid.width / view.shape[1]
            rows = ((np.arange(down.first, down.last) + 0.5) * ratio_y).astype(np.int64)
            columns = ((np.arange(across.first, across.last) + 0.5) * ratio_x).astype(np.int64)
            valid &= self._blocks.at(rows, columns)
        return values, valid

    def _read_window(
        self, view: _View, window: Window
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        opened = self._handle(view.level)
        try:
            return self._plan.read(opened.dataset, window)
        except (RasterioError, ValueError, MemoryError) as error:
            self._reopen(view.level)
            failure = unreadable(self.name, error)
            if not opened.is_mosaic or isinstance(error, MemoryError):
                raise failure from error
        return self._read_pieces(view, window, failure)

    def _read_pieces(
        self, view: _View, window: Window, failure: JobError
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read what can be read of a window of a mosaic; the rest is invalid and reported.

        Raises:
            JobError: ``SOURCE_UNREADABLE`` when none of it can be read.
        """
        height, width = int(window.height), int(window.width)
        if max(height, width) <= _SMALLEST_PIECE:
            raise failure
        values = np.zeros((3, height, width), np.float32)
        valid = np.zeros((height, width), np.bool_)
        lost, pieces = 0, list(_quarters(height, width))
        for rows, columns in pieces:
            piece = Window(
                window.col_off + columns.start,
                window.row_off + rows.start,
                columns.stop - columns.start,
                rows.stop - rows.start,
            )
            try:
                values[:, rows, columns], valid[rows, columns] = self._read_window(view, piece)
            except JobError as error:
                failure, lost = error, lost + 1
        if lost == len(pieces):
            raise failure
        if lost:
            with self._lock:
                self.failures.append(failure.message)
        return values, valid


def _quarters(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of the quarters of an array; halves where it is one pixel wide."""
    for top, bottom in ((0, height // 2), (height // 2, height)):
        for left, right in ((0, width // 2), (width // 2, width)):
            if bottom > top and right > left:
                yield slice(top, bottom), slice(left, right)


@dataclass(frozen=True)
class _View:
    """Where the pixels of a window are on those of a dataset or one of its overviews."""

    level: int | None
    shape: tuple[int, int]
    left: float
    step_x: float
    top: float
    step_y: float

    def sample(
        self, rows: tuple[int, int], columns: tuple[int, int]
    ) -> tuple[AxisSampling, AxisSampling]:
        top = self.top + rows[0] * self.step_y
        left = self.left + columns[0] * self.step_x
        return (
            sample_axis(top, self.step_y, rows[1] - rows[0], self.shape[0]),
            sample_axis(left, self.step_x, columns[1] - columns[0], self.shape[1]),
        )


def _flatten(patches: list[Patch]) -> Patch:
    values = [patch.values.reshape(3, 1, -1) for patch in patches]
    valid = [patch.valid.reshape(1, -1) for patch in patches]
    return Patch(
        np.concatenate([np.zeros((3, 1, 0), np.float32), *values], axis=2),
        np.concatenate([np.zeros((1, 0), np.bool_), *valid], axis=1),
    )


def _spread(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    count = min(-(-length // side), 256)
    return [int(start) for start in np.linspace(0, length - side, count)]


@contextmanager
def open_raster(source: RasterSource) -> Iterator[Raster]:
    """Open a raster for reading, with a limit on GDAL's block cache.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when it cannot be opened or has no usable bands;
            ``INVALID_JOB`` for bands that it does not have.
    """
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
        raster = Raster(source)
        stack.callback(raster.close)
        yield raster
