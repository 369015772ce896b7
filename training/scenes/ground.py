"""Ground covers: meadow, lawn, soil, sand, paving and crops."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from .canvas import Draft, Mask, Patch, label_of
from .frame import Frame, Points
from .noise import FloatArray
from .palette import RGB, Paint, mixed
from .site import SAND, Site


class Cover(NamedTuple):
    """Colours and texture of a ground.

    Attributes:
        class_name: Its class.
        first: One of the colours that it mixes.
        second: The other one.
        texture: Contrast of grain, fine, medium and coarse noise.
    """

    class_name: str
    first: RGB
    second: RGB
    texture: tuple[float, float, float, float]


class Crop(NamedTuple):
    """A crop in rows."""

    kind: str
    paint: Paint
    second: RGB
    spacing: float
    contrast: float


CROPS: Final = (
    Crop("wheat field", Paint("yellow", (190, 168, 112)), (170, 150, 96), 0.9, 0.06),
    Crop("maize field", Paint("green", (84, 108, 58)), (104, 112, 70), 1.5, 0.18),
    Crop("potato field", Paint("green", (104, 120, 72)), (122, 112, 82), 1.8, 0.16),
    Crop("rape field", Paint("yellow", (196, 188, 72)), (168, 168, 74), 1.0, 0.04),
    Crop("ploughed field", Paint("brown", (128, 104, 82)), (108, 88, 70), 2.2, 0.12),
    Crop("stubble field", Paint("beige", (184, 168, 130)), (162, 146, 110), 1.2, 0.08),
    Crop("vegetable field", Paint("green", (92, 116, 76)), (132, 112, 88), 2.6, 0.25),
    Crop("meadow field", Paint("green", (98, 122, 66)), (116, 130, 78), 4.0, 0.04),
    Crop("vineyard", Paint("green", (88, 104, 62)), (150, 132, 100), 2.8, 0.34),
)


def cover(site: Site, name: str) -> Cover:
    """Return a ground of the site's climate: meadow, lawn, soil, sand, gravel, paving, concrete."""
    climate = site.climate
    red, green, blue = climate.grass[0]
    lawn = (0.93 * red, 0.93 * green, 0.93 * blue)
    covers = {
        "meadow": Cover("grass", *climate.grass, (0.06, 0.06, 0.06, 0.035)),
        "lawn": Cover("grass", lawn, climate.grass[1], (0.04, 0.03, 0.04, 0.02)),
        "soil": Cover("bare soil", *climate.soil, (0.05, 0.04, 0.06, 0.05)),
        "sand": Cover("sand", *SAND, (0.025, 0.025, 0.035, 0.05)),
        "gravel": Cover("path", (178, 170, 156), (160, 148, 128), (0.06, 0.04, 0.04, 0.02)),
        "paving": Cover("yard", (162, 158, 152), (146, 143, 138), (0.03, 0.025, 0.04, 0.03)),
        "concrete": Cover("yard", (186, 182, 174), (168, 164, 158), (0.025, 0.02, 0.04, 0.03)),
    }  # fmt: skip
    return covers[name]


def ground_colour(site: Site, patch: Patch, kind: Cover, tint: float = 1.0) -> FloatArray:
    """Return the colour (3, h, w) of a ground with its noise."""
    noise = site.canvas.noise
    rows, columns = patch.window
    grain, fine, medium, coarse = kind.texture
    field = noise.medium[rows, columns]
    wide = noise.coarse[rows, columns]
    value = np.float32(grain) * noise.grain[rows, columns]
    value += np.float32(fine) * noise.fine[rows, columns]
    value += np.float32(medium) * field
    value += np.float32(coarse) * wide
    value += 1
    share = np.clip(np.float32(0.5) + np.float32(0.22) * (field + wide), 0, 1)
    colour = mixed(kind.first, kind.second, share)
    colour *= value * np.float32(tint)
    return colour


