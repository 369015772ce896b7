"""A small image of a raster with a class map over it, for reports."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.windows import Window

from .grid import Grid
from .style import rgb

SIDE = 720
_OPACITY = 0.65


def overview_grid(grid: Grid, side: int = SIDE) -> Grid:
    """Return a grid over the same ground whose longer side has at most ``side`` pixels."""
    shrink = min(1.0, side / max(grid.shape))
    return grid.rescaled(max(1, round(grid.width * shrink)), max(1, round(grid.height * shrink)))


def sample_classes(
    read: Callable[[Window], NDArray[np.uint8]], grid: Grid, small: Grid
) -> NDArray[np.uint8]:
    """Return the classes at the pixel centres of a smaller grid, read row by row."""
    rows = ((np.arange(small.height) + 0.5) * grid.height / small.height).astype(int)
    columns = ((np.arange(small.width) + 0.5) * grid.width / small.width).astype(int)
    sampled = [read(Window(0, row, grid.width, 1))[0, columns] for row in rows.tolist()]
    return np.stack(sampled)


def overview_png(
    pixels: NDArray[np.uint8], classes: NDArray[np.uint8], colors: Mapping[int, str]
) -> str:
    """Return a PNG as a data address, to be shown in a page.

    Args:
        pixels: (3, h, w).
        classes: (h, w); those without a colour are not drawn.
        colors: Class to ``#rrggbb``.
    """
    blended = np.moveaxis(pixels, 0, -1).astype(np.float32)
    for value, color in colors.items():
        there = classes == value
        blended[there] += (np.array(rgb(color), dtype=np.float32) - blended[there]) * _OPACITY
    stream = io.BytesIO()
    Image.fromarray(blended.round().astype(np.uint8)).save(stream, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
