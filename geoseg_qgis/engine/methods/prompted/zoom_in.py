"""Closer looks: the part of a tile round a small object, seen twice as large.

On a whole tile a small object is a few cells of the answer. A network that sees it twice as large
too, and answers with the mean of both, finds more of it (like the zoom-in of Sofiiuk et al. 2020,
f-BRS, which looks again at what the first answer found).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .masks import Logits, keep_within, touching_parts
from .prompted_objects import ObjectPrompt, Rectangle

ZOOM = 2
LARGEST_SMALL = 0.25
"""Side of the largest object to look closer at, in sides of a tile."""
_STEPS = 4
_FADING = 8


@dataclass(frozen=True)
class Part:
    """A square part of a tile, in pixels of the tile."""

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


def part_to_see(item: ObjectPrompt, found: Logits, tile: int) -> Part | None:
    """Return the part of a tile to see an object in, None for one that is large enough.

    Args:
        item: In pixels of the tile.
        found: Cells over the tile, positive on the object, shape (h, w).
        tile: Side of the tile in pixels.
    """
    size = tile / found.shape[0]
    asked = item.rescaled((1 / size, 1 / size), (0.0, 0.0))
    cells = touching_parts(keep_within(found > 0, asked.limits), asked, 1)
    left, top, right, bottom = item.bounds
    places = np.argwhere(cells)
    if len(places):
        (first_row, first_column), (row, column) = places.min(axis=0), places.max(axis=0) + 1
        left, top = min(left, first_column * size), min(top, first_row * size)
        right, bottom = max(right, column * size), max(bottom, row * size)
    return part_round((left, top, right, bottom), tile)


def part_round(bounds: Rectangle, tile: int) -> Part | None:
    """Return the part of a tile with a rectangle near its middle, None for a large rectangle.

    Parts begin at every fourth of a tile, so that objects share them.

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
    return Part(column, row, side) if fits else None


def seen_in(item: ObjectPrompt, part: Part) -> ObjectPrompt:
    """Return an object in pixels of a part, without the negative points outside of it."""
    moved = item.rescaled((1.0, 1.0), (-part.left, -part.top))
    near = ((moved.points >= 0) & (moved.points <= part.side)).all(axis=1)
    return moved.with_points(near | moved.on_object)


def blended(whole: Tensor, close: Tensor, part: Part, tile: int) -> Tensor:
    """Return logits over a tile in cells half as large, means of two where both looked.

    The closer look fades out towards its edge, so that objects that reach beyond it have no seam.

    Args:
        whole: (K, h, w) over the tile.
        close: (K, h, w) over the part.
        part: Where that lies.
        tile: Side of the tile in pixels.

    Returns:
        (K, 2h, 2w).
    """
    height, width = whole.shape[-2:]
    result = functional.interpolate(whole[None], scale_factor=ZOOM, mode="bilinear")[0]
    top, left = part.top * ZOOM * height // tile, part.left * ZOOM * width // tile
    covered = result[..., top : top + height, left : left + width]
    covered += _weight(height, width, close.device) * (close - covered)
    return result


def _weight(height: int, width: int, device: torch.device) -> Tensor:
    """Return the share (h, w) of the closer look: half of the mean, less near its edge."""

    def along(length: int) -> Tensor:
        places = torch.arange(length, device=device) + 0.5
        return (torch.minimum(places, length - places) * _FADING / length).clamp(max=1.0)

    return 0.5 * torch.minimum(along(height)[:, None], along(width)[None])
