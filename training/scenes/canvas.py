"""The canvas: colour, height and labels at twice the resolution of the scene."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .frame import Frame, Points
from .legend import CLASS_ID
from .noise import FloatArray, noise_bank

SUPERSAMPLING: Final = 2
_CLASS_BITS: Final = 6
Mask = NDArray[np.bool_]


class Patch(NamedTuple):
    """A rectangle of canvas pixels.

    Attributes:
        rows: Its rows.
        columns: Its columns.
        x: Positions of its columns in metres, (1, w).
        y: Positions of its rows in metres, (h, 1).
    """

    rows: slice
    columns: slice
    x: FloatArray
    y: FloatArray

    @property
    def window(self) -> tuple[slice, slice]:
        """Index of a (h, w) array."""
        return self.rows, self.columns

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y.shape[0], self.x.shape[1]


class Local(NamedTuple):
    """A patch with coordinates of a frame, both (h, w) in metres."""

    patch: Patch
    u: FloatArray
    v: FloatArray


@dataclass(frozen=True)
class Draft:
    """Facts about an object while it is drawn."""

    class_name: str
    colour: str = ""
    kind: str = ""
    shape: str = ""
    roof: str = ""


@dataclass
class Canvas:
    """Layers of a scene that is being drawn.

    Args:
        shape: Rows and columns of the finished scene.
        pixel_size: Metres in a pixel of the finished scene.
        random: Source of the noise.

    Attributes:
        colour: (3, h, w) float32 reflectance in 0..255.
        height: (h, w) float32 metres above the ground.
        label: (h, w) int32, instance number and class in one.
        lean: Metres that a roof moves in x and y for each metre of its height.
    """

    shape: tuple[int, int]
    pixel_size: float
    random: np.random.Generator
    lean: tuple[float, float] = (0.0, 0.0)
    drafts: list[Draft] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scale = SUPERSAMPLING / self.pixel_size
        rows, columns = (side * SUPERSAMPLING for side in self.shape)
        self.colour = np.zeros((3, rows, columns), np.float32)
        self.height = np.zeros((rows, columns), np.float32)
        self.label = np.zeros((rows, columns), np.int32)
        self.noise = noise_bank(self.random, (rows, columns), self.scale)
        self.extent = (columns / self.scale, rows / self.scale)
        self.whole = self._clipped(0, 0, columns, rows)

    def register(self, draft: Draft) -> int:
        """Return the label of a new object."""
        self.drafts.append(draft)
        return label_of(draft.class_name, len(self.drafts))

    def patch(self, left: float, top: float, right: float, bottom: float) -> Patch | None:
        """Return the pixels of a rectangle in metres, or None outside the canvas."""
        rows, columns = self.height.shape
        column0 = max(0, math.floor(left * self.scale))
        row0 = max(0, math.floor(top * self.scale))
        column1 = min(columns, math.ceil(right * self.scale) + 1)
        row1 = min(rows, math.ceil(bottom * self.scale) + 1)
        if column0 >= column1 or row0 >= row1:
            return None
        return self._clipped(column0, row0, column1, row1)

    def local(self, frame: Frame, half_length: float, half_width: float) -> Local | None:
        """Return the pixels around a rectangle centred on a frame, with the frame's coordinates."""
        cosine, sine = math.cos(frame.angle), math.sin(frame.angle)
        reach_x = abs(half_length * cosine) + abs(half_width * sine)
        reach_y = abs(half_length * sine) + abs(half_width * cosine)
        patch = self.patch(
            frame.x - reach_x, frame.y - reach_y, frame.x + reach_x, frame.y + reach_y
        )
        if patch is None:
            return None
        dx, dy = patch.x - np.float32(frame.x), patch.y - np.float32(frame.y)
        cosine32, sine32 = np.float32(cosine), np.float32(sine)
        return Local(patch, dx * cosine32 + dy * sine32, dy * cosine32 - dx * sine32)

    def polygon(self, points: Points) -> tuple[Patch, Mask] | None:
        """Return the pixels inside a closed outline (n, 2) in metres."""
        return self.rings([points], [])

    def shape_of(self, geometry: Any) -> tuple[Patch, Mask] | None:
        """Return the pixels inside a shapely polygon or several."""
        parts = [part for part in getattr(geometry, "geoms", [geometry]) if not part.is_empty]
        parts = [part for part in parts if part.geom_type == "Polygon"]
        return self.rings(
            [np.asarray(part.exterior.coords) for part in parts],
            [np.asarray(ring.coords) for part in parts for ring in part.interiors],
        )

    def rings(self, outer: list[Points], inner: list[Points]) -> tuple[Patch, Mask] | None:
        """Return the pixels inside outer rings and outside inner ones."""
        if not outer:
            return None
        low = np.min([ring.min(0) for ring in outer], axis=0)
        high = np.max([ring.max(0) for ring in outer], axis=0)
        patch = self.patch(low[0], low[1], high[0], high[1])
        if patch is None:
            return None
        image = Image.new("L", (patch.shape[1], patch.shape[0]))
        draw = ImageDraw.Draw(image)
        for ring, value in [*((r, 255) for r in outer), *((r, 0) for r in inner)]:
            draw.polygon(self.pixels(ring, patch), fill=value)
        return patch, np.asarray(image) > 127

    def pixels(self, points: Points, patch: Patch) -> list[tuple[float, float]]:
        """Return points (n, 2) in metres as pixel positions inside a patch."""
        moved = points * self.scale - (patch.columns.start + 0.5, patch.rows.start + 0.5)
        return [(float(x), float(y)) for x, y in moved]

    def lines(self, lines: Iterable[Points], width: float, patch: Patch) -> FloatArray:
        """Return the coverage (h, w) in 0..1 of lines of a width in metres.

        A line thinner than a pixel covers it in part.
        """
        image = Image.new("L", (patch.shape[1], patch.shape[0]))
        draw = ImageDraw.Draw(image)
        wide = width * self.scale
        for line in lines:
            draw.line(self.pixels(line, patch), fill=255, width=max(1, round(wide)))
        return np.asarray(image, np.float32) * np.float32(min(1.0, wide) / 255)

    def paint(
        self,
        patch: Patch,
        mask: Mask,
        colour: FloatArray,
        label: int,
        height: FloatArray | float | None = None,
    ) -> None:
        """Draw colour (3, h, w), label and height where the mask (h, w) is set."""
        np.copyto(self.colour[:, patch.rows, patch.columns], colour, where=mask)
        np.copyto(self.label[patch.window], np.int32(label), where=mask)
        if height is not None:
            np.copyto(self.height[patch.window], np.float32(height), where=mask)

    def blend(
        self, patch: Patch, cover: FloatArray, rgb: tuple[float, float, float] | FloatArray
    ) -> None:
        """Mix a colour into the patch by a cover (h, w) in 0..1; labels stay."""
        region = self.colour[:, patch.rows, patch.columns]
        region += (np.asarray(rgb, np.float32).reshape(3, 1, 1) - region) * cover

    def shade(self, patch: Patch, factor: FloatArray) -> None:
        """Multiply the patch's colour by a factor (h, w)."""
        self.colour[:, patch.rows, patch.columns] *= factor

    def label_at(self, x: float, y: float) -> int:
        """Return the label at a position, 0 outside."""
        row, column = int(y * self.scale), int(x * self.scale)
        rows, columns = self.label.shape
        if 0 <= row < rows and 0 <= column < columns:
            return int(self.label[row, column])
        return 0

    def reduced(self) -> tuple[FloatArray, NDArray[np.uint8], NDArray[np.int32]]:
        """Return colour (3, H, W), classes (H, W) and instances (H, W) of the scene's pixels.

        Colour is the mean of four canvas pixels and the label the most frequent one of them.
        """
        four = [(i, j) for i in range(SUPERSAMPLING) for j in range(SUPERSAMPLING)]
        parts = [self.colour[:, i::SUPERSAMPLING, j::SUPERSAMPLING] for i, j in four]
        colour = np.asarray((parts[0] + parts[1] + parts[2] + parts[3]) * np.float32(0.25))
        a, b, c, d = (self.label[i::SUPERSAMPLING, j::SUPERSAMPLING] for i, j in four)
        other = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
        label = np.where((a == b) | (a == c) | (a == d), a, other)
        return colour, class_of(label), (label >> _CLASS_BITS).astype(np.int32)

    def _clipped(self, column0: int, row0: int, column1: int, row1: int) -> Patch:
        x = (np.arange(column0, column1, dtype=np.float32) + 0.5) / np.float32(self.scale)
        y = (np.arange(row0, row1, dtype=np.float32) + 0.5) / np.float32(self.scale)
        return Patch(slice(row0, row1), slice(column0, column1), x[None, :], y[:, None])


def label_of(class_name: str, instance: int = 0) -> int:
    """Return class and instance number in one value."""
    return instance << _CLASS_BITS | CLASS_ID[class_name]


def class_of(label: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the classes of labels."""
    return (label & ((1 << _CLASS_BITS) - 1)).astype(np.uint8)
