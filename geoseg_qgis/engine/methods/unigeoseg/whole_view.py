"""One instruction asked of a whole extent: an overview first, then closer looks at what it found.

Positions, comparisons and counts are true of the extent only, so the instruction itself is asked
once, of all of it. The closer looks ask the network for the thing in a box, the box being where the
overview found one; a look that finds something else than the overview is not used. A thing that
does not fit into one look at full detail is followed along its outline, in finer and finer tiles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.methods.dense import Progress, share_of
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.tiles import plan_tiles

from .layers import Layer, LayeredSurface, sample
from .letterbox import Letterbox
from .looking import Looker

_FOUR = ndimage.generate_binary_structure(2, 1)


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
    most_looks: int = 64
    room: float = 1.5
    least_gain: float = 1.5
    step: float = 4.0
    agreement: float = 0.3


@dataclass(frozen=True)
class Thing:
    """Connected pixels of a look that belong to the answer.

    Attributes:
        grid: The look's pixels.
        mask: (h, w) bool.
        others: (h, w) bool, other things of the answer, which a look at this one must leave alone.
        pixel: Side of the look's pixels in pixels of the base grid.
    """

    grid: Grid
    mask: NDArray[np.bool_]
    others: NDArray[np.bool_]
    pixel: float


@dataclass(frozen=True)
class WholeAnswer:
    """What a whole extent answered.

    Attributes:
        surface: Probability on the base grid's ground.
        things: Connected parts that the overview found.
        looks: Closer looks that were used.
        refused: Closer looks that found something else.
        left: Things that no closer look was taken at for there were too many.
    """

    surface: LayeredSurface
    things: int
    looks: int
    refused: int
    left: int


def overview_grid(base: Grid, side: int) -> Grid:
    """Return the grid on which a whole extent fits into the network's square, aspect kept."""
    if max(base.shape) <= side:
        return base
    height, width = Letterbox(base.height, base.width, side).fitted
    return base.rescaled(width, height)


def ask_whole(
    looker: Looker,
    grids: tuple[Grid, Grid],
    request: Request,
    settings: ZoomSettings,
    progress: Progress,
) -> WholeAnswer | None:
    """Ask a whole extent; None when nothing of it holds data.

    Args:
        looker: Reads and asks.
        grids: Base grid, the finest that looks read, and the grid of the answer's surface.
        request: The instruction.
        settings: See `ZoomSettings`.
        progress: Told the finished fraction.

    Raises:
        JobError: ``OUT_OF_MEMORY``, ``CANCELLED``.
    """
    base, output = grids
    grid = overview_grid(base, looker.side)
    look = looker.look(grid, share_of(progress, 0.0, 0.3))
    if look is None:
        return None
    answer = looker.ask(look, [request])[0]
    probability = np.where(look.valid, answer.probability, np.float32(0.0))
    surface = LayeredSurface(output, Layer(grid, probability, np.ones(grid.shape, np.float32)))
    found = probability > settings.threshold
    zoom = _Zoom(looker, base, surface, settings)
    things = _things(grid, found, base.width / grid.width)
    zoom.run(things, share_of(progress, 0.3, 1.0))
    progress(1.0)
    return WholeAnswer(surface, len(things), zoom.used, zoom.refused, zoom.left)


def _things(grid: Grid, found: NDArray[np.bool_], pixel: float) -> list[Thing]:
    """Return the connected parts of a mask, the largest first."""
    labels, count = ndimage.label(found, _FOUR)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    masks = (labels == index + 1 for index in np.argsort(-areas, kind="stable"))
    return [Thing(grid, mask, found & ~mask, pixel) for mask in masks]


class _Zoom:
    def __init__(
        self, looker: Looker, base: Grid, surface: LayeredSurface, settings: ZoomSettings
    ) -> None:
        self._looker = looker
        self._base = base
        self._surface = surface
        self._settings = settings
        self.used = self.refused = self.left = 0

    def run(self, things: list[Thing], progress: Progress) -> None:
        """Look closer at things, coarse looks before finer ones."""
        most = self._settings.most_looks
        waiting = deque(things)
        while waiting:
            thing = waiting.popleft()
            for window, pixel in closer_windows(
                thing, self._base, self._looker.side, self._settings
            ):
                if self.used + self.refused >= most:
                    self.left += 1
                    break
                closer = self._look(thing, window, pixel)
                waiting.extend([] if closer is None else [closer])
                progress((self.used + self.refused) / most)

    def _look(self, thing: Thing, window: Window, pixel: float) -> Thing | None:
        """Take one look; return the thing as it saw it, None when it is not used."""
        part = self._base.window_grid(window)
        grid = part.rescaled(max(round(part.width / pixel), 1), max(round(part.height / pixel), 1))
        known = _within(thing.grid, grid)
        coarse = known & (_sampled(thing.mask, thing.grid, grid) > 0.5)
        if not coarse.any() or coarse.all():
            return None
        look = self._looker.look(grid)
        if look is None:
            return None
        answer = self._looker.ask(look, [self._box(coarse)])[0]
        probability = np.where(look.valid, answer.probability, np.float32(0.0))
        above = probability > self._settings.threshold
        found = _touching(above, coarse)
        union = np.count_nonzero((found | coarse) & known)
        if np.count_nonzero(found & coarse) < self._settings.agreement * union:
            self.refused += 1
            return None
        self.used += 1
        others = known & (_sampled(thing.others, thing.grid, grid) > 0.0)
        weight = _reach(found | coarse, thing.pixel / pixel) * _fade(window, self._base, grid)
        weight[(above & ~found) | (others & ~found)] = 0.0
        layer = Layer(grid, probability.astype(np.float16), weight.astype(np.float16))
        self._surface.add(layer)
        return Thing(grid, found, others & ~found, pixel)

    def _box(self, mask: NDArray[np.bool_]) -> Request:
        rows, columns = ndimage.find_objects(mask.astype(np.uint8))[0]
        box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
        return self._looker.segmenter.request(*mask.shape, box=box)


