"""Zoom-ins on small objects: a crop of a tile around one, read twice as large.

On a whole tile a small object is a few cells of the prediction. The mean with the prediction on a
larger image of it finds more (as in the zoom-in of Sofiiuk et al., f-BRS, CVPR 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geoseg_qgis.engine.inference.coarse_to_fine import edge_ramp
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear

from .masks import Logits, areas_touching, keep_within
from .prompted_objects import ObjectPrompt, Rectangle

ZOOM = 2
LARGEST_SMALL = 0.25
"""Side of the largest object to zoom in on, in sides of a tile."""
# Crops begin at every fourth of a tile, so that objects share them.
_STEPS = 4


@dataclass(frozen=True)
class Crop:
    """A square crop of a tile, in pixels of the tile."""

    left: int
    top: int
    side: int

    @property
    def right(self) -> int:
        """The first column behind it."""
        return self.left + self.side

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.top + self.side


def crop_of_object(item: ObjectPrompt, logits: Logits, tile: int) -> Crop | None:
    """Return the crop of a tile to zoom in on an object, None for one that is large enough.

    Args:
        item: In pixels of the tile.
        logits: Cells over the tile, positive on the object, shape (h, w).
        tile: Side of the tile in pixels.
    """
    size = tile / logits.shape[0]
    in_cells = item.rescaled((1 / size, 1 / size), (0.0, 0.0))
    cells = areas_touching(keep_within(logits > 0, in_cells.limits), in_cells, 1)
    left, top, right, bottom = item.bounds
    places = np.argwhere(cells)
    if len(places):
        (first_row, first_column), (row, column) = places.min(axis=0), places.max(axis=0) + 1
        left, top = min(left, first_column * size), min(top, first_row * size)
        right, bottom = max(right, column * size), max(bottom, row * size)
    return crop_around((left, top, right, bottom), tile)


def crop_around(bounds: Rectangle, tile: int) -> Crop | None:
    """Return the crop of a tile with a rectangle near its middle, None for a large rectangle.

    Args:
        bounds: Left, top, right, bottom in pixels of the tile.
        tile: Side of the tile in pixels.
    """
    side, step = tile // ZOOM, tile // _STEPS
    left, top, right, bottom = (min(max(place, 0.0), float(tile)) for place in bounds)
    if max(right - left, bottom - top) > LARGEST_SMALL * tile:
        return None
    column, row = (
        min(max(round((middle - side / 2) / step) * step, 0), tile - side)
        for middle in ((left + right) / 2, (top + bottom) / 2)
    )
    fits = left >= column and top >= row and right <= column + side and bottom <= row + side
    return Crop(column, row, side) if fits else None


def crops_of(tile: int) -> list[Crop]:
    """Return all crops of a tile that `crop_around` may give."""
    side, step = tile // ZOOM, tile // _STEPS
    places = range(0, tile - side + 1, step)
    return [Crop(left, top, side) for top in places for left in places]


def prompt_in_crop(item: ObjectPrompt, crop: Crop) -> ObjectPrompt:
    """Return an object in pixels of a crop, without the negative points outside of it."""
    moved = item.rescaled((1.0, 1.0), (-crop.left, -crop.top))
    near = ((moved.points >= 0) & (moved.points <= crop.side)).all(axis=1)
    return moved.with_points(near | moved.on_object)


def blend_crop(tile_logits: Tensor, crop_logits: Tensor, crop: Crop, tile: int) -> Tensor:
    """Return logits over a tile in cells half as large, with the mean of both in the crop.

    Args:
        tile_logits: (K, h, w) over the tile.
        crop_logits: (K, h, w) over the crop.
        crop: Its place on the tile.
        tile: Side of the tile in pixels.

    Returns:
        (K, 2h, 2w).
    """
    height, width = tile_logits.shape[-2:]
    result = resize_bilinear(tile_logits[None], (ZOOM * height, ZOOM * width))[0]
    top, left = crop.top * ZOOM * height // tile, crop.left * ZOOM * width // tile
    covered = result[..., top : top + height, left : left + width]
    covered += _weight(height, width, crop_logits.device) * (crop_logits - covered)
    return result


def _weight(height: int, width: int, device: torch.device) -> Tensor:
    """Return the share (h, w) of the crop: half for the mean, less near its edges."""
    down, across = (torch.from_numpy(edge_ramp(length)).float() for length in (height, width))
    return 0.5 * torch.minimum(down[:, None], across[None]).to(device)
