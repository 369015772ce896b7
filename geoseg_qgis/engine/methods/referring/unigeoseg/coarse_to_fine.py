"""One instruction asked of a whole extent: an overview first, then closer looks at what it found.

Positions, comparisons and counts are true of the extent only, so the instruction itself is asked
once, of all of it. The closer looks ask the network for the thing in a box, the box being where the
overview found one; a look that finds something else than the overview is not used. Things that lie
close together share a look. A thing that does not fit into one look at full detail is followed
along its outline, in finer and finer tiles.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.progress import Progress, share_of
from geoseg_qgis.engine.raster.grid import Grid

from .composite import Layer, LayeredSurface
from .instances import (
    Instance,
    ZoomSettings,
    closer_windows,
    find_instances,
    touching,
    wanted_pixel,
)
from .letterbox import Letterbox
from .one_thing import keep_one
from .zoom_in import Looker

# How much coarser than on its own a thing may be seen to share a look, and its room to the edge.
_SHARED_PIXEL = 1.25
_SHARED_EDGE = 0.125


@dataclass(frozen=True)
class OverviewPrediction:
    """What a whole extent answered.

    Attributes:
        surface: Probability on the output grid.
        things: Connected parts that the overview found and that were kept.
        left_out: Those that were not kept, as the words mean one thing.
        looks: Closer looks that were taken.
        drawn: Outlines that closer looks drew anew.
        refused: Outlines that a closer look did not confirm.
        left: Outlines that no closer look was taken at, for there were too many.
    """

    surface: LayeredSurface
    things: int
    left_out: int
    looks: int
    drawn: int
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
    *,
    one: bool = False,
) -> OverviewPrediction | None:
    """Ask a whole extent; None when nothing of it holds data.

    Args:
        looker: Reads and asks.
        grids: Base grid, the finest that looks read, and the grid of the answer's surface.
        request: The instruction.
        settings: See `ZoomSettings`.
        progress: Told the finished fraction.
        one: Keep one part of what the overview found; a closer look may still part it.

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
    left_out = 0
    if one:
        probability, left_out = keep_one(probability, settings.threshold)
    things = find_instances(grid, probability > settings.threshold, base.width / grid.width)
    surface = LayeredSurface(output, Layer(grid, probability, np.ones(grid.shape, np.float32)))
    zoom = _Zoom(looker, base, surface, settings)
    zoom.run(things, share_of(progress, 0.3, 1.0))
    progress(1.0)
    return OverviewPrediction(
        surface, len(things), left_out, zoom.looks, zoom.drawn, zoom.refused, zoom.left
    )


