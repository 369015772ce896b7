"""Plots of land with a house: garden, driveway, fence, pool, shed and trees."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .buildings import Building, draw_building, make_wings
from .canvas import Draft, label_of
from .cars import draw_car
from .frame import Frame
from .ground import CROPS, cover, ground_colour, lay, lay_field
from .palette import WALLS, Paint, jittered
from .roads import Road
from .rooftop import draw_wall
from .site import Site
from .vegetation import draw_hedge
from .water import draw_pool


@dataclass(frozen=True)
class LotStyle:
    """Style of the plots along a street.

    Attributes:
        width: Least and most metres along the street.
        depth: Metres away from the street.
        length: Least and most metres of a house.
        breadth: Least and most metres across it.
        setback: Metres between street and house.
        roofs: Kinds of roof with their shares.
        shapes: Kinds of footprint.
        kind: What people call the house.
        paints: Roof colours; the climate's when empty.
        enclosure: Share of plots with a hedge, and with a wall.
        pools: Share of plots with a pool.
        trees: Trees in a garden on average.
        garden: Ground of the garden.
        eaves: Least and most metres of wall.
        attached: Houses touch their neighbours.
        empty: Share of plots without a house.
    """

    width: tuple[float, float] = (14, 22)
    depth: float = 26
    length: tuple[float, float] = (10, 16)
    breadth: tuple[float, float] = (8.5, 12)
    setback: tuple[float, float] = (2.5, 7)
    roofs: tuple[str, ...] = ("gable", "gable", "hip")
    shapes: tuple[str, ...] = ("rectangular", "rectangular", "L-shaped", "T-shaped")
    kind: str = "house"
    paints: tuple[Paint, ...] = ()
    enclosure: tuple[float, float] = (0.45, 0.1)
    pools: float = 0.12
    trees: float = 5.0
    garden: str = "lawn"
    eaves: tuple[float, float] = (3.0, 6.0)
    attached: bool = False
    empty: float = 0.06


def line_with_lots(site: Site, roads: list[Road], style: LotStyle) -> int:
    """Place plots along both sides of roads on free ground and return how many."""
    count = 0
    for road in roads:
        edge = road.width / 2 + road.sidewalk
        for turn in (0.0, math.pi):
            count += _line_side(site, road, edge, turn, style)
    return count


def _line_side(site: Site, road: Road, edge: float, turn: float, style: LotStyle) -> int:
    distance, count = site.between(2, 8), 0
    length = road.length
    width = site.between(*style.width)
    paint = site.pick(style.paints or site.climate.roofs)
    run = 0
    while distance + width < length:
        if not style.attached:
            width = site.between(*style.width)
        frame = road.frame_at(distance + width / 2).moved(0, 0, turn).moved(0, edge)
        depth = _claimed_depth(site, frame, width, style)
        if depth > 0:
            if run == 0 or not style.attached:
                paint = site.pick(style.paints or site.climate.roofs)
            draw_lot(site, frame, width, replace(style, depth=depth), paint)
            count, run = count + 1, (run + 1) % int(site.random.integers(4, 9))
            distance += width
        else:
            distance, run = distance + 2.0, 0
        if style.attached and run == 0:
            distance += 5.0
    return count


def _claimed_depth(site: Site, frame: Frame, width: float, style: LotStyle) -> float:
    least = style.setback[1] + style.breadth[1] + 0.5
    for depth in (style.depth, 0.8 * style.depth, least):
        inner = frame.rectangle(-width / 2 + 0.6, 1.5, width / 2 - 0.6, depth - 1)
        if depth >= least and site.claim(inner):
            return depth
    return 0.0


def draw_lot(site: Site, frame: Frame, width: float, style: LotStyle, paint: Paint) -> None:
    """Draw one plot; the frame's origin lies on the street edge, v leads away from it."""
    half = width / 2
    if not style.attached or site.chance(0.7):
        sides = frame.rectangle(-half + 0.3, 0.2, half - 0.3, style.depth)
        lay(site, site.canvas.polygon(sides), style.garden, site.between(0.9, 1.12))
    if site.chance(style.empty):
        _plant_garden(site, frame, width, style, 1.5 * style.trees)
        return
    length = width if style.attached else min(site.between(*style.length), width - 3)
    breadth = site.between(*style.breadth)
    setback = site.between(*style.setback)
    if style.attached:
        setback = (style.setback[0] + style.setback[1]) / 2
        breadth = (style.breadth[0] + style.breadth[1]) / 2
    house_u = 0.0 if style.attached else site.between(-0.4, 0.4) * (width - length - 2)
    house = frame.moved(house_u, setback + breadth / 2)
    _draw_access(site, frame, house_u, length, setback, half)
    _draw_back_garden(site, frame, width, setback + breadth, style)
    _enclose(site, frame, width, style)
    _draw_house(site, house, (length, breadth), style, paint)
    _plant_garden(site, frame, width, style, style.trees, setback + breadth)


