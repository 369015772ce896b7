"""Water: lakes, rivers, the sea and pools."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter
from shapely.geometry import LineString, Polygon

from .canvas import Draft, Mask, Patch
from .frame import Frame, Points
from .ground import lay, visibility
from .noise import FloatArray
from .palette import POOLS, RGB, WATERS, jittered, mixed
from .site import Site


def draw_lake(site: Site, outline: Points, shore: str = "soil") -> None:
    """Draw a lake inside an outline (n, 2) with a strip of shore."""
    polygon = Polygon(outline).buffer(0)
    _shore(site, polygon, site.between(1.5, 4.0), shore)
    _fill(site, polygon, "lake", depth=site.between(6, 14))
    site.reserve(outline)


def draw_river(site: Site, line: Points, width: float, shore: str = "soil") -> None:
    """Draw a river along a line (n, 2)."""
    polygon = LineString(line).buffer(width / 2)
    _shore(site, polygon, site.between(1.0, 3.0), shore)
    _fill(site, polygon, "river", depth=width / 3)
    site.reserve(np.asarray(polygon.exterior.coords))


def draw_sea(site: Site, coast: Points, corner: Points, beach: float) -> None:
    """Draw the sea between a coast (n, 2) and corners (m, 2) outside, with a beach and foam."""
    polygon = Polygon(np.concatenate([coast, corner])).buffer(0)
    if beach > 0:
        _shore(site, polygon, beach, "sand")
    _fill(site, polygon, "sea", depth=60.0, foam=True)
    site.reserve(np.asarray(polygon.buffer(beach).exterior.coords))


def draw_pool(site: Site, frame: Frame, half_length: float, half_width: float) -> None:
    """Draw a swimming pool with a paved rim."""
    style = site.random.choice(["rectangle", "oval", "kidney"], p=[0.6, 0.25, 0.15])
    rim = frame.rectangle(-half_length - 1, -half_width - 1, half_length + 1, half_width + 1)
    lay(site, site.canvas.polygon(rim), "concrete", 1.08)
    site.reserve(rim)
    found = site.canvas.local(frame, half_length + 1, half_width + 1)
    if found is None:
        return
    patch, u, v = found
    p, q = u / np.float32(half_length), v / np.float32(half_width)
    if style == "rectangle":
        inside = (np.abs(p) < 1) & (np.abs(q) < 1)
    elif style == "oval":
        inside = p * p + q * q < 1
    else:
        inside = p * p + (q + np.float32(0.35) * np.cos(p * 2.6) - np.float32(0.1)) ** 2 * 1.4 < 1
    if not inside.any():
        return
    noise = site.canvas.noise
    value = 1 + np.float32(0.05) * noise.fine[patch.window] + np.float32(0.06) * p
    rgb = jittered(site.random, site.colour(POOLS), 5)
    colour = mixed(rgb, (rgb[0] * 0.7, rgb[1] * 0.86, rgb[2] * 0.95), np.clip(p / 2 + 0.5, 0, 1))
    shape = (
        "round" if style == "oval" else "rectangular" if style == "rectangle" else "kidney-shaped"
    )
    draft = Draft("swimming pool", "blue", "swimming pool", shape)
    site.canvas.paint(patch, inside, colour * value, site.canvas.register(draft))


def _shore(site: Site, polygon: Polygon, width: float, name: str) -> None:
    ring = polygon.buffer(width)
    found = site.canvas.shape_of(ring)
    if found is None:
        return
    patch, mask = found
    ragged = _softness(mask, width * site.canvas.scale / 2)
    ragged += np.float32(0.18) * site.canvas.noise.medium[patch.window]
    lay(site, (patch, ragged > 0.5), name, site.between(0.85, 1.0))
    site.reserve(np.asarray(ring.exterior.coords))


def _fill(site: Site, polygon: Polygon, class_name: str, depth: float, foam: bool = False) -> None:
    found = site.canvas.shape_of(polygon)
    if found is None or not found[1].any():
        return
    patch, mask = found
    noise = site.canvas.noise
    deep = np.clip(_softness(mask, depth * site.canvas.scale / 2) * 2 - 1, 0, 1)
    shallow_rgb, deep_rgb = _tinted(site)
    medium, coarse = noise.medium[patch.window], noise.coarse[patch.window]
    value = 1 + np.float32(0.035) * noise.fine[patch.window] * _ripple(site, patch)
    value += np.float32(0.02) * medium + np.float32(0.05) * coarse
    value += np.float32(0.015) * noise.grain[patch.window]
    colour = mixed(shallow_rgb, deep_rgb, np.clip(deep + 0.08 * coarse, 0, 1)) * value
    site.canvas.paint(
        patch, mask, colour, site.canvas.register(Draft(class_name, "", class_name)), 0.0
    )
    if foam:
        surf = np.exp(-(((deep - 0.06 - 0.03 * medium) / 0.035) ** 2)) * mask
        surf += 0.6 * np.exp(-(((deep - 0.2 - 0.05 * coarse - 0.02 * medium) / 0.02) ** 2)) * mask
        surf *= np.clip(0.5 + 0.5 * coarse + 0.3 * noise.fine[patch.window], 0, 1)
        site.canvas.blend(patch, surf.astype(np.float32) * np.float32(0.75), (226, 230, 228))


def _tinted(site: Site) -> tuple[RGB, RGB]:
    dark = 1.0 if site.chance(0.5) else site.between(0.4, 1.2)
    warm = site.random.normal(0, 8)
    tint = site.climate.water
    if site.chance(0.4):
        # Clear, muddy and green water looks the same in every climate.
        tint = WATERS[int(site.random.integers(len(WATERS)))]
    shallow, deep = (
        (dark * (rgb[0] + warm), dark * rgb[1], dark * (rgb[2] - warm)) for rgb in tint
    )
    return shallow, deep


def _ripple(site: Site, patch: Patch) -> FloatArray:
    spacing = 5.0
    angle = site.between(0, 3.14)
    wave = patch.x * np.float32(np.cos(angle)) + patch.y * np.float32(np.sin(angle))
    wave = wave + site.canvas.noise.medium[patch.window] * np.float32(1.5)
    strength = np.float32(visibility(spacing, site.canvas.scale))
    return np.asarray(1 + strength * np.sin(wave * np.float32(2 * np.pi / spacing)), np.float32)


def _softness(mask: Mask, radius: float) -> FloatArray:
    # A box blur of a small copy is a cheap stand-in for the distance to the edge.
    shrink = max(1, int(radius / 4))
    image = Image.fromarray(mask)
    small = image.convert("L").resize(
        (max(1, mask.shape[1] // shrink), max(1, mask.shape[0] // shrink)), Image.Resampling.BOX
    )
    blurred = small.filter(ImageFilter.GaussianBlur(radius / shrink / 1.2))
    return np.asarray(
        blurred.resize(image.size, Image.Resampling.BILINEAR), np.float32
    ) * np.float32(1 / 255)
