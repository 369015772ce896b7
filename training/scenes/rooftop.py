"""What stands on roofs: chimneys, air conditioning, solar panels, skylights."""

from __future__ import annotations

import math

import numpy as np

from .canvas import label_of
from .frame import Frame
from .ground import visibility
from .palette import RGB, flat, jittered
from .site import Site


def draw_box(
    site: Site, frame: Frame, halves: tuple[float, float], top: float, *, rgb: RGB, label: int
) -> None:
    """Draw a box with its top at a height in metres; it casts a shadow."""
    found = site.canvas.local(frame, *halves)
    if found is None:
        return
    patch, u, v = found
    mask = (np.abs(u) < halves[0]) & (np.abs(v) < halves[1])
    value = 1 + np.float32(0.04) * site.canvas.noise.fine[patch.window]
    site.canvas.paint(patch, mask, flat(rgb, value), label, top)


def draw_wall(site: Site, frame: Frame, half_length: float, rgb: RGB) -> None:
    """Draw a garden wall along a frame's u."""
    half_width = max(0.15, 0.6 / site.canvas.scale)
    draw_box(site, frame, (half_length, half_width), 2.0, rgb=rgb, label=label_of("wall"))


def furnish(
    site: Site,
    frame: Frame,
    halves: tuple[float, float],
    *,
    roof: str,
    eaves: float,
    slope: float,
    label: int,
) -> None:
    """Draw on a roof what is usual for its kind."""
    if min(halves) * site.canvas.scale < 4:
        return
    if roof == "flat":
        _furnish_flat(site, frame, halves, eaves, label)
    else:
        _furnish_pitched(site, frame, halves, eaves=eaves, slope=slope, label=label)


def _furnish_flat(
    site: Site, frame: Frame, halves: tuple[float, float], eaves: float, label: int
) -> None:
    if min(halves) < 3:
        return
    if min(halves) > 7 and site.chance(0.35):
        _draw_solar_rows(site, frame, halves, label)
        return
    if min(halves) > 8 and site.chance(0.5):
        _draw_skylights(site, frame, halves, label)
    count = int(np.clip(halves[0] * halves[1] / 30, 1, 14))
    for _ in range(int(site.random.integers(0, count + 1))):
        size = site.between(0.5, 1.5)
        u = site.between(-halves[0] + 2, halves[0] - 2)
        v = site.between(-halves[1] + 2, halves[1] - 2)
        rgb = jittered(site.random, (188, 188, 186), 14)
        box = frame.moved(u, v)
        draw_box(
            site, box, (size, size * site.between(0.6, 1.0)), eaves + 1.2, rgb=rgb, label=label
        )
    if min(halves) > 6 and eaves > 8:
        rgb = jittered(site.random, (172, 168, 162), 10)
        box = frame.moved(site.between(-0.4, 0.4) * halves[0], site.between(-0.4, 0.4) * halves[1])
        draw_box(
            site,
            box,
            (site.between(1.8, 3), site.between(1.5, 2.5)),
            eaves + 2.8,
            rgb=rgb,
            label=label,
        )


def _furnish_pitched(
    site: Site, frame: Frame, halves: tuple[float, float], *, eaves: float, slope: float, label: int
) -> None:
    turned = halves[1] > halves[0]
    long, short = max(halves), min(halves)
    base = frame.moved(0, 0, math.pi / 2) if turned else frame
    if site.chance(0.65) and short < 9:
        u, v = site.between(-0.6, 0.6) * long, site.between(-0.3, 0.3) * short
        top = eaves + (short - abs(v)) * slope + 0.9
        rgb = jittered(site.random, (132, 96, 82), 14)
        draw_box(site, base.moved(u, v), (0.45, 0.35), top, rgb=rgb, label=label)
    if site.chance(0.16):
        _draw_solar_panel(site, base, long, short, label)
    elif site.chance(0.3):
        for _ in range(int(site.random.integers(1, 4))):
            u = site.between(-0.7, 0.7) * long
            v = float(site.random.choice([-1, 1])) * site.between(0.35, 0.6) * short
            _paint_flat(site, base.moved(u, v), (0.4, 0.55), (96, 112, 128), label)


def _sunny_side(site: Site, frame: Frame) -> float:
    x, y, _ = site.sun.vector
    across = -x * math.sin(frame.angle) + y * math.cos(frame.angle)
    return 1.0 if across > 0 else -1.0


def _draw_solar_panel(site: Site, frame: Frame, long: float, short: float, label: int) -> None:
    half_length = long * site.between(0.3, 0.75)
    half_width = short * site.between(0.22, 0.36)
    place = frame.moved(
        site.between(-0.8, 0.8) * (long - half_length), _sunny_side(site, frame) * short * 0.5
    )
    _paint_cells(site, place, (half_length, half_width), label)


def _draw_solar_rows(site: Site, frame: Frame, halves: tuple[float, float], label: int) -> None:
    v = -halves[1] + 2
    while v < halves[1] - 2:
        _paint_cells(site, frame.moved(0, v), (halves[0] - 2, 0.8), label)
        v += 2.8


def _draw_skylights(site: Site, frame: Frame, halves: tuple[float, float], label: int) -> None:
    spacing = site.between(6, 10)
    rgb = (206.0, 214.0, 220.0) if site.chance(0.6) else (104.0, 114.0, 124.0)
    u = -halves[0] + spacing / 2
    while u < halves[0] - 1:
        _paint_flat(site, frame.moved(u, 0), (0.7, halves[1] * 0.7), rgb, label)
        u += spacing


def _paint_cells(site: Site, frame: Frame, halves: tuple[float, float], label: int) -> None:
    found = site.canvas.local(frame, *halves)
    if found is None:
        return
    patch, u, v = found
    mask = (np.abs(u) < halves[0]) & (np.abs(v) < halves[1])
    gap = max(0.08, 0.6 / site.canvas.scale)
    lines = (np.mod(u, np.float32(1.0)) < gap) | (np.mod(v + halves[1], np.float32(1.6)) < gap)
    value = np.where(lines, np.float32(1 + 0.9 * visibility(1.0, site.canvas.scale)), np.float32(1))
    site.canvas.paint(patch, mask, flat((42, 52, 82), value), label)


def _paint_flat(
    site: Site, frame: Frame, halves: tuple[float, float], rgb: RGB, label: int
) -> None:
    found = site.canvas.local(frame, *halves)
    if found is None:
        return
    patch, u, v = found
    mask = (np.abs(u) < halves[0]) & (np.abs(v) < halves[1])
    current = site.canvas.label[patch.window]
    value = 1 + np.float32(0.03) * site.canvas.noise.grain[patch.window]
    site.canvas.paint(patch, mask & (current == label), flat(rgb, value), label)
