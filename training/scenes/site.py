"""What all makers of a scene share: canvas, chance, light, climate, and reserved ground."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .canvas import Canvas
from .frame import Points
from .palette import DESERT_ROOFS, MEMBRANES, METALS, RGB, TILES, Paint
from .sun import Sun


@dataclass(frozen=True)
class Climate:
    """Colours of land and plants, and what roofs are made of.

    Attributes:
        grass: Two colours that meadows mix.
        soil: Two colours of bare soil.
        trees: Colours of crowns.
        species: Shapes of crowns.
        water: Shallow and deep colour.
        roofs: Roofs of houses.
        asphalt: Colour of roads.
    """

    grass: tuple[RGB, RGB]
    soil: tuple[RGB, RGB]
    trees: tuple[RGB, ...]
    species: tuple[str, ...]
    water: tuple[RGB, RGB]
    roofs: tuple[Paint, ...]
    asphalt: RGB


SAND: Final[tuple[RGB, RGB]] = ((206, 190, 160), (188, 170, 140))
CLIMATES: Final[dict[str, Climate]] = {
    "summer": Climate(
        ((92, 112, 62), (126, 134, 82)),
        ((142, 116, 90), (120, 96, 74)),
        ((62, 84, 46), (72, 94, 50), (54, 76, 48), (84, 102, 58)),
        ("broadleaf", "broadleaf", "broadleaf", "conifer"),
        ((84, 100, 84), (38, 60, 66)),
        TILES,
        (122, 121, 120),
    ),
    "lush": Climate(
        ((78, 108, 56), (104, 128, 68)),
        ((128, 104, 82), (104, 84, 68)),
        ((48, 76, 40), (58, 86, 44), (44, 68, 44)),
        ("broadleaf", "broadleaf", "conifer"),
        ((72, 112, 108), (26, 62, 84)),
        TILES + METALS[:3],
        (108, 108, 110),
    ),
    "dry": Climate(
        ((148, 140, 94), (172, 158, 116)),
        ((172, 134, 100), (152, 112, 82)),
        ((82, 92, 58), (98, 104, 66), (74, 84, 60)),
        ("broadleaf", "broadleaf", "palm"),
        ((96, 108, 98), (52, 76, 84)),
        TILES[:4] + MEMBRANES[:2],
        (136, 132, 128),
    ),
    "autumn": Climate(
        ((112, 112, 66), (134, 126, 80)),
        ((126, 104, 84), (104, 86, 70)),
        ((118, 100, 56), (134, 96, 54), (84, 90, 50), (74, 86, 48), (68, 82, 48), (138, 116, 64)),
        ("broadleaf", "broadleaf", "conifer"),
        ((78, 88, 82), (44, 54, 60)),
        TILES,
        (114, 113, 114),
    ),
    "tropical": Climate(
        ((96, 124, 58), (122, 140, 74)),
        ((168, 112, 80), (148, 94, 66)),
        ((54, 88, 42), (66, 102, 46), (78, 110, 52)),
        ("broadleaf", "broadleaf", "palm"),
        ((98, 104, 82), (62, 78, 74)),
        METALS + TILES[:3],
        (118, 114, 112),
    ),
    "desert": Climate(
        ((112, 124, 72), (136, 138, 88)),
        ((196, 178, 150), (176, 156, 128)),
        ((78, 92, 58), (88, 100, 66), (70, 86, 60)),
        ("palm", "palm", "broadleaf"),
        ((74, 122, 128), (32, 74, 92)),
        DESERT_ROOFS + TILES[:1],
        (112, 108, 106),
    ),
}


@dataclass
class Site:
    """A scene while it is built.

    Attributes:
        canvas: Where it is drawn.
        random: Source of chance.
        sun: The light.
        climate: Colours of the land.
        crowns: Trees to draw last: x, y, radius in metres.
        stands: Forests to fill with crowns: label of the stand and its outline.
    """

    canvas: Canvas
    random: np.random.Generator
    sun: Sun
    climate: Climate
    crowns: list[tuple[float, float, float]] = field(default_factory=list)
    stands: list[tuple[int, Points]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.width, self.height = self.canvas.extent
        self._cells_per_metre = min(2.0, self.canvas.scale / 2)
        shape = (
            int(self.height * self._cells_per_metre) + 1,
            int(self.width * self._cells_per_metre) + 1,
        )
        self.taken: NDArray[np.bool_] = np.zeros(shape, np.bool_)

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the scene in metres."""
        return self.width / 2, self.height / 2

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self.random.random() < probability)

    def between(self, low: float, high: float) -> float:
        """Return a number between two."""
        return low + (high - low) * float(self.random.random())

    def pick(self, options: tuple[Paint, ...]) -> Paint:
        """Return one of the paints."""
        return options[int(self.random.integers(len(options)))]

    def colour(self, options: tuple[RGB, ...]) -> RGB:
        """Return one of the colours."""
        return options[int(self.random.integers(len(options)))]

    def is_free(self, points: Points) -> bool:
        """Return whether a polygon (n, 2) touches the scene and nothing that was reserved."""
        found = self._cells(points)
        if found is None:
            return False
        rows, columns, mask = found
        return bool(mask.any()) and not bool((self.taken[rows, columns] & mask).any())

    def reserve(self, points: Points) -> None:
        """Mark a polygon (n, 2) as taken."""
        found = self._cells(points)
        if found is not None:
            rows, columns, mask = found
            self.taken[rows, columns] |= mask

    def claim(self, points: Points) -> bool:
        """Reserve a polygon if it is free, and return whether it was."""
        free = self.is_free(points)
        if free:
            self.reserve(points)
        return free

    def is_open(self, x: float, y: float) -> bool:
        """Return whether a position lies inside and is not reserved."""
        row, column = int(y * self._cells_per_metre), int(x * self._cells_per_metre)
        rows, columns = self.taken.shape
        inside = x >= 0 and y >= 0 and row < rows and column < columns
        return inside and not bool(self.taken[row, column])

    def _cells(self, points: Points) -> tuple[slice, slice, NDArray[np.bool_]] | None:
        cells = points * self._cells_per_metre
        low = np.maximum(np.floor(cells.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(cells.max(0)).astype(int) + 1, self.taken.shape[::-1])
        if (low >= high).any():
            return None
        image = Image.new("L", (int(high[0] - low[0]), int(high[1] - low[1])))
        outline = [(float(x), float(y)) for x, y in cells - low]
        ImageDraw.Draw(image).polygon(outline, fill=255)
        return slice(low[1], high[1]), slice(low[0], high[0]), np.asarray(image) > 127
