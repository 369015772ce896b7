"""Plans of settled land: village, suburb, city, industrial estate, desert town."""

from __future__ import annotations

import math

import numpy as np
from shapely import unary_union
from shapely.geometry import LineString, Polygon

from .blocks import (
    Block,
    fill_construction,
    fill_hall,
    fill_park,
    fill_parking,
    fill_perimeter,
    fill_slabs,
    fill_towers,
    lay_block,
    plant_block,
)
from .frame import Frame, Points, blob, winding
from .ground import lay_base
from .lots import LotStyle, line_with_lots
from .palette import METALS
from .parcels import draw_parcel, split
from .roads import Road, draw_roads, grid_lines
from .site import Site
from .sports import draw_court, draw_pitch
from .vegetation import plant_forest, scatter_trees
from .water import draw_lake, draw_river

SUBURB = LotStyle()
VILLAGE = LotStyle(
    width=(17, 28), depth=34, length=(11, 19), breadth=(9, 13), setback=(2, 8),
    pools=0.05, enclosure=(0.35, 0.12), trees=7.0, empty=0.1,
)  # fmt: skip
TERRACES = LotStyle(
    width=(6.0, 8.5), depth=26, breadth=(8.5, 10), setback=(3, 5), roofs=("gable",), attached=True,
    pools=0.0, trees=1.2, empty=0.0, enclosure=(0.5, 0.1), eaves=(5.5, 7.0),
)  # fmt: skip
VILLAS = LotStyle(
    width=(18, 27), depth=28, length=(14, 20), breadth=(11, 15), setback=(3, 6), roofs=("flat",),
    shapes=("rectangular", "L-shaped", "U-shaped", "T-shaped"), kind="villa", pools=0.3,
    enclosure=(0.05, 0.9), trees=2.0, garden="sand", eaves=(6, 9),
)  # fmt: skip
BIG_VILLAS = LotStyle(
    width=(21, 30), depth=33, length=(15, 21), breadth=(11, 15), setback=(4, 9), kind="villa",
    roofs=("hip", "hip", "gable"), pools=0.55, trees=9.0, enclosure=(0.6, 0.15),
)  # fmt: skip


def near_centre(site: Site, spread: float = 0.2) -> tuple[float, float]:
    """Return a position in the middle part of the scene."""
    return (
        site.width * site.between(0.5 - spread, 0.5 + spread),
        site.height * site.between(0.5 - spread, 0.5 + spread),
    )


def near_edge(site: Site) -> tuple[float, float]:
    """Return a position near a side or corner of the scene."""
    angle = site.between(0, 2 * math.pi)
    return (
        site.width * (0.5 + 0.42 * math.cos(angle)),
        site.height * (0.5 + 0.42 * math.sin(angle)),
    )


def reach_of(site: Site) -> float:
    """Return the distance from the centre to a corner in metres."""
    return math.hypot(site.width, site.height) / 2 + 15


def cut_lines(lines: list[Points], areas: list[Polygon], shortest: float = 25.0) -> list[Points]:
    """Return the parts of lines (n, 2) outside areas that are long enough."""
    if not areas:
        return lines
    forbidden = unary_union(areas)
    parts: list[Points] = []
    for line in lines:
        rest = LineString(line).difference(forbidden)
        parts += [
            np.asarray(part.coords, np.float64)
            for part in getattr(rest, "geoms", [rest])
            if part.geom_type == "LineString" and part.length > shortest
        ]
    return parts


def add_lake(site: Site, largest: float = 75.0) -> Polygon:
    """Draw a lake near an edge of the scene and return the ground that roads keep off."""
    x, y = near_edge(site)
    radius = min(largest, 0.22 * min(site.width, site.height)) * site.between(0.7, 1.2)
    frame = Frame(x, y, site.between(0, 3.14))
    outline = blob(site.random, frame, (radius * site.between(1.0, 1.7), radius), 0.22)
    draw_lake(site, outline)
    _ring_of_trees(site, outline)
    return Polygon(outline).buffer(9)


