"""Sports fields: pitches, courts and running tracks with their lines."""

from __future__ import annotations

import math

import numpy as np

from .canvas import Draft, Local, Mask
from .frame import Frame
from .noise import FloatArray
from .palette import COURTS, Paint, flat, jittered, mixed
from .site import Site

WHITE = (234.0, 234.0, 228.0)


def draw_pitch(site: Site, frame: Frame, half_length: float = 50, half_width: float = 32) -> None:
    """Draw a football pitch with mowing stripes."""
    found = _reserve(site, frame, half_length, half_width, 3.0)
    if found is None:
        return
    patch, u, v = found
    inside = (np.abs(u) < half_length + 3) & (np.abs(v) < half_width + 3)
    noise = site.canvas.noise
    stripes = np.float32(0.045) * np.sign(np.sin(u * np.float32(math.pi / 5.5)))
    value = 1 + stripes + np.float32(0.035) * noise.fine[patch.window]
    value += np.float32(0.05) * noise.medium[patch.window]
    wear = np.exp(-(((np.abs(u) - half_length + 4) / 5) ** 2) - (v / 4) ** 2) * np.float32(0.4)
    green = jittered(site.random, (86, 122, 64), 7)
    colour = mixed(green, site.climate.soil[0], wear) * value
    label = site.canvas.register(Draft("sports field", "green", "football pitch"))
    site.canvas.paint(patch, inside, colour, label)
    boxes = [(0.0, 0.0, half_length, half_width)]
    for side in (-1.0, 1.0):
        boxes.append((side * (half_length - 8.2), 0.0, 8.2, min(20.0, half_width * 0.62)))
        boxes.append((side * (half_length - 2.7), 0.0, 2.7, min(9.0, half_width * 0.28)))
    line = _boxes(u, v, boxes, site)
    line |= (np.abs(u) < _pen(site)) & (np.abs(v) < half_width)
    line |= np.abs(np.hypot(u, v) - 9.15) < _pen(site)
    site.canvas.blend(patch, (line & inside) * np.float32(0.8), WHITE)


def draw_court(site: Site, frame: Frame, kind: str = "tennis court") -> None:
    """Draw a tennis or basketball court in one of the usual colours."""
    half_length, half_width = (11.9, 5.5) if kind == "tennis court" else (14.0, 7.5)
    found = _reserve(site, frame, half_length, half_width, 3.5)
    if found is None:
        return
    patch, u, v = found
    paint: Paint = site.pick(COURTS)
    outside = site.pick(COURTS)
    inside = (np.abs(u) < half_length + 3.5) & (np.abs(v) < half_width + 3.5)
    playing = (np.abs(u) < half_length) & (np.abs(v) < half_width)
    value = 1 + np.float32(0.02) * site.canvas.noise.fine[patch.window]
    label = site.canvas.register(Draft("sports field", outside.word, kind))
    rgb = jittered(site.random, outside.rgb, 4)
    site.canvas.paint(patch, inside, flat(rgb, value), label)
    site.canvas.paint(patch, playing, flat(jittered(site.random, paint.rgb, 4), value), label)
    boxes = [(0.0, 0.0, half_length, half_width)]
    if kind == "tennis court":
        boxes += [(0.0, 0.0, half_length, half_width - 1.37), (0.0, 0.0, 6.4, half_width - 1.37)]
        line = _boxes(u, v, boxes, site) | ((np.abs(v) < _pen(site)) & (np.abs(u) < 6.4))
        line |= (np.abs(u) < _pen(site)) & (np.abs(v) < half_width + 0.9)
    else:
        boxes += [(-half_length + 2.9, 0.0, 2.9, 2.45), (half_length - 2.9, 0.0, 2.9, 2.45)]
        line = _boxes(u, v, boxes, site) | ((np.abs(u) < _pen(site)) & (np.abs(v) < half_width))
        line |= np.abs(np.hypot(u, v) - 1.8) < _pen(site)
    site.canvas.blend(patch, (line & inside) * np.float32(0.85), WHITE)


def draw_track(site: Site, frame: Frame) -> None:
    """Draw a running track round a football pitch."""
    straight, radius = 42.2, 36.5
    found = _reserve(site, frame, straight + radius, radius, 10.0)
    if found is None:
        return
    patch, u, v = found
    beyond = np.maximum(np.abs(u) - np.float32(straight), 0)
    distance = np.hypot(beyond, v) - np.float32(radius)
    lanes = (distance > 0) & (distance < 9.8)
    value = 1 + np.float32(0.025) * site.canvas.noise.fine[patch.window]
    label = site.canvas.register(Draft("sports field", "red", "running track"))
    red = jittered(site.random, (164, 88, 70), 6)
    site.canvas.paint(patch, lanes, flat(red, value), label)
    pen = _pen(site)
    line = lanes & (np.mod(distance, np.float32(1.22)) < 2 * pen)
    strength = 0.7 if site.canvas.scale > 2.2 else 0.25
    site.canvas.blend(patch, line * np.float32(strength), WHITE)
    draw_pitch(site, frame, 46.0, 28.0)


def _reserve(
    site: Site, frame: Frame, half_length: float, half_width: float, margin: float
) -> Local | None:
    reach = half_length + margin, half_width + margin
    site.reserve(frame.rectangle(-reach[0], -reach[1], reach[0], reach[1]))
    return site.canvas.local(frame, *reach)


def _pen(site: Site) -> float:
    return max(0.07, 0.55 / site.canvas.scale)


def _boxes(
    u: FloatArray, v: FloatArray, boxes: list[tuple[float, float, float, float]], site: Site
) -> Mask:
    pen = _pen(site)
    line = np.zeros(np.broadcast_shapes(u.shape, v.shape), np.bool_)
    for centre_u, centre_v, half_u, half_v in boxes:
        du, dv = np.abs(u - np.float32(centre_u)), np.abs(v - np.float32(centre_v))
        outer = (du < half_u + pen) & (dv < half_v + pen)
        line |= outer & ((du > half_u - pen) | (dv > half_v - pen))
    return line
