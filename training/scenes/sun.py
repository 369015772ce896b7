"""The sun: shading of slopes and shadows cast on everything behind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .noise import FloatArray


@dataclass(frozen=True)
class Sun:
    """Position of the sun.

    Attributes:
        azimuth: Radians clockwise from north, which is up in the image.
        elevation: Radians above the horizon.
    """

    azimuth: float
    elevation: float

    @property
    def vector(self) -> tuple[float, float, float]:
        """Unit vector towards the sun: x right, y down, z up."""
        flat = math.cos(self.elevation)
        return (
            math.sin(self.azimuth) * flat,
            -math.cos(self.azimuth) * flat,
            math.sin(self.elevation),
        )

    def brightness(self, slope_x: FloatArray, slope_y: FloatArray) -> FloatArray:
        """Return the light on a surface relative to level ground.

        Args:
            slope_x: Rise of the surface for each metre in x.
            slope_y: Rise for each metre in y.

        Returns:
            float32, 1 on level ground and never below the light of the sky.
        """
        x, y, z = self.vector
        direct = z - slope_x * np.float32(x) - slope_y * np.float32(y)
        direct = direct / (np.sqrt(1 + slope_x**2 + slope_y**2) * np.float32(z))
        return np.asarray(0.42 + 0.58 * np.clip(direct, 0, 1.7), np.float32)


def cast_shadow(height: FloatArray, sun: Sun, scale: float) -> FloatArray:
    """Return how much of the sun is hidden at every pixel, 0..1.

    The height of the shadow's upper edge is a running maximum along the sun's direction; it is
    built from shifts that double in length.

    Args:
        height: (h, w) metres above the ground.
        sun: Position of the sun.
        scale: Pixels in a metre.
    """
    x, y, _ = sun.vector
    flat = math.hypot(x, y)
    drop = math.tan(sun.elevation) / scale
    reach = float(height.max()) / drop
    edge = height
    step = 1
    while step <= reach:
        across, down = round(-x / flat * step), round(-y / flat * step)
        moved = _shifted(edge, down, across)
        moved -= np.float32(drop * math.hypot(across, down))
        edge = np.maximum(edge, moved)
        step *= 2
    return np.asarray(np.clip((edge - height - 0.12) / 0.45, 0, 1), np.float32)


def _shifted(field: FloatArray, down: int, across: int) -> FloatArray:
    result = np.zeros_like(field)
    rows, columns = field.shape
    if abs(down) >= rows or abs(across) >= columns:
        return result
    target_rows = slice(max(0, down), rows + min(0, down))
    target_columns = slice(max(0, across), columns + min(0, across))
    source_rows = slice(max(0, -down), rows - max(0, down))
    source_columns = slice(max(0, -across), columns - max(0, across))
    result[target_rows, target_columns] = field[source_rows, source_columns]
    return result
