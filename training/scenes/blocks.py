"""Blocks between streets: perimeter houses, slabs, towers, halls, parking lots, parks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .buildings import Building, draw_building, make_wings
from .canvas import Draft, label_of
from .cars import draw_car, park_row
from .frame import Frame
from .ground import Cover, ground_colour, lay_rectangle
from .palette import MEMBRANES, METALS, TILES, Paint
from .site import Site

STALL_WIDTH = 2.6
STALL_LENGTH = 5.2


@dataclass(frozen=True)
class Block:
    """A rectangle between streets.

    Attributes:
        frame: Its centre and direction.
        length: Metres along u.
        width: Metres along v.
    """

    frame: Frame
    length: float
    width: float

    def inset(self, margin: float) -> Block:
        """Return the block without a margin on every side."""
        return Block(self.frame, self.length - 2 * margin, self.width - 2 * margin)

    def parts(self, columns: int, rows: int) -> list[Block]:
        """Return equal parts."""
        length, width = self.length / columns, self.width / rows
        return [
            Block(
                self.frame.moved(
                    (column + 0.5) * length - self.length / 2, (row + 0.5) * width - self.width / 2
                ),
                length,
                width,
            )
            for row in range(rows)
            for column in range(columns)
        ]


def lay_block(site: Site, block: Block, ground: str, tint: float = 1.0) -> None:
    """Cover a block with a ground."""
    half_length, half_width = block.length / 2, block.width / 2
    lay_rectangle(
        site, block.frame, (-half_length, -half_width, half_length, half_width), ground, tint
    )


def plant_block(site: Site, block: Block, count: float, radii: tuple[float, float]) -> None:
    """Plant trees where a block has open ground."""
    for _ in range(int(site.random.poisson(max(count, 0.0)))):
        u = site.between(-0.48, 0.48) * block.length
        v = site.between(-0.48, 0.48) * block.width
        x, y = block.frame.point(u, v)
        if site.canvas.label_at(x, y) in _OPEN:
            site.crowns.append((x, y, site.between(*radii)))


_OPEN = tuple(label_of(name) for name in ("grass", "bare soil", "yard", "sand"))


def fill_perimeter(site: Site, block: Block) -> None:
    """Draw houses along the edges of a block, with a courtyard of gardens."""
    lay_block(site, block, "paving", site.between(0.9, 1.1))
    depth = site.between(11, 14)
    court = block.inset(depth)
    if min(court.length, court.width) > 8:
        lay_block(site, court.inset(1.5), "lawn", site.between(0.9, 1.05))
    eaves = site.between(9, 18)
    roof = str(site.random.choice(["gable", "gable", "flat", "hip"]))
    paints = TILES if roof != "flat" else MEMBRANES
    half_length, half_width = block.length / 2, block.width / 2
    for side in (-1.0, 1.0):
        row = block.frame.moved(0, side * (half_width - depth / 2))
        _draw_row(site, row, block.length, depth, (roof, eaves), paints)
        if court.width > 12:
            column = block.frame.moved(side * (half_length - depth / 2), 0, math.pi / 2)
            _draw_row(site, column, court.width, depth, (roof, eaves), paints)
    if min(court.length, court.width) > 24 and site.chance(0.6):
        paint = site.pick(MEMBRANES)
        wings = make_wings(site.random, "rectangular", court.length * 0.4, 9)
        draw_building(site, Building(court.frame, wings, "flat", paint, 4, "annexe", "rectangular"))
    plant_block(site, court, court.length * court.width / 160, (1.5, 4.5))


def _draw_row(  # noqa: PLR0917
    site: Site,
    frame: Frame,
    length: float,
    depth: float,
    roof: tuple[str, float],
    paints: tuple[Paint, ...],
) -> None:
    position = -length / 2
    while position < length / 2 - 4:
        piece = min(site.between(12, 24), length / 2 - position)
        if length / 2 - position - piece < 6:
            piece = length / 2 - position
        place = frame.moved(position + piece / 2, 0)
        wings = make_wings(site.random, "rectangular", piece, depth)
        eaves = roof[1] * site.between(0.85, 1.15)
        kind = "apartment building"
        draw_building(
            site,
            Building(place, wings, roof[0], site.pick(paints), eaves, kind, slope=0.55),
        )
        position += piece


def fill_slabs(site: Site, block: Block) -> None:
    """Draw rows of apartment slabs on lawns with parking between."""
    lay_block(site, block, "lawn", site.between(0.92, 1.06))
    rows = max(1, int(block.width / 34))
    paint = site.pick(MEMBRANES)
    kind = "apartment building"
    for part in block.parts(1, rows):
        length = part.length * site.between(0.6, 0.86)
        shape = "L-shaped" if part.width > 30 and site.chance(0.3) else "rectangular"
        breadth = 26.0 if shape == "L-shaped" else site.between(11, 14)
        wings = make_wings(site.random, shape, length, breadth)
        frame = part.frame.moved(0, -part.width * 0.12)
        eaves = site.between(12, 24)
        draw_building(site, Building(frame, wings, "flat", paint, eaves, kind, shape))
        strip = Block(part.frame.moved(0, part.width / 2 - 6.5), part.length * 0.8, 11.5)
        if site.chance(0.6) and part.width > 28:
            draw_parking(site, strip, site.between(0.3, 0.9))
    plant_block(site, block, block.length * block.width / 220, (1.5, 4.5))


def fill_towers(site: Site, block: Block) -> None:
    """Draw a few towers on a paved plaza."""
    lay_block(site, block, "paving", site.between(0.85, 1.1))
    lay_block(site, block.inset(block.width * 0.36), "lawn")
    columns, rows = max(1, int(block.length / 45)), max(1, int(block.width / 45))
    for part in block.parts(columns, rows):
        side = min(part.length, part.width) * site.between(0.45, 0.7)
        shape = str(site.random.choice(["rectangular", "L-shaped", "T-shaped", "U-shaped"]))
        wings = make_wings(site.random, shape, side * site.between(1.0, 1.3), side)
        paint = site.pick(MEMBRANES)
        eaves = site.between(18, 42)
        draw_building(site, Building(part.frame, wings, "flat", paint, eaves, "tower", shape))
    plant_block(site, block, block.length * block.width / 260, (1.5, 3.5))


def fill_hall(site: Site, block: Block) -> None:
    """Draw a hall or warehouse with a yard, parking and trucks."""
    lay_block(site, block, "concrete" if site.chance(0.5) else "paving", site.between(0.8, 1.0))
    length, width = block.length * site.between(0.6, 0.82), block.width * site.between(0.45, 0.66)
    paint = site.pick(METALS[:4] + MEMBRANES[:3])
    roof = "gable" if paint.material == "metal" and site.chance(0.75) else "flat"
    shape = str(site.random.choice(["rectangular", "rectangular", "L-shaped", "U-shaped"]))
    wings = make_wings(site.random, shape, length, width)
    frame = block.frame.moved(0, -(block.width - width) / 2 + 3)
    kind = "warehouse" if site.chance(0.5) else "hall"
    eaves = site.between(7, 13)
    draw_building(site, Building(frame, wings, roof, paint, eaves, kind, shape, 0.1))
    yard = (block.width - width) - 6
    strip = Block(block.frame.moved(0, block.width / 2 - yard / 2), block.length * 0.9, yard - 2)
    if yard > 16 and site.chance(0.65):
        draw_parking(site, strip, site.between(0.2, 0.9))
    else:
        _store(site, strip)


def _store(site: Site, block: Block) -> None:
    if block.width < 6:
        return
    for _ in range(int(site.random.integers(2, 8))):
        u = site.between(-0.45, 0.45) * block.length
        v = site.between(-0.25, 0.25) * block.width
        draw_car(
            site, block.frame.moved(u, v, float(site.random.choice([0, math.pi / 2]))), "truck"
        )


def fill_parking(site: Site, block: Block) -> None:
    """Draw a parking lot over the whole block with some trees round it."""
    lay_block(site, block, "lawn")
    draw_parking(site, block.inset(2.5), site.between(0.2, 0.95))


def fill_park(site: Site, block: Block) -> None:
    """Draw lawns with trees and crossing paths."""
    lay_block(site, block, "lawn", 1.04)
    for turn in (0.5, -0.5):
        path = block.frame.moved(0, 0, turn)
        reach = min(block.length, block.width) / 2 / 0.88
        lay_rectangle(site, path, (-reach, -1.2, reach, 1.2), "gravel")
    plant_block(site, block, block.length * block.width / 75, (2.0, 5.5))


def fill_construction(site: Site, block: Block) -> None:
    """Draw bare ground with tracks, machines and an unfinished building."""
    lay_block(site, block, "soil", site.between(0.95, 1.15))
    lay_block(site, block.inset(min(block.length, block.width) * 0.3), "gravel", 0.95)
    if site.chance(0.6):
        wings = make_wings(site.random, "L-shaped", block.length * 0.45, block.width * 0.45)
        paint = Paint("grey", (172, 170, 164), "concrete")
        kind = "building under construction"
        draw_building(site, Building(block.frame, wings, "flat", paint, 4, kind, "L-shaped"))
    _store(site, block)


def draw_parking(site: Site, block: Block, occupied: float) -> None:
    """Draw a parking lot with stalls on both sides of its lanes and cars in a share of them."""
    if block.length < 8 or block.width < 9:
        return
    half_length, half_width = block.length / 2, block.width / 2
    outline = block.frame.rectangle(-half_length, -half_width, half_length, half_width)
    found = site.canvas.polygon(outline)
    site.reserve(outline)
    if found is None or not found[1].any():
        return
    patch, mask = found
    rgb = site.climate.asphalt
    tone = site.between(0.8, 1.15)
    base = (rgb[0] * tone, rgb[1] * tone, rgb[2] * tone)
    kind = Cover("parking lot", base, (base[0] * 1.1, base[1] * 1.1, base[2] * 1.08),
                 (0.035, 0.02, 0.03, 0.02))  # fmt: skip
    label = site.canvas.register(Draft("parking lot", "grey", "parking lot"))
    site.canvas.paint(patch, mask, ground_colour(site, patch, kind), label, 0.0)
    stalls = int((block.length - 2) / STALL_WIDTH)
    lines, rows = [], []
    for v in _stall_rows(block.width):
        start = block.frame.moved(-stalls * STALL_WIDTH / 2, v)
        rows.append(start)
        for step in range(stalls + 1):
            u = step * STALL_WIDTH
            half = STALL_LENGTH / 2
            lines.append(start.points(np.array([[u, -half], [u, half]])))
    cover = site.canvas.lines(lines, 0.13, patch) * mask * np.float32(0.75)
    site.canvas.blend(patch, cover, (228, 228, 224))
    for start in rows:
        park_row(site, start, stalls, occupied)


def _stall_rows(width: float) -> list[float]:
    half = STALL_LENGTH / 2
    if width < 2 * STALL_LENGTH + 5:
        return [-width / 2 + half + 0.2]
    rows = [-width / 2 + half + 0.2, width / 2 - half - 0.2]
    inner = -width / 2 + STALL_LENGTH + 6.2
    while inner + 2 * STALL_LENGTH + 6.2 < width / 2 - STALL_LENGTH:
        rows += [inner + half, inner + half + STALL_LENGTH]
        inner += 2 * STALL_LENGTH + 6.2
    return rows
