"""Closer looks: the part of a tile round an object, seen twice as large.

On a whole tile a small object is a few cells of the answer. A network that sees it twice as large
too, and answers with the mean of both, finds more of it (zoom-in, as in Sofiiuk et al. 2020, f-BRS,
section 5.1, here beside the whole tile instead of after it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from .objects import ObjectPrompt

ZOOM = 2
_STEPS = 8
_LARGEST_SHARE = 0.9


@dataclass(frozen=True)
class Part:
    """A square part of a tile, in pixels of the tile."""

    left: int
    top: int
    side: int


def part_round(item: ObjectPrompt, tile: int) -> Part | None:
    """Return the part of a tile to see an object in, None where it would be cut off.

    Parts begin at every eighth of a tile, so that objects share them.

    Args:
        item: In pixels of the tile.
        tile: Side of the tile in pixels.
    """
    side, step = tile // ZOOM, tile // _STEPS
    left, top, right, bottom = item.bounds
    if max(right - left, bottom - top) > _LARGEST_SHARE * side:
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
    near = ((moved.negative >= 0) & (moved.negative <= part.side)).all(axis=1)
    return replace(moved, negative=moved.negative[near])


def blended(whole: Tensor, close: Tensor, part: Part, tile: int) -> Tensor:
    """Return logits over a tile in cells half as large, means of two where both looked.

    The closer look fades out towards its edge, so that objects that reach beyond it have no seam.

    Args:
        whole: (N, K, h, w) over the tile.
        close: (N, K, h, w) over the part.
        part: Where that lies.
        tile: Side of the tile in pixels.

    Returns:
        (N, K, 2h, 2w).
    """
    height, width = whole.shape[-2:]
    result = functional.interpolate(whole, scale_factor=ZOOM, mode="bilinear", align_corners=False)
    top, left = part.top * ZOOM * height // tile, part.left * ZOOM * width // tile
    covered = result[..., top : top + height, left : left + width]
    covered += _weight(height, width, close.device) * (close - covered)
    return result


def _weight(height: int, width: int, device: torch.device) -> Tensor:
    """Return the share (h, w) of the closer look: half of the mean, less near its edge."""

    def along(length: int) -> Tensor:
        places = torch.arange(length, device=device) + 0.5
        return (torch.minimum(places, length - places) * _STEPS / length).clamp(max=1.0)

    return 0.5 * torch.minimum(along(height)[:, None], along(width)[None])
