"""Parcels of farmland."""

from __future__ import annotations

import math

from .frame import Frame
from .ground import CROPS, lay_field
from .site import Site
from .vegetation import draw_hedge


def split(
    site: Site, sides: tuple[float, float, float, float], smallest: float
) -> list[tuple[float, float, float, float]]:
    """Return rectangles (u0, v0, u1, v1) that share out a rectangle, cut at random."""
    u0, v0, u1, v1 = sides
    length, width = u1 - u0, v1 - v0
    if max(length, width) < 1.7 * smallest or (
        max(length, width) < 2.6 * smallest and site.chance(0.3)
    ):
        return [sides]
    share = site.between(0.35, 0.65)
    if length > width * site.between(0.8, 1.25):
        cut = u0 + share * length
        parts = [(u0, v0, cut, v1), (cut, v0, u1, v1)]
    else:
        cut = v0 + share * width
        parts = [(u0, v0, u1, cut), (u0, cut, u1, v1)]
    return [piece for part in parts for piece in split(site, part, smallest)]


def draw_parcel(site: Site, frame: Frame, sides: tuple[float, float, float, float]) -> None:
    """Draw one parcel with its crop, sometimes with a hedge along an edge."""
    u0, v0, u1, v1 = sides
    gap = site.between(0.6, 2.2)
    outline = frame.rectangle(u0 + gap, v0 + gap, u1 - gap, v1 - gap)
    crop = CROPS[int(site.random.integers(len(CROPS)))]
    along = 0.0 if (u1 - u0) > (v1 - v0) else math.pi / 2
    if site.chance(0.92):
        lay_field(site, outline, frame.angle + along, crop)
    if site.chance(0.22):
        edge = frame.moved((u0 + u1) / 2, v0)
        draw_hedge(site, edge, (u1 - u0) / 2, 1.3)
        for _ in range(int((u1 - u0) / 14)):
            x, y = frame.point(site.between(u0, u1), v0 + site.random.normal(0, 1))
            site.crowns.append((x, y, site.between(1.6, 4.0)))