def add_wood(site: Site, radius: float) -> Polygon:
    """Plant a wood near an edge and return the ground that roads keep off."""
    x, y = near_edge(site)
    frame = Frame(x, y, site.between(0, 3.14))
    outline = blob(site.random, frame, (radius * site.between(1, 1.6), radius), 0.3)
    clear = Polygon(outline).buffer(0)
    plant_forest(site, outline)
    return clear


def _ring_of_trees(site: Site, outline: Points) -> None:
    ring = np.asarray(Polygon(outline).buffer(site.between(4, 7)).exterior.coords)
    for x, y in ring[:: int(site.random.integers(2, 5))]:
        if site.chance(0.6):
            place = x + site.random.normal(0, 2.5), y + site.random.normal(0, 2.5)
            site.crowns.append((*place, site.between(1.5, 4.5)))


def build_suburb(site: Site) -> None:
    """Curved streets with detached houses or terraces, gardens, perhaps a lake and a wood."""
    lay_base(site, "meadow")
    avoid: list[Polygon] = []
    size = min(site.width, site.height)
    if size > 90 and site.chance(0.75):
        avoid.append(add_lake(site))
    if size > 90 and site.chance(0.55):
        avoid.append(add_wood(site, 0.2 * size))
    frame = Frame(*near_centre(site), site.between(0, 1.57))
    depth = SUBURB.depth + site.between(0, 3)
    spacing = (site.between(110, 190), 2 * depth + 13)
    lines = grid_lines(site, frame, spacing, reach_of(site), site.between(0, 14))
    walk = 1.8 if site.chance(0.7) else 0.0
    roads = [
        Road(line, site.between(5.8, 7.4), "asphalt", walk, site.chance(0.4))
        for line in cut_lines(lines, avoid, 40)
    ]
    draw_roads(site, roads, 0.008)
    style = SUBURB
    if site.chance(0.22):
        style = TERRACES
    elif site.chance(0.3):
        style = BIG_VILLAS
    line_with_lots(site, roads, style)
    _street_trees(site, roads)
    scatter_trees(site, int(site.width * site.height / 700), (1.0, 5.0), _whole(site))


def build_village(site: Site) -> None:
    """A winding main road with side roads, farm-like houses, orchards, meadows and fields."""
    lay_base(site, "meadow")
    if site.chance(0.7):
        _lay_parcels(site)
    avoid: list[Polygon] = []
    size = min(site.width, site.height)
    if size > 90 and site.chance(0.45):
        avoid.append(add_lake(site, 60))
    if size > 90 and site.chance(0.7):
        avoid.append(add_wood(site, 0.22 * size))
    x, y = near_centre(site)
    angle, reach = site.between(0, 2 * math.pi), reach_of(site)
    main = _through(site, (x, y), angle, reach, 14)
    roads = [Road(part, 7.0, "asphalt", 1.6, True) for part in cut_lines([main], avoid)]
    for _ in range(int(site.random.integers(1, 4))):
        start = main[int(site.random.integers(10, len(main) - 10))]
        turn = angle + math.pi / 2 * float(site.random.choice([-1, 1])) + site.random.normal(0, 0.2)
        end = start + reach * np.array([math.cos(turn), math.sin(turn)])
        line = winding(site.random, start, end, 7)
        surface = "asphalt" if site.chance(0.75) else "dirt"
        width = 5.2 if surface == "asphalt" else 3.2
        roads += [Road(part, width, surface, 0, False) for part in cut_lines([line], avoid)]
    draw_roads(site, roads, 0.006)
    line_with_lots(site, [road for road in roads if road.surface == "asphalt"], VILLAGE)
    scatter_trees(site, int(site.width * site.height / 350), (1.2, 5.4), _whole(site))


