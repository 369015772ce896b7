"""From a network's prediction on a tile to the pixels of one object."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from .prompted_objects import ObjectPrompt, Rectangle

Logits = NDArray[np.float32]
Mask = NDArray[np.bool_]

_AROUND = np.ones((3, 3), dtype=np.bool_)


@dataclass(frozen=True)
class Placement:
    """Where the cells of a prediction lie on the pixels of the results.

    Attributes:
        left: Output column of the left edge of the cells.
        top: Output row of their upper edge.
        across: Output pixels in a cell along a row.
        down: Output pixels in a cell along a column.
    """

    left: float
    top: float
    across: float
    down: float

    def rescaled(self, scale: tuple[float, float]) -> Placement:
        """Return it on a grid with so many times as many pixels across and down."""
        across, down = scale
        return Placement(
            self.left * across, self.top * down, self.across * across, self.down * down
        )


@dataclass(frozen=True)
class ObjectMask:
    """Pixels of an object.

    Attributes:
        pixels: (h, w), True on the object.
        left: Output column of the first pixel.
        top: Output row of the first pixel.
        step: Output pixels along each side of a pixel here; more than 1 for very large objects.
    """

    pixels: Mask
    left: int
    top: int
    step: int = 1

    @property
    def to_pixels(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Scale and offset that bring output coordinates onto the pixels here."""
        return (1 / self.step, 1 / self.step), (-self.left / self.step, -self.top / self.step)


def logit_of(probability: float) -> float:
    """Return the logit of a probability; 0 and 1 are moved inwards by 1e-6."""
    certain = 1e-6
    share = min(max(probability, certain), 1.0 - certain)
    return math.log(share / (1.0 - share))


def window_of_object(
    logits: Logits, threshold: float, item: ObjectPrompt, placement: Placement, reach: int = 1
) -> tuple[int, int, int, int] | None:
    """Return the rows and columns of cells, end exclusive, that hold the object.

    Areas less than two cells apart count as one, so that the window holds everything that may be
    connected on finer pixels.

    Returns:
        Top, bottom, left, right with two cells to spare; None for an empty mask.
    """
    near = ndimage.binary_dilation(logits > threshold, _AROUND)
    scale = (1 / placement.across, 1 / placement.down)
    cells = item.rescaled(scale, (-placement.left * scale[0], -placement.top * scale[1]))
    found = np.argwhere(areas_touching(near, cells, reach))
    if not len(found):
        return None
    (top, left), (bottom, right) = found.min(axis=0) - 1, found.max(axis=0) + 2
    height, width = logits.shape
    return max(int(top), 0), min(int(bottom), height), max(int(left), 0), min(int(right), width)


def areas_touching(mask: Mask, item: ObjectPrompt, reach: int) -> Mask:
    """Return the 4-connected areas of a mask that an object's prompts touch: (h, w).

    Under a box or a polygon that is the area with most pixels there; under points, every area
    within ``reach`` pixels of one of them.

    Args:
        mask: (h, w).
        item: Prompts in pixels of the mask.
        reach: Largest distance of an area from a point.
    """
    numbers, count = ndimage.label(mask)
    labels = numbers.astype(np.int32, copy=False)
    chosen = np.zeros(count + 1, dtype=np.bool_)
    for area in item.areas:
        sizes = np.bincount(labels[_slices(area, mask.shape)].ravel(), minlength=count + 1)
        sizes[0] = 0
        chosen[sizes.argmax()] = sizes.max() > 0
    for x, y in item.positive.tolist():
        chosen[_nearest_label(labels, x, y, reach)] = True
    chosen[0] = False
    touched: Mask = chosen[labels]
    return touched


def _nearest_label(labels: NDArray[np.int32], x: float, y: float, reach: int) -> int:
    """Return the label at a point, else the nearest one within ``reach`` pixels, else 0."""
    height, width = labels.shape
    column, row = math.floor(x), math.floor(y)
    if 0 <= column < width and 0 <= row < height and labels[row, column]:
        return int(labels[row, column])
    top, left = max(row - reach, 0), max(column - reach, 0)
    part = labels[top : max(row + reach + 1, 0), left : max(column + reach + 1, 0)]
    rows, columns = np.nonzero(part)
    if not len(rows):
        return 0
    distance = np.hypot(columns + left + 0.5 - x, rows + top + 0.5 - y)
    nearest = int(distance.argmin())
    return int(part[rows[nearest], columns[nearest]])


def _slices(area: Rectangle, shape: tuple[int, ...]) -> tuple[slice, slice]:
    left, top, right, bottom = area
    rows = slice(max(math.floor(top), 0), min(max(math.ceil(bottom), 0), shape[0]))
    columns = slice(max(math.floor(left), 0), min(max(math.ceil(right), 0), shape[1]))
    return rows, columns


def keep_within(mask: Mask, limits: BaseGeometry | None) -> Mask:
    """Return a mask without the pixels whose centres lie outside of a shape."""
    if limits is None or not mask.size:
        return mask
    inside: Mask = rasterize([limits], out_shape=mask.shape, dtype="uint8") > 0
    return mask & inside
