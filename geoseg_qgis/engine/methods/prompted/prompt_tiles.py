"""Tiles around objects, so that each object lies well inside of one and many share one.

Objects are read from a pyramid of grids, each half as fine as the one before it: a point from the
finest, a box from the first on which it fills less than half of a tile. Tiles of one grid are
packed row by row: a strip as high as a tile takes the objects that fit into it, from left to right,
and each tile is then centred on its objects.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rasterio.windows import Window

from geoseg_qgis.engine.raster.grid import Grid

from .prompted_objects import ObjectPrompt, Rectangle

LARGEST_SHARE = 0.45
"""Side of the largest object on a level, in sides of a tile."""
POINT_MARGIN = 0.25
"""Least distance of a point from the edge of its tile, in sides of a tile."""
AREA_MARGIN = 0.125
"""Least distance of a box from the edge of its tile, in sides of a tile."""


@dataclass(frozen=True)
class GridPyramid:
    """Grids of the same extent from which objects are read, from fine to coarse.

    Attributes:
        output: Grid of the results.
        finest: Grid of level 0.
        tile: Side of a tile in pixels.
        reachable: Left, top, right, bottom of the raster in pixels of the output, which may be
            a part of it.
    """

    output: Grid
    finest: Grid
    tile: int
    reachable: Rectangle

    def grid(self, level: int) -> Grid:
        """Return the grid of a level, with pixels of about ``2 ** level`` times the finest's."""
        if level == 0:
            return self.finest
        step = 2**level
        return self.finest.rescaled(
            max(1, round(self.finest.width / step)), max(1, round(self.finest.height / step))
        )

    def scale(self, level: int) -> tuple[float, float]:
        """Return the pixels of a level in a pixel of the output, across and down."""
        grid = self.grid(level)
        return grid.width / self.output.width, grid.height / self.output.height

    def level_of(self, item: ObjectPrompt) -> int:
        """Return the level on which an object in output pixels fills little enough of a tile."""
        left, top, right, bottom = item.bounds
        across, down = self.scale(0)
        side = max((right - left) * across, (bottom - top) * down)
        return max(0, math.ceil(math.log2(max(side, 1e-9) / (LARGEST_SHARE * self.tile))))


@dataclass(frozen=True)
class PromptTile:
    """A tile and its objects.

    Attributes:
        level: Level of the pyramid.
        left: First column on the grid of that level.
        top: First row.
        objects: In output pixels.
    """

    level: int
    left: int
    top: int
    objects: tuple[ObjectPrompt, ...]

    def window(self, size: int) -> Window:
        """Return its pixels on the grid of its level."""
        return Window(self.left, self.top, size, size)


@dataclass(frozen=True)
class _Room:
    """The rectangle around an object that its tile must hold."""

    left: float
    top: float
    right: float
    bottom: float
    item: ObjectPrompt


def plan_prompt_tiles(objects: Sequence[ObjectPrompt], pyramid: GridPyramid) -> list[PromptTile]:
    """Return tiles that hold each object once, coarsest level last.

    A tile reaches over the edges of the raster only where the raster is smaller than a tile.

    Args:
        objects: In output pixels.
        pyramid: The grids.
    """
    levels: dict[int, list[ObjectPrompt]] = {}
    for item in objects:
        levels.setdefault(pyramid.level_of(item), []).append(item)
    return [
        _lay(members, level, pyramid)
        for level in sorted(levels)
        for members in _pack(_rooms(levels[level], level, pyramid), pyramid.tile)
    ]


def _rooms(objects: Sequence[ObjectPrompt], level: int, pyramid: GridPyramid) -> list[_Room]:
    across, down = pyramid.scale(level)
    rooms = []
    for item in objects:
        left, top, right, bottom = item.bounds
        margin = pyramid.tile * (AREA_MARGIN if item.areas else POINT_MARGIN)
        rooms.append(
            _Room(
                left * across - margin,
                top * down - margin,
                right * across + margin,
                bottom * down + margin,
                item,
            )
        )
    return rooms


def _pack(rooms: list[_Room], size: int) -> Iterator[list[_Room]]:
    """Yield groups of rooms that fit into a tile each."""
    waiting = sorted(rooms, key=lambda room: (room.top, room.left, room.item.number))
    while waiting:
        lowest = waiting[0].top + size
        near = bisect_right(waiting, lowest, key=lambda room: room.top)
        strip = [room for room in waiting[:near] if room.bottom <= lowest] or waiting[:1]
        taken = {room.item.number for room in strip}
        left_over = [room for room in waiting[:near] if room.item.number not in taken]
        waiting = left_over + waiting[near:]
        strip.sort(key=lambda room: (room.left, room.top, room.item.number))
        group: list[_Room] = []
        for room in strip:
            if group and room.right > group[0].left + size:
                yield group
                group = []
            group.append(room)
        yield group


def _lay(rooms: list[_Room], level: int, pyramid: GridPyramid) -> PromptTile:
    scale_across, scale_down = pyramid.scale(level)
    left, top, right, bottom = pyramid.reachable
    across = min(room.left for room in rooms) + max(room.right for room in rooms)
    down = min(room.top for room in rooms) + max(room.bottom for room in rooms)
    return PromptTile(
        level,
        _inside(across / 2.0, pyramid.tile, left * scale_across, right * scale_across),
        _inside(down / 2.0, pyramid.tile, top * scale_down, bottom * scale_down),
        tuple(sorted((room.item for room in rooms), key=lambda item: item.number)),
    )


def _inside(centre: float, size: int, first: float, end: float) -> int:
    """Return where a tile around ``centre`` starts; it stays on the raster where it can."""
    return round(max(min(centre - size / 2.0, end - size), first))