def _lay_parcels(site: Site) -> None:
    reach = reach_of(site)
    frame = Frame(*site.centre, site.between(0, 1.57))
    for sides in split(site, (-reach, -reach, reach, reach), 60):
        if site.chance(0.7):
            draw_parcel(site, frame, sides)


def build_city(site: Site) -> None:
    """A street grid with blocks of perimeter houses, slabs, towers, parks and parking."""
    lay_base(site, "lawn")
    fills = (fill_perimeter, fill_slabs, fill_towers, fill_park, fill_parking, fill_construction)
    shares = np.array([0.4, 0.2, 0.16, 0.1, 0.09, 0.05])
    if site.chance(0.6):
        shares = np.array([0.72, 0.06, 0.05, 0.08, 0.07, 0.02])
    if site.chance(0.4):
        lean = site.between(0, 2 * math.pi)
        tilt = site.between(0.08, 0.25)
        site.canvas.lean = tilt * math.cos(lean), tilt * math.sin(lean)
    road = site.between(9, 13)
    blocks = _grid_blocks(site, (site.between(70, 120), site.between(60, 100)), road, 2.6, 0.03)
    for block in blocks:
        site.reserve(_outline(block))
        fill = fills[int(site.random.choice(len(fills), p=shares))]
        fill(site, block)
    scatter_trees(site, int(site.width * site.height / 2500), (1.2, 3.0), _whole(site))


def build_industrial(site: Site) -> None:
    """Large halls with yards, trucks, parking lots and a few building sites."""
    lay_base(site, "meadow")
    fills = (fill_hall, fill_parking, fill_construction, fill_slabs, fill_pond)
    blocks = _grid_blocks(site, (site.between(110, 170), site.between(80, 120)), 8.5, 0.0, 0.02)
    for block in blocks:
        fill = fills[int(site.random.choice(5, p=[0.74, 0.1, 0.07, 0.04, 0.05]))]
        inner = block.inset(site.between(4, 8))
        site.reserve(_outline(inner))
        if fill is fill_hall and inner.length > 90 and site.chance(0.6):
            for part in inner.parts(2, 1):
                fill_hall(site, part.inset(2))
        else:
            fill(site, inner)
    scatter_trees(site, int(site.width * site.height / 900), (1.5, 4.2), _whole(site))


def fill_pond(site: Site, block: Block) -> None:
    """Draw a pond on a lawn with trees."""
    lay_block(site, block, "lawn")
    draw_lake(site, blob(site.random, block.frame, (block.length * 0.3, block.width * 0.3), 0.2))
    plant_block(site, block, block.length * block.width / 150, (1.5, 4.0))


def build_desert(site: Site) -> None:
    """Sandy ground with walled villas, pools, palms, wide roads and empty plots."""
    lay_base(site, "sand")
    avoid: list[Polygon] = []
    if min(site.width, site.height) > 100 and site.chance(0.35):
        avoid.append(add_lake(site, 60))
    frame = Frame(*near_centre(site), site.between(0, 1.57))
    spacing = (site.between(120, 220), 2 * VILLAS.depth + 14)
    bend = site.between(0, 10) if site.chance(0.4) else 0.0
    lines = cut_lines(grid_lines(site, frame, spacing, reach_of(site), bend), avoid, 40)
    roads = [Road(line, site.between(7, 9), "asphalt", 1.5, True) for line in lines]
    if site.chance(0.4):
        roads.append(
            Road(_through(site, frame.point(0, 0), frame.angle + 0.4, reach_of(site), 4), 15)
        )
    draw_roads(site, roads, 0.006)
    built = [road for road in roads if site.chance(0.8)]
    line_with_lots(site, built, VILLAS)
    for _ in range(int(site.random.integers(1, 4))):
        place = Frame(*near_centre(site, 0.4), frame.angle)
        block = Block(place, site.between(40, 70), site.between(30, 50))
        if site.claim(_outline(block)):
            fill = fill_construction if site.chance(0.5) else fill_slabs
            fill(site, block)
    for _ in range(4):
        start, end = near_edge(site), near_edge(site)
        track = winding(site.random, np.array(start), np.array(end), 12)
        if site.is_free(track) and not avoid:
            draw_roads(site, [Road(track, 3, "dirt", 0, False)])
    _street_trees(site, roads, 0.5)
    scatter_trees(site, int(site.width * site.height / 3500), (1.0, 2.6), _whole(site))


