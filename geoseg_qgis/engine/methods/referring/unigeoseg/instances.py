"""Connected areas that a chip shows, and the windows that show one of them in finer pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.inference.windows import plan_tiles
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.arrays import sample_grid

_FOUR = ndimage.generate_binary_structure(2, 1)
# Pixels a side of the thumbnail that shows whether a tile holds part of an outline.
_THUMBNAIL = 32

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the base grid."""


@dataclass(frozen=True)
class ZoomSettings:
    """How closely and how often a run zooms in.

    Attributes:
        threshold: Probability above which a pixel is foreground.
        most_chips: Most zoom-ins of a run; it bounds time and memory on huge extents.
        room: Side of a zoom-in in sides of the instance in it.
        least_gain: A zoom-in has pixels at least this many times finer.
        step: How many times finer the tiles along an outline are than the chip before.
        agreement: Least intersection over union of an instance and its zoom-in.
    """

    threshold: float = 0.5
    most_chips: int = 128
    room: float = 1.5
    least_gain: float = 1.5
    step: float = 4.0
    agreement: float = 0.3


@dataclass(frozen=True, eq=False)
class Instance:
    """A connected area of foreground pixels in a chip.

    Attributes:
        grid: The chip's pixels.
        labels: (h, w) int32, the number of the instance at each pixel, 0 for none; shared by all
            instances of a chip.
        number: Number of this instance.
        pixel: Side of the chip's pixels in pixels of the base grid.
    """

    grid: Grid
    labels: NDArray[np.int32]
    number: int
    pixel: float

    def mask_on(self, grid: Grid) -> NDArray[np.bool_]:
        """Return the pixels of another grid in this instance: (h, w)."""
        return _sampled(self.labels == self.number, self.grid, grid) > 0.5

    def others_on(self, grid: Grid) -> NDArray[np.bool_]:
        """Return the pixels of another grid that touch another instance: (h, w)."""
        others = (self.labels > 0) & (self.labels != self.number)
        return _sampled(others, self.grid, grid) > 0.0

    def box_on(self, base: Grid) -> Box:
        """Return the bounding box in pixels of the base grid."""
        rows, columns = self._slices
        scale_x, offset_x, scale_y, offset_y = self.grid.axes_to(base)
        return (
            columns.start * scale_x + offset_x,
            rows.start * scale_y + offset_y,
            columns.stop * scale_x + offset_x,
            rows.stop * scale_y + offset_y,
        )

    def chip_on(self, grid: Grid) -> NDArray[np.bool_]:
        """Return the pixels of another grid whose centres lie in this instance's chip: (h, w)."""
        scale_x, offset_x, scale_y, offset_y = grid.axes_to(self.grid)
        x = (np.arange(grid.width) + 0.5) * scale_x + offset_x
        y = (np.arange(grid.height) + 0.5) * scale_y + offset_y
        inside_x = (x >= 0) & (x <= self.grid.width)
        inside_y = (y >= 0) & (y <= self.grid.height)
        return np.logical_and.outer(inside_y, inside_x)

    @cached_property
    def _slices(self) -> tuple[slice, slice]:
        rows, columns = ndimage.find_objects((self.labels == self.number).astype(np.uint8))[0]
        return rows, columns


def find_instances(grid: Grid, foreground: NDArray[np.bool_], pixel: float) -> list[Instance]:
    """Return the 4-connected areas of a mask, the largest first.

    Args:
        grid: The chip's pixels.
        foreground: (h, w).
        pixel: Side of the chip's pixels in pixels of the base grid.
    """
    numbers, count = ndimage.label(foreground, _FOUR)
    labels = numbers.astype(np.int32, copy=False)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-areas, kind="stable") + 1
    return [Instance(grid, labels, int(number), pixel) for number in order]


def areas_touching(foreground: NDArray[np.bool_], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the 4-connected areas of ``foreground`` that share a pixel with ``mask``: (h, w)."""
    labels, _ = ndimage.label(foreground, _FOUR)
    touched = np.unique(labels[mask])
    return np.isin(labels, touched[touched > 0])


def zoom_windows(
    instance: Instance, base: Grid, side: int, settings: ZoomSettings
) -> Iterator[tuple[Window, float]]:
    """Yield windows of the base grid that show an instance in finer pixels, and their pixel size.

    One window around the instance where that makes its pixels finer, else tiles along its outline.
    There are none for an instance that was found in pixels of the base grid.

    Args:
        instance: What to show.
        base: The finest pixels.
        side: Side of the network's square in pixels.
        settings: See `ZoomSettings`.
    """
    left, top, right, bottom = instance.box_on(base)
    pixel = whole_instance_pixel(instance, base, side, settings)
    if instance.pixel >= settings.least_gain * pixel:
        across = _centred((left + right) / 2, pixel * side, base.width)
        down = _centred((top + bottom) / 2, pixel * side, base.height)
        yield Window(across[0], down[0], across[1], down[1]), pixel
        return
    finer = max(instance.pixel / settings.step, 1.0)
    if instance.pixel >= settings.least_gain * finer:
        yield from _outline_windows(instance, base, side, finer)


def whole_instance_pixel(
    instance: Instance, base: Grid, side: int, settings: ZoomSettings
) -> float:
    """Return the pixel size, in pixels of the base grid, at which a chip shows a whole instance."""
    left, top, right, bottom = instance.box_on(base)
    return max(settings.room * max(right - left, bottom - top) / side, 1.0)


def _outline_windows(
    instance: Instance, base: Grid, side: int, pixel: float
) -> Iterator[tuple[Window, float]]:
    box = instance.box_on(base)
    left, top = max(int(box[0]), 0), max(int(box[1]), 0)
    right, bottom = min(int(np.ceil(box[2])), base.width), min(int(np.ceil(box[3])), base.height)
    size = round(side * pixel)
    for tile in plan_tiles(bottom - top, right - left, size, size // 4):
        window = Window(
            left + tile.window.col_off,
            top + tile.window.row_off,
            tile.window.width,
            tile.window.height,
        )
        mask = instance.mask_on(base.window_grid(window).rescaled(_THUMBNAIL, _THUMBNAIL))
        if mask.any() and not mask.all():
            yield window, pixel


def _centred(centre: float, length: float, size: int) -> tuple[int, int]:
    """Return start and length of a span around a point, shifted to lie inside of an axis."""
    whole = min(round(length), size)
    return int(np.clip(round(centre - whole / 2), 0, size - whole)), whole


def _sampled(mask: NDArray[np.bool_], grid: Grid, target: Grid) -> NDArray[np.float32]:
    return sample_grid(mask.astype(np.float32), grid, target)
