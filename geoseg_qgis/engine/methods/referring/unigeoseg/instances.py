"""Things that a look found, and where to look to see one of them closer."""

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

from .composite import sample

_FOUR = ndimage.generate_binary_structure(2, 1)
_GLANCE = 32

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the base grid."""


@dataclass(frozen=True)
class ZoomSettings:
    """How far and how often closer looks are taken.

    Attributes:
        threshold: Probability above which a pixel belongs to the answer.
        most_looks: Bound on closer looks of one run.
        room: Side of a look in sides of the thing in it.
        least_gain: Closer looks show pixels at least this many times finer.
        step: How many times finer tiles along an outline are than the look before.
        agreement: Least intersection over union of what two looks found.
    """

    threshold: float = 0.5
    most_looks: int = 128
    room: float = 1.5
    least_gain: float = 1.5
    step: float = 4.0
    agreement: float = 0.3


@dataclass(frozen=True, eq=False)
class Instance:
    """Connected pixels of a look that belong to the answer.

    Attributes:
        grid: The look's pixels.
        labels: (h, w) int32, the number of the thing at each pixel, 0 for none; shared by all
            things of a look.
        number: Which of them this is.
        pixel: Side of the look's pixels in pixels of the base grid.
    """

    grid: Grid
    labels: NDArray[np.int32]
    number: int
    pixel: float

    def mask_on(self, grid: Grid) -> NDArray[np.bool_]:
        """Return this thing's pixels on another grid."""
        return _sampled(self.labels == self.number, self.grid, grid) > 0.5

    def others_on(self, grid: Grid) -> NDArray[np.bool_]:
        """Return all pixels of another grid that another thing touches."""
        others = (self.labels > 0) & (self.labels != self.number)
        return _sampled(others, self.grid, grid) > 0.0

    def box_on(self, base: Grid) -> Box:
        """Return the box around it in pixels of the base grid."""
        rows, columns = self._place
        scale_x, offset_x, scale_y, offset_y = self.grid.axes_to(base)
        return (
            columns.start * scale_x + offset_x,
            rows.start * scale_y + offset_y,
            columns.stop * scale_x + offset_x,
            rows.stop * scale_y + offset_y,
        )

    def seen_by(self, grid: Grid) -> NDArray[np.bool_]:
        """Tell which pixel centres of another grid its look has seen: (h, w)."""
        scale_x, offset_x, scale_y, offset_y = grid.axes_to(self.grid)
        x = (np.arange(grid.width) + 0.5) * scale_x + offset_x
        y = (np.arange(grid.height) + 0.5) * scale_y + offset_y
        inside_x = (x >= 0) & (x <= self.grid.width)
        inside_y = (y >= 0) & (y <= self.grid.height)
        return np.logical_and.outer(inside_y, inside_x)

    @cached_property
    def _place(self) -> tuple[slice, slice]:
        rows, columns = ndimage.find_objects((self.labels == self.number).astype(np.uint8))[0]
        return rows, columns


def find_instances(grid: Grid, found: NDArray[np.bool_], pixel: float) -> list[Instance]:
    """Return the connected parts of a mask, the largest first.

    Args:
        grid: The look's pixels.
        found: (h, w), what belongs to the answer.
        pixel: Side of the look's pixels in pixels of the base grid.
    """
    labels, count = ndimage.label(found, _FOUR)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-areas, kind="stable") + 1
    return [Instance(grid, labels, int(number), pixel) for number in order]


def touching(found: NDArray[np.bool_], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the connected parts of ``found`` that meet ``mask``, all (h, w)."""
    labels, _ = ndimage.label(found, _FOUR)
    met = np.unique(labels[mask])
    return np.isin(labels, met[met > 0])


def closer_windows(
    thing: Instance, base: Grid, side: int, settings: ZoomSettings
) -> Iterator[tuple[Window, float]]:
    """Yield windows of the base grid that show a thing closer, and the pixel size for each.

    One window around the thing if that shows it finer, else tiles along its outline; none for a
    thing that was seen in pixels of the base grid.
    """
    left, top, right, bottom = thing.box_on(base)
    pixel = wanted_pixel(thing, base, side, settings)
    if thing.pixel >= settings.least_gain * pixel:
        across = _centred((left + right) / 2, pixel * side, base.width)
        down = _centred((top + bottom) / 2, pixel * side, base.height)
        yield Window(across[0], down[0], across[1], down[1]), pixel
        return
    finer = max(thing.pixel / settings.step, 1.0)
    if thing.pixel >= settings.least_gain * finer:
        yield from _outline_windows(thing, base, side, finer)


def wanted_pixel(thing: Instance, base: Grid, side: int, settings: ZoomSettings) -> float:
    """Return the pixel size of a look that shows a thing as a whole, in pixels of the base."""
    left, top, right, bottom = thing.box_on(base)
    return max(settings.room * max(right - left, bottom - top) / side, 1.0)


def _outline_windows(
    thing: Instance, base: Grid, side: int, pixel: float
) -> Iterator[tuple[Window, float]]:
    box = thing.box_on(base)
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
        part = thing.mask_on(base.window_grid(window).rescaled(_GLANCE, _GLANCE))
        if part.any() and not part.all():
            yield window, pixel


def _centred(centre: float, length: float, size: int) -> tuple[int, int]:
    """Return start and length of a span around a point, shifted to lie inside of an axis."""
    whole = min(round(length), size)
    return int(np.clip(round(centre - whole / 2), 0, size - whole)), whole


def _sampled(mask: NDArray[np.bool_], grid: Grid, target: Grid) -> NDArray[np.float32]:
    return sample(mask.astype(np.float32), grid, target)