class _Zoom:
    def __init__(
        self, looker: Looker, base: Grid, surface: LayeredSurface, settings: ZoomSettings
    ) -> None:
        self._looker = looker
        self._base = base
        self._surface = surface
        self._settings = settings
        self._waiting: deque[Instance] = deque()
        self.looks = self.drawn = self.refused = self.left = 0

    def run(self, things: list[Instance], progress: Progress) -> None:
        """Look closer at things, coarse looks before finer ones."""
        most = self._settings.most_looks
        self._waiting.extend(things)
        while self._waiting:
            thing = self._waiting.popleft()
            windows = closer_windows(thing, self._base, self._looker.side, self._settings)
            for window, pixel in windows:
                if self.looks >= most:
                    self.left += 1
                    break
                group = [thing, *self._companions(window, pixel)]
                self._waiting.extend(self._look(group, window, pixel))
                progress(self.looks / most)

    def _companions(self, window: Window, pixel: float) -> list[Instance]:
        """Take the waiting things that a look shows as well as one of their own would."""
        side, settings = self._looker.side, self._settings
        edge = _SHARED_EDGE * pixel * side
        companions: list[Instance] = []
        for thing in list(self._waiting):
            left, top, right, bottom = thing.box_on(self._base)
            inside = (
                left >= window.col_off + edge
                and top >= window.row_off + edge
                and right <= window.col_off + window.width - edge
                and bottom <= window.row_off + window.height - edge
            )
            if (
                inside
                and thing.pixel >= settings.least_gain * pixel
                and pixel <= _SHARED_PIXEL * wanted_pixel(thing, self._base, side, settings)
            ):
                companions.append(thing)
                self._waiting.remove(thing)
        return companions

    def _look(self, group: list[Instance], window: Window, pixel: float) -> list[Instance]:
        """Take one look at some things; return those it confirmed, as it saw them."""
        part = self._base.window_grid(window)
        grid = part.rescaled(max(round(part.width / pixel), 1), max(round(part.height / pixel), 1))
        views = [_View(thing, grid) for thing in group]
        views = [view for view in views if view.coarse.any() and not view.coarse.all()]
        look = self._looker.look(grid) if views else None
        if look is None:
            return []
        self.looks += 1
        answers = self._looker.ask(look, [self._request(view) for view in views])
        drawing = _Drawing(grid, _fade(window, self._base, grid))
        closer: list[Instance] = []
        for view, answer in zip(views, answers, strict=True):
            probability = np.where(look.valid, answer.probability, np.float32(0.0))
            above = probability > self._settings.threshold
            found = touching(above, view.coarse)
            if not view.confirmed_by(found, self._settings.agreement):
                self.refused += 1
                continue
            self.drawn += 1
            drawing.add(probability, view.weight(found, above, pixel))
            labels = np.where(found, 1, np.where(view.others, 2, 0)).astype(np.int32)
            closer.append(Instance(grid, labels, 1, pixel))
        self._surface.add(drawing.layer())
        return closer

    def _request(self, view: _View) -> Request:
        rows, columns = ndimage.find_objects(view.coarse.astype(np.uint8))[0]
        box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
        return self._looker.segmenter.request(*view.coarse.shape, box=box)


class _View:
    """A thing of an earlier look on the grid of a closer one.

    Attributes:
        coarse: (h, w) bool, where the thing is as far as the earlier look could tell.
        others: (h, w) bool, where other things are, which a look at this one must leave alone.
    """

    def __init__(self, thing: Instance, grid: Grid) -> None:
        self._known = thing.seen_by(grid)
        self._pixel = thing.pixel
        self.coarse = self._known & thing.mask_on(grid)
        self.others = self._known & thing.others_on(grid)

    def confirmed_by(self, found: NDArray[np.bool_], agreement: float) -> bool:
        """Tell whether a closer look found the same thing: (h, w) bool."""
        union = np.count_nonzero((found | self.coarse) & self._known)
        return bool(np.count_nonzero(found & self.coarse) >= agreement * union)

    def weight(
        self, found: NDArray[np.bool_], above: NDArray[np.bool_], pixel: float
    ) -> NDArray[np.float32]:
        """Return where the closer look replaces the earlier one: (h, w), 0..1.

        Args:
            found: What it found of the thing.
            above: All that it found.
            pixel: Side of its pixels in pixels of the base grid.
        """
        distance = ndimage.distance_transform_edt(~(found | self.coarse))
        radius = 2.0 * max(self._pixel / pixel, 1.0)
        weight: NDArray[np.float32] = (2.0 - distance / radius).clip(0.0, 1.0).astype(np.float32)
        weight[(above | self.others) & ~found] = 0.0
        return weight


class _Drawing:
    """What one look found of several things, laid over each other."""

    def __init__(self, grid: Grid, fade: NDArray[np.float32]) -> None:
        self._grid = grid
        self._fade = fade
        self._probability = np.zeros(grid.shape, np.float32)
        self._weight = np.zeros(grid.shape, np.float32)

    def add(self, probability: NDArray[np.float32], weight: NDArray[np.float32]) -> None:
        """Lay one thing over the others: probabilities and weights (h, w)."""
        below = self._weight * (1.0 - weight)
        total = weight + below
        mixed = weight * probability + below * self._probability
        self._probability = np.where(total > 0.0, mixed / np.maximum(total, 1e-6), 0.0)
        self._weight = total

    def layer(self) -> Layer:
        """Return all of it."""
        weight = (self._weight * self._fade).astype(np.float16)
        return Layer(self._grid, self._probability.astype(np.float16), weight)


def _fade(window: Window, base: Grid, grid: Grid) -> NDArray[np.float32]:
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
    return np.outer(ramps[0], ramps[1]).astype(np.float32)