def _draw_house(
    site: Site, frame: Frame, sides: tuple[float, float], style: LotStyle, paint: Paint
) -> None:
    length, breadth = sides
    shape = "rectangular" if style.attached else str(site.random.choice(style.shapes))
    roof = str(site.random.choice(style.roofs))
    if paint.material in ("membrane", "concrete", "gravel"):
        roof = "flat"
    elif roof == "flat":
        paint = Paint("grey", (150, 148, 144), "gravel")
    if not style.attached and shape == "rectangular" and site.chance(0.35):
        frame, length, breadth = frame.moved(0, 0, math.pi / 2), breadth, length
    wings = make_wings(site.random, shape, length, breadth * (1.25 if len(shape) < 9 else 1.0))
    draw_building(
        site,
        Building(
            frame,
            wings,
            roof,
            paint,
            site.between(*style.eaves),
            "terraced house" if style.attached else style.kind,
            shape,
            site.between(0.35, 0.75),
        ),
    )


def _draw_access(  # noqa: PLR0917
    site: Site, frame: Frame, house_u: float, length: float, setback: float, half: float
) -> None:
    side = 1.0 if site.chance(0.5) else -1.0
    u = house_u + side * (length / 2 - 1.6)
    beside = half - abs(house_u + side * length / 2) > 3.0
    if beside:
        u = house_u + side * (length / 2 + 1.6)
    deep = setback + (site.between(3, 9) if beside else 0.0)
    ground = str(site.random.choice(["concrete", "paving", "gravel"]))
    area = site.canvas.polygon(frame.rectangle(u - 1.5, -0.5, u + 1.5, deep))
    lay(site, area, ground, site.between(0.85, 1.05), "driveway")
    if site.chance(0.5) and deep > 5.5:
        draw_car(site, frame.moved(u, site.between(3, deep - 2.4), -math.pi / 2))
    if not beside:
        garage = frame.moved(house_u - side * (length / 2 - 1.0), setback / 2)
        walk = site.canvas.polygon(garage.rectangle(-0.6, -setback / 2, 0.6, setback / 2))
        lay(site, walk, "paving", 1.0, "path")


def _draw_back_garden(site: Site, frame: Frame, width: float, back: float, style: LotStyle) -> None:
    free = style.depth - back
    if free < 5:
        return
    half = width / 2
    terrace = site.between(2, 4)
    u = site.between(-0.3, 0.3) * width
    area = site.canvas.polygon(frame.rectangle(u - 3, back - 0.5, u + 3, back + terrace))
    lay(site, area, "paving", site.between(0.9, 1.15))
    if free > 9 and site.chance(style.pools):
        pool = frame.moved(site.between(-0.2, 0.2) * width, back + terrace + 4)
        draw_pool(site, pool, site.between(2.8, 4.6), site.between(1.6, 2.4))
    elif free > 8 and site.chance(0.2):
        _draw_bed(site, frame, half, style.depth)
    if site.chance(0.35):
        _draw_shed(site, frame.moved(half - 3.0, style.depth - 3.0))


def _draw_bed(site: Site, frame: Frame, half: float, depth: float) -> None:
    sides = frame.rectangle(-half + 1.5, depth - 7, -half + site.between(5, 8), depth - 1.5)
    if site.chance(0.5):
        lay(site, site.canvas.polygon(sides), "soil", 0.9)
    else:
        lay_field(site, sides, frame.angle, CROPS[6])


