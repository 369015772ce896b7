"""Roads: a network with rounded junctions, sidewalks, markings, wear and traffic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from shapely import unary_union
from shapely.geometry import LineString

from .canvas import Mask, Patch, label_of
from .cars import draw_car
from .frame import Frame, Points
from .ground import Cover, ground_colour, lay
from .site import Site


@dataclass(frozen=True)
class Road:
    """A road along a line.

    Attributes:
        line: Its middle (n, 2) in metres.
        width: Metres between the curbs.
        surface: asphalt, concrete or dirt.
        sidewalk: Width of the sidewalks, 0 for none.
        marked: Whether lines are painted on it.
    """

    line: Points
    width: float
    surface: str = "asphalt"
    sidewalk: float = 0.0
    marked: bool = True

    @property
    def length(self) -> float:
        """Metres from end to end."""
        return float(np.hypot(*np.diff(self.line, axis=0).T).sum())

    def frame_at(self, distance: float) -> Frame:
        """Return the frame on the middle line at a distance from the start."""
        steps = np.hypot(*np.diff(self.line, axis=0).T)
        ends = np.concatenate([[0.0], np.cumsum(steps)])
        index = int(np.clip(np.searchsorted(ends, distance) - 1, 0, len(steps) - 1))
        share = (distance - ends[index]) / max(steps[index], 1e-6)
        start, end = self.line[index], self.line[index + 1]
        place = start + (end - start) * share
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        return Frame(float(place[0]), float(place[1]), angle)


def draw_roads(site: Site, roads: list[Road], traffic: float = 0.012) -> None:
    """Draw a network and reserve its ground.

    Args:
        site: Where to draw.
        roads: The roads; junctions are where they cross.
        traffic: Cars for each metre of a marked road.
    """
    paved = [road for road in roads if road.surface != "dirt"]
    for road in roads:
        if road.surface == "dirt":
            _draw_track(site, road)
    if not paved:
        return
    bands = [LineString(road.line).buffer(road.width / 2, cap_style="flat") for road in paved]
    surface = unary_union(bands).buffer(4, quad_segs=4).buffer(-4, quad_segs=4)
    sidewalks = [
        LineString(road.line).buffer(road.width / 2 + road.sidewalk, cap_style="flat")
        for road in paved
        if road.sidewalk > 0
    ]
    if sidewalks:
        walk = unary_union(sidewalks).buffer(3, quad_segs=4).buffer(-3, quad_segs=4)
        lay(site, site.canvas.shape_of(walk), "concrete", 0.94, "sidewalk")
        _reserve(site, walk)
    _draw_surface(site, surface, paved)
    _reserve(site, surface)
    _draw_markings(site, paved, bands)
    for road in paved:
        _drive(site, road, traffic)


def _draw_track(site: Site, road: Road) -> None:
    band = LineString(road.line).buffer(road.width / 2)
    found = site.canvas.shape_of(band)
    _reserve(site, band)
    if found is None:
        return
    patch, mask = found
    kind = Cover("path", site.climate.soil[0], (178, 162, 136), (0.05, 0.05, 0.07, 0.03))
    site.canvas.paint(patch, mask, ground_colour(site, patch, kind, 1.1), label_of("path"))
    if road.width > 2.4:
        strip = site.canvas.lines([road.line], 0.7, patch) * np.float32(0.55)
        site.canvas.blend(patch, strip, site.climate.grass[0])


def _draw_surface(site: Site, surface: Any, roads: list[Road]) -> None:
    found = site.canvas.shape_of(surface)
    if found is None:
        return
    patch, mask = found
    rgb = site.climate.asphalt
    tone = site.between(0.72, 1.2)
    if roads[0].surface == "concrete":
        rgb, tone = (176, 172, 164), site.between(0.9, 1.05)
    base = (rgb[0] * tone, rgb[1] * tone, rgb[2] * tone)
    worn = (base[0] * 1.1, base[1] * 1.09, base[2] * 1.06)
    kind = Cover("road", base, worn, (0.035, 0.02, 0.025, 0.035))
    colour = ground_colour(site, patch, kind)
    site.canvas.paint(patch, mask, colour, label_of("road"), 0.0)
    _wear(site, patch, mask, roads)


def _wear(site: Site, patch: Patch, mask: Mask, roads: list[Road]) -> None:
    lanes = [_offset(road.line, side * road.width * 0.25) for road in roads for side in (-1.0, 1.0)]
    cover = site.canvas.lines(lanes, 1.3, patch)
    image = Image.fromarray((cover * 255).astype(np.uint8))
    soft = image.filter(ImageFilter.BoxBlur(max(1.0, 0.5 * site.canvas.scale)))
    dark = np.asarray(soft, np.float32) * np.float32(site.between(0.03, 0.12) / 255)
    site.canvas.shade(patch, 1 - dark * mask)
    for road in roads:
        if site.chance(0.3):
            _repair(site, road)


def _repair(site: Site, road: Road) -> None:
    frame = road.frame_at(site.between(0, road.length))
    half = site.between(2, 9)
    found = site.canvas.polygon(frame.rectangle(-half, 0.2, half, road.width / 2 - 0.3))
    if found is None:
        return
    patch, mask = found
    on_road = mask & (site.canvas.label[patch.window] == label_of("road"))
    site.canvas.shade(patch, 1 - on_road * np.float32(site.between(0.06, 0.2)))


def _draw_markings(site: Site, roads: list[Road], bands: list[Any]) -> None:
    patch = site.canvas.whole
    if 0.14 * site.canvas.scale < 0.25:
        return
    solid: list[Points] = []
    stripes: list[Points] = []
    for index, road in enumerate(roads):
        if not road.marked:
            continue
        others = [band.buffer(2.0) for place, band in enumerate(bands) if place != index]
        clear: Any = LineString(road.line)
        if others:
            clear = clear.difference(unary_union(others))
        for part in getattr(clear, "geoms", [clear]):
            if part.geom_type == "LineString" and part.length > 6:
                _mark_part(site, np.asarray(part.coords), road, solid, stripes)
    cover = np.maximum(
        site.canvas.lines(solid, 0.16, patch), site.canvas.lines(stripes, 0.45, patch)
    )
    fade = np.clip(np.float32(0.72) + np.float32(0.16) * site.canvas.noise.medium, 0.15, 0.95)
    on_road = site.canvas.label == label_of("road")
    site.canvas.blend(patch, cover * fade * on_road, (232, 231, 226))


def _mark_part(
    site: Site, line: Points, road: Road, solid: list[Points], stripes: list[Points]
) -> None:
    part = Road(line, road.width)
    dash, gap = (6.0, 6.0) if road.width > 8 else (3.0, 4.0)
    solid.extend(_dashes(part, dash, gap))
    if road.width > 7.4:
        solid += [_offset(line, side * (road.width / 2 - 0.35)) for side in (-1.0, 1.0)]
    if road.width > 11:
        for side in (-1.0, 1.0):
            lane = Road(_offset(line, side * road.width / 4), road.width)
            solid.extend(_dashes(lane, 3.0, 6.0))
    if road.sidewalk > 0 and part.length > 25 and site.chance(0.35):
        for distance in (2.0, part.length - 2.0):
            frame = part.frame_at(distance)
            across = np.arange(-road.width / 2 + 0.5, road.width / 2 - 0.3, 0.95)
            stripes += [frame.points(np.array([[-1.4, v], [1.4, v]])) for v in across]


def _dashes(road: Road, dash: float, gap: float) -> Iterator[Points]:
    steps = np.hypot(*np.diff(road.line, axis=0).T)
    ends = np.concatenate([[0.0], np.cumsum(steps)])
    for start in np.arange(2.0, ends[-1] - dash, dash + gap):
        at = np.array([start, start + dash])
        yield np.stack([np.interp(at, ends, road.line[:, axis]) for axis in (0, 1)], axis=1)


def _offset(line: Points, distance: float) -> Points:
    direction = np.gradient(line, axis=0)
    direction /= np.maximum(np.hypot(direction[:, 0], direction[:, 1])[:, None], 1e-6)
    normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    return np.asarray(line + normal * distance, np.float64)


def _drive(site: Site, road: Road, traffic: float) -> None:
    if road.width < 4.5:
        return
    count = int(site.random.poisson(road.length * traffic))
    for _ in range(count):
        frame = road.frame_at(site.between(0, road.length))
        side = 1.0 if site.chance(0.5) else -1.0
        turn = 0.0 if side > 0 else math.pi
        place = frame.moved(0, side * road.width * 0.25, turn + site.random.normal(0, 0.03))
        if site.canvas.label_at(place.x, place.y) == label_of("road"):
            draw_car(site, place, _vehicle(site))
    if road.sidewalk > 0:
        _park_along(site, road)


def _park_along(site: Site, road: Road) -> None:
    distance = site.between(4, 12)
    density = site.between(0.05, 0.5)
    while distance < road.length - 5:
        for side in (-1.0, 1.0):
            frame = road.frame_at(distance).moved(0, side * (road.width / 2 - 1.1))
            on_road = site.canvas.label_at(frame.x, frame.y) == label_of("road")
            if on_road and site.chance(density):
                draw_car(site, frame.moved(0, 0, site.random.normal(0, 0.03)))
        distance += site.between(5.6, 6.6)


def _vehicle(site: Site) -> str:
    return str(site.random.choice(["car", "van", "truck", "bus"], p=[0.86, 0.07, 0.05, 0.02]))


def _reserve(site: Site, geometry: Any) -> None:
    rings = site.canvas.shape_of(geometry)
    if rings is None:
        return
    patch, mask = rings
    rows, columns = site.taken.shape
    small = Image.fromarray(mask).convert("L")
    full = Image.new("L", (site.canvas.height.shape[1], site.canvas.height.shape[0]))
    full.paste(small, (patch.columns.start, patch.rows.start))
    site.taken |= np.asarray(full.resize((columns, rows), Image.Resampling.BOX)) > 40


def grid_lines(
    site: Site, frame: Frame, spacing: tuple[float, float], reach: float, bend: float = 0.0
) -> list[Points]:
    """Return the middle lines of a street grid round a frame.

    Args:
        site: Source of chance.
        frame: Centre and direction.
        spacing: Metres between streets along u and along v.
        reach: Half the extent of the grid.
        bend: Metres that streets swing to the side.
    """
    phase = site.random.uniform(0, 6.3, 4)
    wave = site.between(110, 220)

    def bent(local: Points) -> Points:
        u, v = local[:, 0], local[:, 1]
        moved_u = u + bend * np.sin(2 * np.pi * v / wave + phase[0])
        moved_v = v + bend * np.sin(2 * np.pi * u / wave + phase[1])
        return frame.points(np.stack([moved_u, moved_v], axis=1))

    lines: list[Points] = []
    along = np.linspace(-reach, reach, max(2, int(reach / 3)) if bend else 2)
    for axis in (0, 1):
        offset = -reach + site.between(0, spacing[axis])
        while offset < reach:
            fixed = np.full_like(along, offset)
            local = np.stack([fixed, along] if axis == 0 else [along, fixed], axis=1)
            lines.append(bent(local))
            offset += spacing[axis] * site.between(0.85, 1.2)
    return lines
