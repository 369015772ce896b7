"""Buildings: footprints of wings under flat, gable and hip roofs, lit plane by plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Draft, Local, Mask
from .frame import Frame, Points
from .ground import visibility
from .noise import FloatArray
from .palette import RGB, WALLS, Paint, flat, jittered
from .rooftop import furnish
from .site import Site


@dataclass(frozen=True)
class Wing:
    """A rectangular part of a building in the building's frame, sides in metres."""

    u: float
    v: float
    half_length: float
    half_width: float


@dataclass(frozen=True)
class Building:
    """What a building is made of.

    Attributes:
        frame: Position and direction.
        wings: Its parts.
        roof: flat, gable or hip.
        paint: Colour and material of the roof.
        eaves: Height of the walls in metres.
        kind: What people call it.
        shape: rectangular, L-shaped and so on.
        slope: Rise of the roof for each metre.
    """

    frame: Frame
    wings: tuple[Wing, ...]
    roof: str
    paint: Paint
    eaves: float
    kind: str = "house"
    shape: str = "rectangular"
    slope: float = 0.55


@dataclass
class _Roof:
    mask: Mask
    rise: FloatArray
    slope_u: FloatArray
    slope_v: FloatArray
    down: FloatArray
    along: FloatArray
    edge: FloatArray


def draw_building(site: Site, building: Building) -> None:
    """Draw walls, roof and what stands on the roof."""
    canvas = site.canvas
    lean_x, lean_y = canvas.lean
    shift = building.eaves * lean_x, building.eaves * lean_y
    frame = building.frame
    roof_frame = Frame(frame.x + shift[0], frame.y + shift[1], frame.angle)
    local = canvas.local(roof_frame, *_reach(building.wings))
    if local is None:
        return
    roof = _roof(local, building)
    if not roof.mask.any():
        return
    draft = Draft("building", building.paint.word, building.kind, building.shape, building.roof)
    label = canvas.register(draft)
    if max(abs(shift[0]), abs(shift[1])) * canvas.scale > 1:
        _draw_walls(site, building, shift, label)
    rgb = jittered(site.random, building.paint.rgb, 6)
    value = _light(site, roof, roof_frame) * _texture(site, local, roof, building)
    if building.roof == "flat":
        value *= _parapet(roof)
    height = np.float32(building.eaves) + roof.rise
    canvas.paint(local.patch, roof.mask, flat(rgb, value), label, 0.0)
    np.copyto(canvas.height[local.patch.window], height, where=roof.mask)
    main = building.wings[0]
    furnish(
        site,
        roof_frame.moved(main.u, main.v),
        (main.half_length, main.half_width),
        roof=building.roof,
        eaves=building.eaves,
        slope=building.slope,
        label=label,
    )


def outline_of(building: Building, margin: float = 0.0) -> list[Points]:
    """Return the corners (4, 2) of every wing, moved outwards by a margin."""
    return [
        np.asarray(
            building.frame.rectangle(
                wing.u - wing.half_length - margin,
                wing.v - wing.half_width - margin,
                wing.u + wing.half_length + margin,
                wing.v + wing.half_width + margin,
            ),
            np.float64,
        )
        for wing in building.wings
    ]


def _reach(wings: tuple[Wing, ...]) -> tuple[float, float]:
    length = max(abs(wing.u) + wing.half_length for wing in wings)
    width = max(abs(wing.v) + wing.half_width for wing in wings)
    return length + 0.5, width + 0.5


def _roof(local: Local, building: Building) -> _Roof:
    shape = local.patch.shape
    zeros = np.zeros(shape, np.float32)
    roof = _Roof(
        np.zeros(shape, np.bool_),
        np.full(shape, -1, np.float32),
        zeros,
        zeros.copy(),
        zeros.copy(),
        zeros.copy(),
        np.full(shape, -1, np.float32),
    )
    for wing in building.wings:
        _add_wing(roof, local, wing, building)
    roof.mask = roof.edge > 0
    return roof


def _add_wing(roof: _Roof, local: Local, wing: Wing, building: Building) -> None:
    u, v = local.u - np.float32(wing.u), local.v - np.float32(wing.v)
    turned = wing.half_width > wing.half_length
    along, across = (v, u) if turned else (u, v)
    length, width = sorted((wing.half_length, wing.half_width), reverse=True)
    to_end = np.float32(length) - np.abs(along)
    to_side = np.float32(width) - np.abs(across)
    edge = np.minimum(to_end, to_side)
    slope = np.float32(0 if building.roof == "flat" else building.slope)
    hipped = (to_end < to_side) if building.roof == "hip" else np.zeros(edge.shape, np.bool_)
    rise = np.where(hipped, to_end, to_side) * slope
    better = (edge > 0) & (rise > roof.rise)
    side = np.where(hipped, 0, -np.sign(across)) * slope
    end = np.where(hipped, -np.sign(along), 0) * slope
    np.copyto(roof.rise, rise, where=better)
    np.copyto(roof.slope_u, side if turned else end, where=better)
    np.copyto(roof.slope_v, end if turned else side, where=better)
    np.copyto(roof.down, np.where(hipped, to_end, to_side), where=better)
    np.copyto(roof.along, np.where(hipped, across, along), where=better)
    np.maximum(roof.edge, edge, out=roof.edge)