def build_estate(site: Site) -> None:
    """Rows of halls along wide roads at the edge of a desert, bare sand and tracks beyond them."""
    lay_base(site, "sand")
    edge = Frame(*near_centre(site, 0.35), site.between(0, 2 * math.pi))
    beyond = -0.25 * min(site.width, site.height)
    spacing = (site.between(90, 200), site.between(60, 120))
    for block in _grid_blocks(site, spacing, site.between(9, 14), 0.0, 0.01):
        inner = block.inset(site.between(2, 7))
        # What lies left of the edge stays desert.
        dx, dy = block.frame.x - edge.x, block.frame.y - edge.y
        depth = dx * math.cos(edge.angle) + dy * math.sin(edge.angle)
        if depth < beyond or site.chance(0.1):
            continue
        site.reserve(_outline(inner))
        if site.chance(0.08):
            fill_parking(site, inner)
            continue
        columns, rows = int(site.random.integers(1, 4)), int(site.random.integers(1, 3))
        for part in inner.parts(columns, rows):
            if site.chance(0.88):
                fill_hall(site, part.inset(site.between(0.5, 3)))
    for _ in range(6):
        track = winding(site.random, np.array(near_edge(site)), np.array(near_edge(site)), 14)
        if site.is_free(track):
            draw_roads(site, [Road(track, site.between(2.5, 5), "dirt", 0, False)])
    scatter_trees(site, int(site.width * site.height / 6000), (1.0, 2.6), _whole(site))


def build_shanty(site: Site) -> None:
    """Dense small metal roofs along earth roads under tropical trees."""
    lay_base(site, "soil" if site.chance(0.6) else "meadow")
    frame = Frame(*near_centre(site), site.between(0, 1.57))
    lines = grid_lines(site, frame, (site.between(60, 100), 46), reach_of(site), site.between(3, 9))
    roads = [Road(line, site.between(3.5, 5.0), "dirt", 0, False) for line in lines]
    main = _through(site, frame.point(0, 0), site.between(0, 3), reach_of(site), 10)
    roads.append(Road(main, 7.0, "asphalt", 0.0, site.chance(0.5)))
    draw_roads(site, roads, 0.012)
    style = LotStyle(
        width=(10, 17), depth=20, length=(6, 13), breadth=(5, 9), setback=(1, 4), paints=METALS,
        roofs=("gable", "gable", "hip"), garden="soil", trees=1.3, pools=0, enclosure=(0.12, 0.25),
        eaves=(2.5, 3.5),
    )  # fmt: skip
    line_with_lots(site, roads, style)
    scatter_trees(site, int(site.width * site.height / 500), (1.5, 4.8), _whole(site))


def add_green(site: Site, frame: Frame) -> None:
    """Draw a pitch or courts where the ground is free."""
    if site.claim(frame.rectangle(-56, -38, 56, 38)):
        draw_pitch(site, frame)
    elif site.claim(frame.rectangle(-18, -12, 18, 12)):
        draw_court(site, frame)


