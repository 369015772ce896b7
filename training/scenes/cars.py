"""Cars, vans, trucks and buses, on roads, on parking lots and in front of houses."""

from __future__ import annotations

import math

import numpy as np

from .canvas import Draft, class_of
from .frame import Frame
from .legend import CLASS_ID
from .noise import FloatArray
from .palette import CARS, Paint, flat, jittered
from .site import Site

_CAR = CLASS_ID["car"]
_SHARES = np.array([share for _, share in CARS])


def draw_car(site: Site, frame: Frame, kind: str = "car") -> None:
    """Draw a vehicle that heads along a frame's u, unless another one stands there.

    Args:
        site: Where to draw.
        frame: Its centre and heading.
        kind: car, van, truck or bus.
    """
    half_length, half_width, top = _dimensions(site, kind)
    found = site.canvas.local(frame, half_length + 0.2, half_width + 0.2)
    if found is None:
        return
    patch, u, v = found
    p, q = u / np.float32(half_length), v / np.float32(half_width)
    body = p**4 + q**4 < np.float32(1.02)
    if not body.any() or (class_of(site.canvas.label[patch.window][body]) == _CAR).any():
        return
    paint = CARS[int(site.random.choice(len(CARS), p=_SHARES / _SHARES.sum()))][0]
    if kind in ("truck", "bus"):
        paint = CARS[int(site.random.choice([0, 0, 3, 4, 5]))][0]
    label = site.canvas.register(Draft("car", paint.word, kind))
    colour = _colour(site, p, q, paint, kind)
    site.canvas.paint(patch, body, colour, label, top)


def _dimensions(site: Site, kind: str) -> tuple[float, float, float]:
    if kind == "truck":
        return site.between(4.0, 7.5), 1.25, 3.4
    if kind == "bus":
        return 6.0, 1.28, 3.1
    if kind == "van":
        return site.between(2.5, 3.0), 1.0, 2.2
    return site.between(2.0, 2.45), site.between(0.86, 0.95), 1.45


def _colour(site: Site, p: FloatArray, q: FloatArray, paint: Paint, kind: str) -> FloatArray:
    rgb = jittered(site.random, paint.rgb, 6)
    value = np.float32(1.02) - np.float32(0.1) * q * q
    if kind in ("truck", "bus"):
        cab = p > np.float32(0.62)
        gap = np.abs(p - np.float32(0.6)) < 0.03
        value = np.where(cab, value * np.float32(0.78), value)
        value = np.where(gap if kind == "truck" else p > 0.95, np.float32(0.25), value)
        return flat(rgb, value)
    glass = ((p > 0.18) & (p < 0.46)) | ((p > -0.82) & (p < -0.58))
    sides = (np.abs(q) > 0.74) & (p > -0.6) & (p < 0.3)
    dark = (glass & (np.abs(q) < 0.86)) | sides
    cabin = (p >= -0.58) & (p <= 0.18)
    value = np.where(cabin, value * np.float32(1.07), value)
    colour = flat(rgb, value)
    np.copyto(colour, np.array([44, 50, 58], np.float32)[:, None, None], where=dark)
    return colour


def park_row(site: Site, frame: Frame, stalls: int, occupied: float, width: float = 2.6) -> None:
    """Draw cars in stalls that lie side by side along a frame's u, heading along v."""
    for stall in range(stalls):
        if not site.chance(occupied):
            continue
        turn = math.pi / 2 if site.chance(0.6) else -math.pi / 2
        place = frame.moved(
            (stall + 0.5) * width + site.random.normal(0, 0.12), site.random.normal(0, 0.25), turn
        )
        tilted = Frame(place.x, place.y, place.angle + site.random.normal(0, 0.03))
        draw_car(site, tilted, "van" if site.chance(0.08) else "car")
