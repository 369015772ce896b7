"""Mirror images of a tile, over which the answers of a small network are averaged.

A network has no reason to see an object otherwise in a mirror, yet a small one does; the mean of
its answers is steadier than one of them (test-time augmentation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .prompted_objects import Points, Rectangle


@dataclass(frozen=True)
class Mirror:
    """One way to look at a square tile; each undoes itself.

    Attributes:
        across: Left and right change places.
        down: Top and bottom change places.
    """

    across: bool = False
    down: bool = False

    def tensor(self, values: Tensor) -> Tensor:
        """Return values (..., H, W) in the mirror."""
        axes = [axis for axis, turned in ((-1, self.across), (-2, self.down)) if turned]
        return values.flip(axes) if axes else values

    def points(self, places: Points, side: int) -> Points:
        """Return points (..., 2), x before y, pixels being areas of a tile, in the mirror."""
        turned: NDArray[np.bool_] = np.array([self.across, self.down])
        return np.where(turned, side - places, places)

    def box(self, box: Rectangle, side: int) -> Rectangle:
        """Return a rectangle (left, top, right, bottom) in the mirror."""
        corners = self.points(np.array(box).reshape(2, 2), side)
        return (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())


PLAIN = (Mirror(),)
FOUR = (Mirror(), Mirror(across=True), Mirror(down=True), Mirror(across=True, down=True))
