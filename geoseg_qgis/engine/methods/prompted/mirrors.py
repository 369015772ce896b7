"""Mirror images of a tile, over which predictions are averaged (test-time augmentation).

A small network predicts another mask for a mirrored tile; the mean is steadier than each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .prompted_objects import Points, Rectangle


@dataclass(frozen=True)
class Mirror:
    """A mirror image of a square tile; mirroring it again undoes it.

    Attributes:
        across: Left and right are swapped.
        down: Top and bottom are swapped.
    """

    across: bool = False
    down: bool = False

    def tensor(self, values: Tensor) -> Tensor:
        """Return values (..., H, W) mirrored."""
        axes = [axis for axis, turned in ((-1, self.across), (-2, self.down)) if turned]
        return values.flip(axes) if axes else values

    def points(self, places: Points, side: int) -> Points:
        """Return points (..., 2), x before y, in pixels of the tile, mirrored."""
        turned: NDArray[np.bool_] = np.array([self.across, self.down])
        return np.where(turned, side - places, places)

    def box(self, box: Rectangle, side: int) -> Rectangle:
        """Return a rectangle (left, top, right, bottom) mirrored."""
        corners = self.points(np.array(box).reshape(2, 2), side)
        return (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())


PLAIN = (Mirror(),)
FOUR = (Mirror(), Mirror(across=True), Mirror(down=True), Mirror(across=True, down=True))
