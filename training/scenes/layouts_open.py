"""Plans of open land: farmland, forest edge, coast, park."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from shapely.geometry import LineString, Polygon

from .blocks import Block, draw_parking
from .frame import Frame, Points, blob, winding
from .ground import lay, lay_base
from .layouts_settled import (
    BIG_VILLAS,
    VILLAGE,
    add_lake,
    add_wood,
    cut_lines,
    near_centre,
    near_edge,
    reach_of,
)
from .lots import draw_farmstead, line_with_lots
from .parcels import draw_parcel, split
from .roads import Road, draw_roads
from .site import Site
from .sports import draw_court, draw_pitch, draw_track
from .vegetation import plant_forest, scatter_trees
from .water import draw_lake, draw_river, draw_sea


def build_farmland(site: Site) -> None:
    """Parcels of many crops, tracks, hedges, a stream or a pond, and a farmstead."""
    lay_base(site, "meadow")
    frame = Frame(*site.centre, site.between(0, 1.57))
    reach = reach_of(site)
    parcels = split(site, (-reach, -reach, reach, reach), site.between(38, 95))
    for u0, v0, u1, v1 in parcels:
        draw_parcel(site, frame, (u0, v0, u1, v1))
    avoid: list[Polygon] = []
    if site.chance(0.35):
        avoid.append(add_lake(site, 40))
    elif site.chance(0.3):
        line = _across(site, reach, 25)
        draw_river(site, line, site.between(5, 16), "soil")
        for x, y in line[::2]:
            site.crowns.append((x + site.random.normal(0, 7), y + site.random.normal(0, 7), 3.0))
    if site.chance(0.5):
        avoid.append(add_wood(site, 0.16 * min(site.width, site.height)))
    road = frame.points(np.array([[-reach, parcels[0][3]], [reach, parcels[0][3]]]))
    roads = [Road(part, 5.5, "asphalt", 0, False) for part in cut_lines([road], avoid)]
    track = frame.points(np.array([[parcels[0][2], -reach], [parcels[0][2], reach]]))
    roads += [Road(part, 3.2, "dirt", 0, False) for part in cut_lines([track], avoid)]
    draw_roads(site, roads, 0.004)
    for _ in range(3):
        farm = Frame(*near_centre(site, 0.32), frame.angle)
        if site.claim(farm.rectangle(-36, -30, 36, 30)):
            draw_farmstead(site, farm)
            break
    scatter_trees(site, int(site.width * site.height / 3500), (2.0, 4.5), _whole(site))


def build_forest_edge(site: Site) -> None:
    """Dense forest with clearings, a track, meadows, a lake and a few houses."""
    lay_base(site, "meadow")
    reach = reach_of(site)
    angle = site.between(0, 2 * math.pi)
    middle = Frame(*site.centre, angle)
    edge = middle.points(
        np.stack(
            [
                np.linspace(-reach, reach, 90),
                site.between(-0.25, 0.25) * reach + _wavy(site, 90, 0.12 * reach),
            ],
            axis=1,
        )
    )
    far = middle.points(np.array([[2 * reach, 2.5 * reach], [-2 * reach, 2.5 * reach]]))
    avoid: list[Polygon] = []
    if site.chance(0.55):
        avoid.append(add_lake(site, 70))
    plant_forest_around(site, np.concatenate([edge, far]), avoid)
    if site.chance(0.7):
        frame = middle.moved(site.between(-0.3, 0.3) * reach, -0.45 * reach)
        plant_forest(site, blob(site.random, frame, (0.2 * reach, 0.13 * reach), 0.3))
    road = middle.points(
        np.stack([np.linspace(-reach, reach, 60), -0.3 * reach + _wavy(site, 60, 12)], axis=1)
    )
    track = winding(
        site.random,
        np.array(middle.point(-0.2 * reach, -0.3 * reach)),
        np.array(middle.point(0.2 * reach, reach)),
        14,
    )
    roads = [Road(part, 6.0, "asphalt", 0, True) for part in cut_lines([road], avoid)]
    draw_roads(site, [*roads, Road(track, 3.4, "dirt", 0, False)], 0.005)
    if site.chance(0.7):
        line_with_lots(site, roads, VILLAGE)
    scatter_trees(site, int(site.width * site.height / 500), (1.2, 5.0), _whole(site))


def plant_forest_around(site: Site, outline: Points, clear: list[Polygon]) -> None:
    """Plant a forest inside an outline except on the ground to keep clear."""
    area: Any = Polygon(outline).buffer(0)
    for polygon in clear:
        area = area.difference(polygon)
    for part in getattr(area, "geoms", [area]):
        if part.geom_type == "Polygon" and part.area > 100:
            plant_forest(site, np.asarray(part.exterior.coords))


def build_coast(site: Site) -> None:
    """Sea with a beach or a quay, a coast road, villas and trees behind."""
    lay_base(site, "meadow")
    reach = reach_of(site)
    angle = site.between(0, 2 * math.pi)
    frame = Frame(*near_centre(site, 0.15), angle)
    along = np.linspace(-reach * 1.3, reach * 1.3, 100)
    beach = site.between(8, 26) if site.chance(0.75) else 2.0
    swing = _wavy(site, 100, min(18, 0.12 * reach) if beach > 3 else 2.0)
    coast = frame.points(np.stack([along, swing], axis=1))
    far = frame.points(np.array([[2 * reach, 2.5 * reach], [-2 * reach, 2.5 * reach]]))
    draw_sea(site, coast, far, beach)
    back = -beach - 30
    road = frame.points(np.stack([along, back + 0.6 * swing], axis=1))
    roads = [Road(road, 7.5, "asphalt", 2.0, True)]
    for u in np.arange(-reach + site.between(0, 60), reach, site.between(90, 140)):
        line = frame.points(np.array([[u, back], [u + site.random.normal(0, 10), back - reach]]))
        roads.append(Road(line, 6.0, "asphalt", 1.5, False))
    draw_roads(site, roads, 0.01)
    line_with_lots(site, roads, BIG_VILLAS)
    if site.chance(0.5):
        place = frame.moved(site.between(-0.4, 0.4) * reach, -beach - 12)
        block = Block(place, site.between(30, 70), 17)
        if site.claim(place.rectangle(-block.length / 2, -8, block.length / 2, 8)):
            draw_parking(site, block, 0.6)
    scatter_trees(site, int(site.width * site.height / 450), (1.0, 4.8), _whole(site))


def build_park(site: Site) -> None:
    """Sports fields, a pond, lawns with paths, groups of trees and a parking lot."""
    lay_base(site, "lawn")
    size = min(site.width, site.height)
    frame = Frame(*site.centre, site.between(0, 3.14))
    reach = reach_of(site)
    edge = frame.points(np.array([[-reach, -0.3 * size], [reach, -0.3 * size]]))
    draw_roads(site, [Road(edge, 7.5, "asphalt", 2.2, True)], 0.012)
    main = frame.moved(site.between(-0.2, 0.2) * size, site.between(-0.02, 0.2) * size)
    if size > 190 and site.claim(main.rectangle(-92, -50, 92, 50)):
        draw_track(site, main)
    elif site.claim(main.rectangle(-56, -38, 56, 38)):
        draw_pitch(site, main, site.between(42, 52), site.between(28, 34))
    for _ in range(10):
        place = Frame(*near_centre(site, 0.45), frame.angle)
        kind = "tennis court" if site.chance(0.6) else "basketball court"
        if site.claim(place.rectangle(-18, -12, 18, 12)):
            draw_court(site, place, kind)
        elif site.chance(0.3) and site.claim(place.rectangle(-56, -38, 56, 38)):
            draw_pitch(site, place)
    _add_parking(site, frame, size)
    for _ in range(3):
        x, y = near_edge(site)
        outline = blob(site.random, Frame(x, y), (0.13 * size, 0.09 * size), 0.25)
        if site.is_free(outline):
            draw_lake(site, outline, "meadow")
            break
    _add_paths(site)
    if site.chance(0.6):
        add_free_wood(site, size)
    scatter_trees(site, int(site.width * site.height / 350), (1.8, 5.5), _whole(site))


def _add_parking(site: Site, frame: Frame, size: float) -> None:
    place = frame.moved(site.between(-0.3, 0.3) * size, -0.3 * size - 20)
    block = Block(place, site.between(30, 70), site.between(17, 22))
    half_length, half_width = block.length / 2, block.width / 2
    if site.claim(place.rectangle(-half_length, -half_width, half_length, half_width)):
        draw_parking(site, block, 0.55)
    line_with_lots(
        site,
        [
            Road(
                frame.points(np.array([[-size, -0.3 * size], [size, -0.3 * size]])),
                7.5,
                "asphalt",
                2.2,
            )
        ],
        VILLAGE,
    )


def _add_paths(site: Site) -> None:
    for _ in range(4):
        start, end = np.array(near_edge(site)), np.array(near_edge(site))
        line = winding(site.random, start, end, 12, 160)
        is_open = np.array([site.is_open(float(x), float(y)) for x, y in line])
        for run in np.split(np.arange(len(line)), np.flatnonzero(np.diff(is_open)) + 1):
            if is_open[run[0]] and len(run) > 8:
                found = site.canvas.shape_of(LineString(line[run]).buffer(1.3))
                lay(site, found, "gravel")


def add_free_wood(site: Site, size: float) -> None:
    """Plant a small wood where nothing else is."""
    for _ in range(4):
        frame = Frame(*near_edge(site), site.between(0, 3.14))
        outline = blob(site.random, frame, (0.16 * size, 0.1 * size), 0.3)
        if site.is_free(outline):
            plant_forest(site, outline)
            return


def _wavy(site: Site, count: int, amplitude: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    along = np.linspace(0, 1, count)
    total = np.zeros(count)
    for wave in range(1, 9):
        phase = site.between(0, 6.3)
        total += site.random.normal() / wave**1.1 * np.sin(2 * np.pi * wave * along + phase)
    return np.asarray(amplitude * total / 1.4)


def _across(site: Site, reach: float, swing: float) -> Points:
    angle = site.between(0, 2 * math.pi)
    direction = np.array([math.cos(angle), math.sin(angle)]) * reach * 1.2
    centre = np.array(near_centre(site))
    return winding(site.random, centre - direction, centre + direction, swing, 80)


def _whole(site: Site) -> tuple[float, float, float, float]:
    return 0.0, 0.0, site.width, site.height