def _grid_blocks(
    site: Site, spacing: tuple[float, float], width: float, sidewalk: float, bend: float
) -> list[Block]:
    frame = Frame(*near_centre(site), site.between(0, 1.57))
    reach = reach_of(site)
    cuts = [_cuts(site, reach, spacing[axis]) for axis in (0, 1)]
    lines = [frame.points(np.array([[u, -reach], [u, reach]])) for u in cuts[0]]
    lines += [frame.points(np.array([[-reach, v], [reach, v]])) for v in cuts[1]]
    widths = [width * float(site.random.choice([1.0, 1.0, 1.0, 1.6])) for _ in lines]
    roads = [
        Road(line, wide, "asphalt", sidewalk, True)
        for line, wide in zip(lines, widths, strict=True)
    ]
    draw_roads(site, roads, 0.02 + bend)
    _street_trees(site, roads, 0.6 if sidewalk else 0.2)
    count = len(cuts[0])
    blocks: list[Block] = []
    for i in range(count - 1):
        for j in range(len(cuts[1]) - 1):
            u0 = cuts[0][i] + widths[i] / 2 + sidewalk
            u1 = cuts[0][i + 1] - widths[i + 1] / 2 - sidewalk
            v0 = cuts[1][j] + widths[count + j] / 2 + sidewalk
            v1 = cuts[1][j + 1] - widths[count + j + 1] / 2 - sidewalk
            centre = frame.moved((u0 + u1) / 2, (v0 + v1) / 2)
            block = Block(centre, u1 - u0, v1 - v0)
            if site.canvas.polygon(_outline(block)) is not None:
                blocks.append(block)
    return blocks


def _cuts(site: Site, reach: float, spacing: float) -> list[float]:
    cuts = [-reach - site.between(0, spacing)]
    while cuts[-1] < reach:
        cuts.append(cuts[-1] + spacing * site.between(0.75, 1.3))
    return cuts


def _outline(block: Block) -> Points:
    return block.frame.rectangle(
        -block.length / 2, -block.width / 2, block.length / 2, block.width / 2
    )


def _through(
    site: Site, centre: tuple[float, float], angle: float, reach: float, swing: float
) -> Points:
    direction = np.array([math.cos(angle), math.sin(angle)]) * reach * 1.3
    return winding(
        site.random, np.array(centre) - direction, np.array(centre) + direction, swing, 80
    )


def _street_trees(site: Site, roads: list[Road], share: float = 0.35) -> None:
    for road in roads:
        if not site.chance(share):
            continue
        side = road.width / 2 + (1.0 if road.sidewalk > 0 else 1.6)
        spacing = site.between(9, 16)
        for distance in np.arange(5, road.length, spacing):
            for sign in (-1.0, 1.0):
                x, y = road.frame_at(float(distance)).point(site.random.normal(0, 0.6), sign * side)
                if site.chance(0.8):
                    site.crowns.append((x, y, site.between(1.2, 3.2)))


def _whole(site: Site) -> tuple[float, float, float, float]:
    return 0.0, 0.0, site.width, site.height


def build_riverside(site: Site) -> None:
    """A suburb on both banks of a river with bridges."""
    lay_base(site, "meadow")
    angle = site.between(0, math.pi)
    centre = near_centre(site, 0.12)
    width = min(site.between(18, 60), 0.3 * min(site.width, site.height))
    line = _through(site, centre, angle, reach_of(site), 20)
    draw_river(site, line, width)
    bank = LineString(line).buffer(width / 2 + 9)
    lines = grid_lines(site, Frame(*centre, angle), (site.between(120, 180), 66), reach_of(site), 8)
    bridge = Frame(*centre, angle + math.pi / 2)
    reach = reach_of(site)
    roads = [Road(part, 6.4, "asphalt", 1.6, False) for part in cut_lines(lines, [bank], 40)]
    roads.append(
        Road(bridge.points(np.array([[-reach, 0], [reach, 0]])), 9.0, "asphalt", 2.0, True)
    )
    draw_roads(site, roads, 0.01)
    line_with_lots(site, roads, SUBURB)
    _ring_of_trees(site, np.asarray(LineString(line).buffer(width / 2 + 2).exterior.coords))
    add_green(site, Frame(*near_edge(site), angle))
    scatter_trees(site, int(site.width * site.height / 450), (1.2, 5.0), _whole(site))