def closer_windows(
    thing: Thing, base: Grid, side: int, settings: ZoomSettings
) -> Iterator[tuple[Window, float]]:
    """Yield windows of the base grid that show a thing closer, and the pixel size for each.

    One window around the thing if that shows it finer, else tiles along its outline; none for a
    thing that was seen in pixels of the base grid.
    """
    rows, columns = ndimage.find_objects(thing.mask.astype(np.uint8))[0]
    scale_x, offset_x, scale_y, offset_y = thing.grid.axes_to(base)
    left, right = columns.start * scale_x + offset_x, columns.stop * scale_x + offset_x
    top, bottom = rows.start * scale_y + offset_y, rows.stop * scale_y + offset_y
    length = max(settings.room * max(right - left, bottom - top), float(side))
    pixel = length / side
    if thing.pixel >= settings.least_gain * pixel:
        across = _centred((left + right) / 2, length, base.width)
        down = _centred((top + bottom) / 2, length, base.height)
        yield Window(across[0], down[0], across[1], down[1]), pixel
        return
    finer = max(thing.pixel / settings.step, 1.0)
    if thing.pixel < settings.least_gain * finer:
        return
    yield from _outline_windows(thing, base, (left, top, right, bottom), side, finer)


def _outline_windows(
    thing: Thing, base: Grid, box: tuple[float, float, float, float], side: int, pixel: float
) -> Iterator[tuple[Window, float]]:
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
        part = _sampled(thing.mask, thing.grid, base.window_grid(window).rescaled(32, 32))
        if part.min() < 0.5 < part.max():
            yield window, pixel


def _centred(centre: float, length: float, size: int) -> tuple[int, int]:
    """Return start and length of a span around a point, shifted to lie inside of an axis."""
    whole = min(round(length), size)
    return int(np.clip(round(centre - whole / 2), 0, size - whole)), whole


def _sampled(mask: NDArray[np.bool_], grid: Grid, target: Grid) -> NDArray[np.float32]:
    return sample(mask.astype(np.float32), grid, target)


def _within(grid: Grid, target: Grid) -> NDArray[np.bool_]:
    """Tell which pixel centres of ``target`` lie in ``grid``: (h, w)."""
    scale_x, offset_x, scale_y, offset_y = target.axes_to(grid)
    x = (np.arange(target.width) + 0.5) * scale_x + offset_x
    y = (np.arange(target.height) + 0.5) * scale_y + offset_y
    inside_x = (x >= 0) & (x <= grid.width)
    inside_y = (y >= 0) & (y <= grid.height)
    return np.logical_and.outer(inside_y, inside_x)


def _touching(found: NDArray[np.bool_], coarse: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the connected parts of ``found`` that meet ``coarse``."""
    labels, _ = ndimage.label(found, _FOUR)
    met = np.unique(labels[coarse])
    return np.isin(labels, met[met > 0])


def _reach(mask: NDArray[np.bool_], radius: float) -> NDArray[np.float64]:
    """Return 1 in a mask and two coarse pixels around it, falling to 0 over two more."""
    distance = ndimage.distance_transform_edt(~mask)
    weight: NDArray[np.float64] = 2.0 - distance / (2.0 * max(radius, 1.0))
    return weight.clip(0.0, 1.0)


def _fade(window: Window, base: Grid, grid: Grid) -> NDArray[np.float64]:
    """Return weights (h, w) that fall towards the edges of a look, save those of the extent."""
    starts = (window.row_off, window.col_off)
    lengths = (window.height, window.width)
    ramps = []
    for start, length, size, count in zip(starts, lengths, base.shape, grid.shape, strict=True):
        centre = np.arange(count) + 0.5
        share = max(count / 8.0, 1.0)
        before = centre / share if start > 0 else np.ones(count)
        after = (count - centre) / share if start + length < size else np.ones(count)
        ramps.append(np.clip(np.minimum(before, after), 0.0, 1.0))
    return np.outer(ramps[0], ramps[1])
