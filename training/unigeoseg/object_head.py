"""Auxiliary loss on objects: which objects a mask selects, each counted once whatever its size.

Cells of a mask are compared one by one, so among forty trees the one that is meant counts as little
as its pixels. Here the mean logit over all cells of an object must predict the share of it that is
meant.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .pixel_head import at_cells
from .queries import Mirror
from .stored_scenes import StoredScene

MIN_CELLS = 4
"""Cells that an object needs to count."""
_MEANT = 0.5


def objects_at_cells(scene: StoredScene, mirror: Mirror, cells: int) -> Tensor:
    """Return the number of the object at the centre of each cell, 0 for none: (1, h, w) int64."""
    seen: NDArray[np.uint16] = at_cells(mirror.turn(scene.instances), cells)
    return torch.from_numpy(seen.astype(np.int64))[None]


class ObjectMeans:
    """Means over the cells of every object of B images.

    Args:
        objects: (B, h, w) int64, the number of the object at each cell, 0 for none.
    """

    def __init__(self, objects: Tensor) -> None:
        counts = objects.flatten().bincount()
        counts[0] = 0
        # Numbers are those of any image; a number with few cells in all has few in each.
        numbers = (counts >= MIN_CELLS).nonzero()[:, 0]
        members = (objects.flatten(1)[..., None] == numbers).float()
        self._members = members / members.sum(dim=1, keepdim=True).clamp(min=1)
        self.known = members.sum(dim=1) >= MIN_CELLS
        """(B, N) bool, objects that cover enough cells, of those that do in any image."""

    def of(self, maps: Tensor) -> Tensor:
        """Average maps (B, R, h, w): (B, R, N)."""
        means: Tensor = maps.flatten(2) @ self._members
        return means


def object_loss(logits: Tensor, means: ObjectMeans, meant: Tensor, weights: Tensor) -> Tensor:
    """Compare the mean logits of objects with the share of them that is meant.

    Args:
        logits: (B, R, h, w).
        means: The objects of the images.
        meant: (B, R, N), the share of each object that the mask covers.
        weights: (B, R, N), what each object that is not meant weighs.

    Returns:
        The mean cross entropy of objects that are meant and the weighted one of those that are
        not, half and half.
    """
    read = means.of(logits)
    wrong = nn.functional.binary_cross_entropy_with_logits(read, meant, reduction="none")
    known = means.known[:, None].expand_as(wrong)
    wanted = (known & (meant > _MEANT)).float()
    others = (known & (meant <= _MEANT)) * weights
    terms = [(wrong * one).sum() / one.sum().clamp(min=1) for one in (wanted, others)]
    loss: Tensor = (terms[0] + terms[1]) / 2
    return loss