def _draw_shed(site: Site, frame: Frame) -> None:
    length, width = site.between(2.2, 4.5), site.between(2.0, 3.2)
    roof = "gable" if site.chance(0.5) else "flat"
    paint = Paint("brown", (122, 98, 78), "shingle")
    if site.chance(0.5):
        paint = Paint("grey", (148, 150, 150), "metal")
    wings = make_wings(site.random, "rectangular", length, width)
    draw_building(site, Building(frame, wings, roof, paint, 2.3, "shed", "rectangular", 0.4))


def _enclose(site: Site, frame: Frame, width: float, style: LotStyle) -> None:
    hedge, wall = style.enclosure
    draw = site.random.random()
    if draw > hedge + wall:
        return
    depth = style.depth
    edges = (
        (frame.moved(0, depth - 0.4), width / 2),
        (frame.moved(-width / 2 + 0.5, depth / 2, math.pi / 2), depth / 2),
        (frame.moved(width / 2 - 0.5, depth / 2, math.pi / 2), depth / 2),
    )
    rgb = jittered(site.random, site.colour(WALLS[:2]), 8)
    for edge, reach in edges:
        if draw < hedge:
            if site.chance(0.8):
                draw_hedge(site, edge, reach, site.between(0.5, 0.9))
        else:
            draw_wall(site, edge, reach, rgb)


def _plant_garden(  # noqa: PLR0917
    site: Site, frame: Frame, width: float, style: LotStyle, mean: float, back: float = 4.0
) -> None:
    for _ in range(int(site.random.poisson(mean))):
        u = site.between(-0.48, 0.48) * width
        v = site.between(back + 1, style.depth) if site.chance(0.75) else site.between(0.5, 4)
        x, y = frame.point(u, v)
        if site.canvas.label_at(x, y) in _PLANTABLE:
            small = site.chance(0.5)
            site.crowns.append((x, y, site.between(0.6, 1.5) if small else site.between(1.8, 4.6)))


_PLANTABLE = tuple(label_of(name) for name in ("grass", "sand", "bare soil", "hedge"))


def draw_farmstead(site: Site, frame: Frame) -> None:
    """Draw a farm: house, barns and silos round a yard."""
    yard = frame.rectangle(-32, -26, 32, 26)
    site.reserve(frame.rectangle(-36, -30, 36, 30))
    lay(site, site.canvas.polygon(yard), "meadow", 0.96)
    lay(site, site.canvas.polygon(frame.rectangle(-20, -13, 20, 13)), "gravel", 0.95, "yard")
    style = LotStyle()
    paint = site.pick(site.climate.roofs)
    _draw_house(site, frame.moved(-24, -8, math.pi / 2), (14, 9), style, paint)
    for v, length in ((-19.0, site.between(24, 38)), (19.0, site.between(18, 30))):
        barn = Paint("brown", (134, 92, 74), "tile")
        if site.chance(0.5):
            barn = Paint("grey", (158, 162, 164), "metal")
        wings = make_wings(site.random, "rectangular", length, site.between(11, 15))
        barn_frame = frame.moved(site.between(-2, 6), v)
        draw_building(
            site, Building(barn_frame, wings, "gable", barn, 4.5, "barn", "rectangular", 0.35)
        )
    for step in range(int(site.random.integers(0, 4))):
        _draw_silo(site, frame.moved(26, -9 + 5.5 * step))
    if site.chance(0.7):
        draw_car(site, frame.moved(site.between(-12, 12), site.between(-8, 8), 0.6), "truck")
    for _ in range(10):
        x, y = frame.point(site.between(-34, 34), site.between(-28, 28))
        if site.canvas.label_at(x, y) == label_of("grass"):
            site.crowns.append((x, y, site.between(2, 5)))


def _draw_silo(site: Site, frame: Frame) -> None:
    found = site.canvas.local(frame, 2.4, 2.4)
    if found is None:
        return
    patch, u, v = found
    inside = u * u + v * v < 2.2**2
    if not inside.any():
        return
    kind = cover(site, "concrete")
    colour = ground_colour(site, patch, kind) * (1.05 - 0.08 * u)
    label = site.canvas.register(Draft("building", "white", "silo", "round", "flat"))
    site.canvas.paint(patch, inside, colour, label, 11.0)
