"""Tiles on a lattice, so that prompts near each other read the same tile.

The pixels are those of a job with prompts whose resolution is that of the screen: a raster that is
finer is read in pixels of 2, 4, 8 times its own, the largest that are still finer than the screen.
A tile begins at a multiple of half its side, and every place lies in the middle of one of them, as
far from its edges as the tiles of such a job are laid. Larger prompts use multiples of a quarter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rasterio.windows import Window

from geoseg_qgis.engine.methods.prompted.prompt_tiles import AREA_MARGIN, GridPyramid
from geoseg_qgis.engine.methods.prompted.prompted_objects import ObjectPrompt, Rectangle
from geoseg_qgis.engine.raster.grid import Grid, model_grid

_STEPS = (2, 4)


@dataclass(frozen=True)
class LatticeTile:
    """A tile of the lattice.

    Attributes:
        shrink: Pixels of the raster along the side of a pixel of the result.
        level: Level of the pyramid.
        left: First column on the grid of that level.
        top: First row.
        size: Side in pixels.
    """

    shrink: int
    level: int
    left: int
    top: int
    size: int

    @property
    def window(self) -> Window:
        """Its pixels on the grid of its level."""
        return Window(self.left, self.top, self.size, self.size)


def shrink_for(source: Grid, pixel_size: float) -> int:
    """Return how many pixels of the raster become one, a power of two.

    Args:
        source: The raster.
        pixel_size: Map units in a pixel of the screen; 0 for the raster's own pixels.
    """
    ratio = pixel_size / max(source.pixel_size)
    largest = max(min(source.width, source.height), 1)
    steps = math.floor(math.log2(min(ratio, largest))) if ratio >= 2.0 and largest >= 2 else 0
    return int(2 ** max(steps, 0))


def interactive_pyramid(source: Grid, shrink: int, finest: float | None, tile: int) -> GridPyramid:
    """Return the grids that are read at one zoom of the screen.

    Args:
        source: The raster.
        shrink: See `shrink_for`.
        finest: Finest pixels in metres that the model was made for; None for any.
        tile: Side of a tile in pixels.
    """
    output = source
    if shrink > 1:
        output = source.rescaled(
            max(1, round(source.width / shrink)), max(1, round(source.height / shrink))
        )
    whole = (0.0, 0.0, float(output.width), float(output.height))
    return GridPyramid(output, model_grid(output, source, finest), tile, whole)


def tile_of(item: ObjectPrompt, pyramid: GridPyramid, shrink: int) -> LatticeTile:
    """Return the tile that an object, given in pixels of the result, is read from.

    Further points do not move the tile while it holds all of them, so that it need not be encoded
    again.
    """
    level = pyramid.level_of(item)
    across, down = pyramid.scale(level)
    left, top, right, bottom = item.bounds
    bounds = (left * across, top * down, right * across, bottom * down)
    size, grid = pyramid.tile, pyramid.grid(level)
    middle = ((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2)
    centres = [(middle, step) for step in _STEPS]
    if len(item.positive):
        x, y = item.positive[0].tolist()
        centres.insert(0, ((x * across, y * down), _STEPS[0]))
    corner = (0, 0)
    for (x, y), step in centres:
        corner = (_origin(x, size, step, grid.width), _origin(y, size, step, grid.height))
        if _holds(corner, size, bounds, grid):
            break
    return LatticeTile(shrink, level, *corner, size)


def _origin(centre: float, size: int, steps: int, length: int) -> int:
    """Return where the tile begins that has ``centre`` nearest to its middle, on the raster."""
    step = size // steps
    first = round((centre - size / 2.0) / step) * step
    return max(min(first, length - size), 0)


def _holds(corner: tuple[int, int], size: int, bounds: Rectangle, grid: Grid) -> bool:
    """Return whether a tile holds bounds with a margin, but for the edges of the raster."""
    margin = size * AREA_MARGIN
    left, top, right, bottom = bounds
    return (
        (corner[0] == 0 or left - margin >= corner[0])
        and (corner[1] == 0 or top - margin >= corner[1])
        and (corner[0] + size >= grid.width or right + margin <= corner[0] + size)
        and (corner[1] + size >= grid.height or bottom + margin <= corner[1] + size)
    )
