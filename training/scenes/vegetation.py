"""Trees, forests and hedges: crowns with clumps of leaves, lit from the sun's side."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .canvas import Canvas, Draft, Mask, label_of
from .frame import Frame, Points
from .ground import Cover, ground_colour
from .noise import FloatArray
from .palette import RGB, flat, jittered
from .site import Site
from .sun import Sun


class Crown(NamedTuple):
    """A crown seen from above.

    Attributes:
        shade: (n, n) brightness.
        height: (n, n) metres above the trunk's foot.
        mask: (n, n) where leaves are.
    """

    shade: FloatArray
    height: FloatArray
    mask: Mask


class CrownBank:
    """Crowns of one scene, a few of every species and size."""

    def __init__(self, random: np.random.Generator, sun: Sun, scale: float) -> None:
        self._random = random
        self._sun = sun
        self._scale = scale
        self._crowns: dict[tuple[str, int], list[Crown]] = {}

    def crown(self, species: str, radius: float) -> Crown:
        """Return one of the crowns of a species nearest to a radius in metres."""
        step = round(math.log(max(radius * self._scale, 1.5)) / 0.14)
        crowns = self._crowns.setdefault((species, step), [])
        if len(crowns) < 4:
            pixels = math.exp(step * 0.14)
            crowns.append(make_crown(self._random, self._sun, species, pixels, self._scale))
            return crowns[-1]
        return crowns[int(self._random.integers(len(crowns)))]


def make_crown(
    random: np.random.Generator, sun: Sun, species: str, radius: float, scale: float
) -> Crown:
    """Return a new crown.

    Args:
        random: Source of its shape.
        sun: The light on it.
        species: broadleaf, conifer or palm.
        radius: Its radius in pixels.
        scale: Pixels in a metre.
    """
    side = math.ceil(radius * 1.3) * 2 + 1
    axis = np.linspace(-side / 2, side / 2, side, dtype=np.float32) / np.float32(radius)
    x, y = axis[None, :], axis[:, None]
    theta = np.arctan2(y, x)
    distance = np.hypot(x, y) / _outline(random, species, theta)
    noise = random.standard_normal(distance.shape, np.float32)
    dome = np.sqrt(np.clip(1 - distance * distance, 0, 1))
    if species == "conifer":
        dome = np.clip(1 - distance, 0, 1)
    profile = 0.6 * dome + 0.4 * _clumps(random, x, y, species) * (dome > 0)
    metres = radius / scale
    depth = metres * (1.9 if species == "conifer" else 1.05)
    rise_y, rise_x = np.gradient(profile * np.float32(depth * scale))
    light = sun.brightness(rise_x * np.float32(0.55), rise_y * np.float32(0.55))
    shade = light * (0.82 + 0.42 * profile) + np.float32(0.06) * noise
    height = np.float32(2.0 + 0.7 * metres) + np.float32(depth) * profile
    mask = distance + np.float32(0.05) * noise < 1
    return Crown(shade.astype(np.float32), height.astype(np.float32), mask)


def _outline(random: np.random.Generator, species: str, theta: FloatArray) -> FloatArray:
    radius = np.ones_like(theta)
    if species == "palm":
        fronds = int(random.integers(7, 11))
        wave = np.abs(np.cos(theta * np.float32(fronds / 2) + np.float32(random.uniform(0, 6))))
        return np.asarray(0.35 + 0.7 * wave, np.float32)
    for wave in range(2, 10):
        amplitude = random.normal() * 0.16 / wave**0.8
        radius += np.float32(amplitude) * np.cos(wave * theta + np.float32(random.uniform(0, 6.3)))
    if species == "conifer":
        spikes = int(random.integers(8, 13))
        radius += np.float32(0.12) * np.cos(spikes * theta)
    return np.asarray(np.clip(radius, 0.55, 1.3), np.float32)


def _clumps(random: np.random.Generator, x: FloatArray, y: FloatArray, species: str) -> FloatArray:
    count = 5 if species == "palm" else 16
    angle = random.uniform(0, 6.3, count)
    reach = np.sqrt(random.uniform(0, 0.9, count))
    size = random.uniform(0.2, 0.42, count)
    best = np.zeros((y.shape[0], x.shape[1]), np.float32)
    for a, r, s in zip(angle, reach, size, strict=True):
        dx, dy = x - np.float32(r * math.cos(a)), y - np.float32(r * math.sin(a))
        bump = np.clip(1 - (dx * dx + dy * dy) / np.float32(s * s), 0, 1)
        bump *= np.float32(1 - 0.45 * r)
        np.maximum(best, bump, out=best)
    return np.sqrt(best)


def stamp(canvas: Canvas, crown: Crown, place: tuple[float, float], rgb: RGB, label: int) -> bool:
    """Draw a crown where it is higher than what is there, and return whether any of it shows."""
    side = crown.mask.shape[0]
    row = int(place[1] * canvas.scale) - side // 2
    column = int(place[0] * canvas.scale) - side // 2
    rows, columns = canvas.height.shape
    top, left = max(0, -row), max(0, -column)
    bottom, right = min(side, rows - row), min(side, columns - column)
    if top >= bottom or left >= right:
        return False
    inner = (slice(top, bottom), slice(left, right))
    outer = (slice(row + top, row + bottom), slice(column + left, column + right))
    height = crown.height[inner]
    mask = crown.mask[inner] & (height > canvas.height[outer])
    shade = crown.shade[inner]
    for channel, value in enumerate(rgb):
        np.copyto(canvas.colour[channel][outer], shade * np.float32(value), where=mask)
    np.copyto(canvas.height[outer], height, where=mask)
    np.copyto(canvas.label[outer], np.int32(label), where=mask)
    return True


def draw_trees(site: Site) -> None:
    """Draw the forests' crowns, then the single trees of the site."""
    bank = CrownBank(site.random, site.sun, site.canvas.scale)
    for label, outline in site.stands:
        _draw_stand(site, bank, label, outline)
    climate = site.climate
    for x, y, radius in site.crowns:
        if not (-radius < x < site.width + radius and -radius < y < site.height + radius):
            continue
        species = str(site.random.choice(climate.species))
        rgb = jittered(site.random, site.colour(climate.trees), 6)
        kind = {"conifer": "conifer", "palm": "palm tree"}.get(species, "tree")
        label = site.canvas.register(Draft("tree", "", kind))
        crown = bank.crown(species, radius * (0.8 if species == "conifer" else 1.0))
        stamp(site.canvas, crown, (x, y), rgb, label)


