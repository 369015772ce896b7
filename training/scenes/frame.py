"""Positions on the ground: metres from the top left corner, x to the right and y down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """A local coordinate system with axes u and v.

    Attributes:
        x: Origin in metres.
        y: Origin in metres.
        angle: Direction of u in radians, from x towards y.
    """

    x: float
    y: float
    angle: float = 0.0

    def point(self, u: float, v: float) -> tuple[float, float]:
        """Return the position of local coordinates."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return self.x + u * cosine - v * sine, self.y + u * sine + v * cosine

    def moved(self, u: float, v: float, turn: float = 0.0) -> Frame:
        """Return a frame with its origin at (u, v), turned by an angle."""
        x, y = self.point(u, v)
        return Frame(x, y, self.angle + turn)

    def points(self, local: Points) -> Points:
        """Return the positions (n, 2) of local coordinates (n, 2)."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        turned = local @ np.array([[cosine, sine], [-sine, cosine]])
        return np.asarray(turned + np.array([self.x, self.y]), np.float64)

    def rectangle(self, u0: float, v0: float, u1: float, v1: float) -> Points:
        """Return the four corners (4, 2) of a rectangle along the axes."""
        return self.points(np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]], np.float64))


def blob(
    random: np.random.Generator,
    frame: Frame,
    radii: tuple[float, float],
    roughness: float = 0.2,
    corners: int = 96,
) -> Points:
    """Return a closed organic outline (corners, 2) around the frame's origin."""
    theta = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radius = np.ones(corners)
    for wave in range(2, 9):
        radius += (
            roughness * random.normal() / wave**0.9 * np.cos(wave * theta + random.uniform(0, 6.3))
        )
    radius = np.clip(radius, 0.35, 1.8)
    local = np.stack([radii[0] * radius * np.cos(theta), radii[1] * radius * np.sin(theta)], axis=1)
    return frame.points(local)


def winding(
    random: np.random.Generator, start: Points, end: Points, amplitude: float, corners: int = 60
) -> Points:
    """Return a smooth line (corners, 2) between two points that swings to both sides."""
    along = np.linspace(0, 1, corners)
    swing = np.zeros(corners)
    for wave in range(1, 5):
        swing += random.normal() / wave**1.3 * np.sin(np.pi * wave * along + random.uniform(0, 6.3))
    direction = end - start
    normal = np.array([-direction[1], direction[0]]) / max(float(np.hypot(*direction)), 1e-6)
    line = start + along[:, None] * direction + amplitude * swing[:, None] * normal
    return np.asarray(line, np.float64)