def _light(site: Site, roof: _Roof, frame: Frame) -> FloatArray:
    cosine, sine = np.float32(math.cos(frame.angle)), np.float32(math.sin(frame.angle))
    slope_x = roof.slope_u * cosine - roof.slope_v * sine
    slope_y = roof.slope_u * sine + roof.slope_v * cosine
    return site.sun.brightness(slope_x, slope_y)


def _texture(site: Site, local: Local, roof: _Roof, building: Building) -> FloatArray:
    noise = site.canvas.noise
    window = local.patch.window
    material = building.paint.material
    value = 1 + np.float32(0.03) * noise.grain[window]
    value += np.float32(0.03) * noise.fine[window]
    value += np.float32(0.045) * noise.medium[window]
    scale = site.canvas.scale
    if material == "tile":
        value += _wave(roof.down, 0.36, 0.09, scale) + _wave(roof.along, 0.3, 0.05, scale)
    elif material == "metal":
        spacing = 1.1 if building.kind in ("hall", "warehouse") else 0.7
        value += _wave(roof.along, spacing, 0.06, scale)
        value += _panels(site, roof.along, 4.2, 0.05)
    elif material == "membrane":
        value += _seams(local.v, 2.1, scale) + _panels(site, local.v, 6.3, 0.025)
    else:
        value += np.float32(0.04) * noise.grain[window]
    if building.roof != "flat":
        value += np.where(roof.down < 0.3, np.float32(-0.1), np.float32(0))
        value += _ridge(roof, scale)
    return value


def _wave(position: FloatArray, period: float, strength: float, scale: float) -> FloatArray:
    strength *= visibility(period, scale)
    if strength == 0:
        return np.zeros_like(position)
    wave = np.sin(position * np.float32(2 * math.pi / period))
    return np.asarray(strength * wave, np.float32)


def _panels(site: Site, position: FloatArray, width: float, strength: float) -> FloatArray:
    tones = site.random.normal(0, strength, 64).astype(np.float32)
    return np.asarray(tones[np.floor(position / np.float32(width)).astype(np.int32) % 64])


def _seams(position: FloatArray, spacing: float, scale: float) -> FloatArray:
    near = np.mod(position, np.float32(spacing)) < max(0.1, 1 / scale)
    return np.asarray(near * np.float32(-0.07 * visibility(spacing, scale)), np.float32)


def _ridge(roof: _Roof, scale: float) -> FloatArray:
    top = float(roof.rise.max())
    slope = float(np.abs(roof.slope_u).max() + np.abs(roof.slope_v).max())
    return (roof.rise > top - max(0.16, 0.8 / scale) * slope) * np.float32(0.12)


def _parapet(roof: _Roof) -> FloatArray:
    rim = np.where(roof.edge < 0.45, np.float32(1.16), np.float32(1))
    return np.where((roof.edge >= 0.45) & (roof.edge < 0.8), np.float32(0.9), rim)


def _draw_walls(site: Site, building: Building, shift: tuple[float, float], label: int) -> None:
    wall = jittered(site.random, site.colour(WALLS), 8)
    for corners in outline_of(building):
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            _draw_wall(site.canvas, np.stack([start, end, end + shift, start + shift]), wall, label)


def _draw_wall(canvas: Canvas, quad: Points, rgb: RGB, label: int) -> None:
    found = canvas.polygon(quad)
    if found is None:
        return
    patch, mask = found
    value = np.float32(0.62) + np.float32(0.08) * canvas.noise.fine[patch.window]
    canvas.paint(patch, mask, flat(rgb, value), label, 1.5)


def make_wings(
    random: np.random.Generator, shape: str, length: float, width: float
) -> tuple[Wing, ...]:
    """Return the wings of a footprint.

    Args:
        random: Source of the proportions.
        shape: rectangular, L-shaped, T-shaped, U-shaped or courtyard.
        length: Longest extent along u in metres.
        width: Longest extent along v in metres.
    """
    half_length, half_width = length / 2, width / 2
    if shape == "rectangular":
        return (Wing(0, 0, half_length, half_width),)
    arm = min(length, width) * random.uniform(0.36, 0.48)
    bar = Wing(0, half_width - arm / 2, half_length, arm / 2)
    left = Wing(-half_length + arm / 2, 0, arm / 2, half_width)
    right = Wing(half_length - arm / 2, 0, arm / 2, half_width)
    middle = Wing(random.uniform(-0.15, 0.15) * length, 0, arm / 2, half_width)
    if shape == "L-shaped":
        return bar, (left if random.random() < 0.5 else right)
    if shape == "T-shaped":
        return bar, middle
    if shape == "U-shaped":
        return bar, left, right
    return bar, left, right, Wing(0, -half_width + arm / 2, half_length, arm / 2)