def plant_forest(site: Site, outline: Points) -> None:
    """Lay a forest's floor inside an outline (n, 2); its crowns follow with `draw_trees`."""
    found = site.canvas.polygon(outline)
    if found is None or not found[1].any():
        return
    patch, mask = found
    label = site.canvas.register(Draft("forest", "", "forest"))
    dark = (58.0, 62.0, 42.0)
    floor = Cover("forest", dark, (78, 72, 52), (0.1, 0.1, 0.1, 0.05))
    site.canvas.paint(patch, mask, ground_colour(site, patch, floor), label)
    site.stands.append((label, outline))
    site.reserve(outline)


def _draw_stand(site: Site, bank: CrownBank, label: int, outline: Points) -> None:
    random = site.random
    low = np.maximum(outline.min(0) - 3, -3)
    high = np.minimum(outline.max(0) + 3, (site.width + 3, site.height + 3))
    area = max(float(np.prod(np.maximum(high - low, 1))), 1)
    spacing = max(site.between(4.2, 6.5), math.sqrt(area / 3500))
    columns, rows = (max(1, int(side / spacing)) for side in high - low)
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)
    places = low + (grid + 0.5) * spacing + random.normal(0, 0.28 * spacing, grid.shape)
    random.shuffle(places)
    conifer_share = float(random.choice([0.05, 0.25, 0.9], p=[0.5, 0.35, 0.15]))
    colours = [jittered(random, rgb, 3) for rgb in site.climate.trees]
    for x, y in places:
        if site.canvas.label_at(x, y) != label:
            continue
        species = "conifer" if random.random() < conifer_share else "broadleaf"
        radius = spacing * random.uniform(0.5, 0.8) * (0.85 if species == "conifer" else 1)
        rgb = colours[int(random.integers(len(colours)))]
        shade = random.uniform(0.82, 1.08) * (0.82 if species == "conifer" else 1)
        tinted = (rgb[0] * shade, rgb[1] * shade, rgb[2] * shade)
        stamp(site.canvas, bank.crown(species, radius), (x, y), tinted, label)


_ROOTABLE = tuple(label_of(n) for n in ("grass", "bare soil", "sand", "yard", "hedge"))


def draw_hedge(site: Site, frame: Frame, half_length: float, half_width: float = 0.7) -> None:
    """Draw a hedge along a frame's u."""
    found = site.canvas.local(frame, half_length + 0.5, half_width + 0.5)
    if found is None:
        return
    patch, u, v = found
    noise = site.canvas.noise
    ragged = np.float32(0.16) * noise.fine[patch.window]
    mask = (np.abs(u) < half_length) & (np.abs(v) + ragged < half_width)
    if not mask.any():
        return
    red, green, blue = jittered(site.random, site.colour(site.climate.trees), 4)
    rgb = (0.5 * red + 34, 0.5 * green + 44, 0.5 * blue + 22)
    value = 1 + np.float32(0.14) * noise.fine[patch.window]
    value = value + np.float32(0.1) * noise.grain[patch.window]
    height = np.float32(1.5) + np.float32(0.2) * noise.fine[patch.window]
    np.copyto(site.canvas.height[patch.window], height, where=mask)
    site.canvas.paint(patch, mask, flat(rgb, value), label_of("hedge"))


def scatter_trees(
    site: Site, count: int, radii: tuple[float, float], area: tuple[float, float, float, float]
) -> None:
    """Plant trees in clusters on free ground inside (left, top, right, bottom)."""
    left, top, right, bottom = area
    for _ in range(count):
        x, y = site.between(left, right), site.between(top, bottom)
        group = int(site.random.integers(2, 9)) if site.chance(0.3) else 1
        for _ in range(group):
            if site.is_open(x, y) and site.canvas.label_at(x, y) in _ROOTABLE:
                site.crowns.append((x, y, site.between(*radii)))
            x, y = x + site.random.normal(0, 5), y + site.random.normal(0, 5)