def lay(
    site: Site,
    area: tuple[Patch, Mask] | None,
    name: str,
    tint: float = 1.0,
    class_name: str | None = None,
) -> None:
    """Cover an area with a ground; `class_name` replaces the ground's own class."""
    if area is None:
        return
    patch, mask = area
    kind = cover(site, name)
    label = label_of(class_name or kind.class_name)
    site.canvas.paint(patch, mask, ground_colour(site, patch, kind, tint), label)


def lay_base(site: Site, name: str) -> None:
    """Cover the whole scene, with worn patches of soil where grass grows thin."""
    patch = site.canvas.whole
    kind = cover(site, name)
    site.canvas.paint(
        patch,
        np.ones(patch.shape, np.bool_),
        ground_colour(site, patch, kind),
        label_of(kind.class_name),
    )
    noise = site.canvas.noise
    if name in ("meadow", "lawn"):
        worn = np.clip(
            noise.medium * np.float32(0.25) + noise.coarse * np.float32(0.3) - 0.55, 0, 0.5
        )
        soil = site.climate.soil[0]
        site.canvas.blend(patch, worn.astype(np.float32), soil)


def lay_field(site: Site, outline: Points, angle: float, crop: Crop) -> None:
    """Draw a parcel of a crop with rows along an angle, tramlines and uneven growth."""
    found = site.canvas.polygon(outline)
    if found is None:
        return
    patch, mask = found
    if not mask.any():
        return
    random = site.random
    noise = site.canvas.noise
    rows, columns = patch.window
    across = patch.y * np.float32(math.cos(angle)) - patch.x * np.float32(math.sin(angle))
    medium, coarse = noise.medium[rows, columns], noise.coarse[rows, columns]
    across = across + np.float32(0.12) * medium
    strength = crop.contrast * visibility(crop.spacing, site.canvas.scale)
    value = np.float32(strength) * np.sin(across * np.float32(2 * math.pi / crop.spacing))
    value += np.float32(0.045) * noise.fine[rows, columns]
    value += np.float32(0.03) * noise.grain[rows, columns]
    value += np.float32(0.03) * medium + np.float32(random.uniform(0.01, 0.05)) * coarse
    value += _passes(site, across, 3.0, 0.035) + _passes(site, across, site.between(9, 14), 0.03)
    value += 1
    share = np.clip(np.float32(0.4) + np.float32(0.16) * (coarse - medium), 0, 1)
    colour = mixed(crop.paint.rgb, crop.second, share) * value
    colour *= np.float32(random.normal(1, 0.06))
    draft = Draft("field", crop.paint.word, crop.kind)
    site.canvas.paint(patch, mask, colour, site.canvas.register(draft))
    if crop.kind != "vineyard":
        _tramlines(site, patch, mask, across)


def visibility(period: float, scale: float) -> float:
    """Return how much of a pattern shows, 0..1: nothing of waves under two and a half pixels."""
    return float(np.clip((period * scale - 2.5) / 3.5, 0, 1))


def _passes(site: Site, across: FloatArray, width: float, strength: float) -> FloatArray:
    # Strips that a machine worked in one go differ a little from their neighbours.
    tones = site.random.normal(0, strength, 256).astype(np.float32)
    return np.asarray(tones[np.floor(across / np.float32(width)).astype(np.int32) % 256])


def _tramlines(site: Site, patch: Patch, mask: Mask, across: FloatArray) -> None:
    spacing = site.between(15, 27)
    offset = np.abs(np.mod(across, np.float32(spacing)) - np.float32(spacing / 2))
    track = np.abs(offset - np.float32(0.9)) < np.float32(max(0.22, 0.7 / site.canvas.scale))
    cover_of_track = (track & mask).astype(np.float32) * np.float32(site.between(0.1, 0.3))
    site.canvas.blend(patch, cover_of_track, site.climate.soil[1])


def lay_rectangle(
    site: Site, frame: Frame, sides: tuple[float, float, float, float], name: str, tint: float = 1.0
) -> None:
    """Cover the rectangle (u0, v0, u1, v1) of a frame with a ground."""
    lay(site, site.canvas.polygon(frame.rectangle(*sides)), name, tint)
