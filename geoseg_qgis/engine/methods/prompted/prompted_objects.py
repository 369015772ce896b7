"""The objects of a prompt layer: one for each feature, or one for a group of features.

Points stay points, lines become points along them, rectangles become boxes, and other polygons
become a box with points deep inside. Negative features become negative points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geoseg_qgis.engine.vector.prompt_layer import PromptLayer

Points = NDArray[np.float64]
Rectangle = tuple[float, float, float, float]

INNER_POINTS = 3
MOST_POINTS = 32
"""Most positive and most negative points of an object; of more, an even choice is used."""
LINE_POINTS = 5
BOX_MARGIN = 0.02
"""How far an outline may leave its box, in sides of the box."""
POLYGON_MARGIN = 0.15
"""How far an outline may leave its polygon, in square roots of its area."""
# Further circles inside a polygon are at least this share of the largest one's radius.
_LEAST_INNER_RADIUS = 0.35


@dataclass(frozen=True)
class ObjectPrompt:
    """The prompts of one object in pixel coordinates (x, y); (0, 0) is a corner.

    Attributes:
        number: Place of the object among those of the layer.
        first: Row of its first positive feature.
        features: Number of its features.
        points: In the order in which they were given, shape (n, 2).
        on_object: (n,), True for positive points.
        areas: Bounding boxes (left, top, right, bottom) of each box or polygon.
        limits: The area that it does not leave: its boxes and polygons with a margin; None when
            it may lie anywhere.
    """

    number: int
    first: int
    features: int
    points: Points
    on_object: NDArray[np.bool_]
    areas: tuple[Rectangle, ...] = ()
    limits: BaseGeometry | None = None

    @property
    def positive(self) -> Points:
        """The positive points, shape (n, 2)."""
        return self.points[self.on_object]

    @property
    def box(self) -> Rectangle | None:
        """The bounding box of its areas, None without any."""
        if not self.areas:
            return None
        sides = np.array(self.areas)
        return (*sides[:, :2].min(axis=0).tolist(), *sides[:, 2:].max(axis=0).tolist())

    @property
    def bounds(self) -> Rectangle:
        """The bounding box of its areas and positive points."""
        corners = np.concatenate([self.positive, np.array(self.areas).reshape(-1, 2)])
        return (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())

    def rescaled(self, scale: tuple[float, float], offset: tuple[float, float]) -> ObjectPrompt:
        """Return it with all coordinates multiplied by ``scale`` and then moved by ``offset``."""
        factor, shift = np.array(scale), np.array(offset)
        areas = np.array(self.areas).reshape(-1, 4) * np.tile(factor, 2) + np.tile(shift, 2)
        return ObjectPrompt(
            self.number,
            self.first,
            self.features,
            self.points * factor + shift,
            self.on_object,
            tuple(tuple(area) for area in areas.tolist()),
            None
            if self.limits is None
            else shapely.transform(self.limits, lambda places: places * factor + shift),
        )

    def with_points(self, kept: NDArray[np.bool_]) -> ObjectPrompt:
        """Return it with only the points where ``kept``, shape (n,), is True."""
        return replace(self, points=self.points[kept], on_object=self.on_object[kept])


@dataclass(frozen=True)
class ObjectPrompts:
    """The objects of a layer, and what was left out.

    Attributes:
        objects: Those with a positive prompt, in the order of their first features.
        count: Objects of the layer.
        outside: Features outside of the raster.
        empty: Features without a geometry.
        without_positive: Objects with negative prompts alone.
        thinned: Objects of which only some points are used, see `MOST_POINTS`.
    """

    objects: tuple[ObjectPrompt, ...]
    count: int
    outside: int
    empty: int
    without_positive: int
    thinned: int


def gather_objects(
    layer: PromptLayer,
    reachable: Rectangle,
    line_points: int = LINE_POINTS,
    inner_points: int = INNER_POINTS,
) -> ObjectPrompts:
    """Return the objects of a layer.

    Args:
        layer: Features in pixel coordinates.
        reachable: Left, top, right, bottom of the raster in pixels; features outside are left out,
            others are clipped.
        line_points: Points that a line becomes.
        inner_points: Points inside of a polygon that is no box.
    """
    gatherer = _Gatherer(reachable, line_points, inner_points)
    count = int(layer.objects.max()) + 1
    rows: list[list[int]] = [[] for _ in range(count)]
    for row, number in enumerate(layer.objects.tolist()):
        rows[number].append(row)
    found = [gatherer.gather(layer, number, members) for number, members in enumerate(rows)]
    return ObjectPrompts(
        tuple(item for item in found if item is not None),
        count,
        gatherer.outside,
        gatherer.empty,
        gatherer.without_positive,
        gatherer.thinned,
    )


class _Gatherer:
    """Turns features into objects and counts those left out."""

    def __init__(self, reachable: Rectangle, line_points: int, inner_points: int) -> None:
        self.outside = 0
        self.empty = 0
        self.without_positive = 0
        self.thinned = 0
        self._reachable = shapely.box(*reachable)
        self._line_points = line_points
        self._inner_points = inner_points
        shapely.prepare(self._reachable)

    def gather(self, layer: PromptLayer, number: int, rows: list[int]) -> ObjectPrompt | None:
        placed = [row for row in rows if self._has_place(layer.shapes[row])]
        chosen = [row for row in placed if layer.positive[row]]
        if not chosen:
            self.without_positive += bool(placed)
            return None
        features = [self._feature(layer, row) for row in placed]
        positive = [feature for feature in features if feature.on_object]
        areas = [area for feature in positive for area in feature.areas]
        limits = [limit for feature in positive for limit in feature.limits]
        item = ObjectPrompt(
            number,
            chosen[0],
            len(placed),
            np.concatenate([feature.points for feature in features]),
            np.repeat([f.on_object for f in features], [len(f.points) for f in features]),
            tuple(areas),
            shapely.union_all(limits) if limits else None,
        )
        return self._thinned(item)

    def _has_place(self, shape: BaseGeometry) -> bool:
        if shape.is_empty:
            self.empty += 1
            return False
        if not shapely.intersects(self._reachable, shape):
            self.outside += 1
            return False
        return True

    def _feature(self, layer: PromptLayer, row: int) -> _Feature:
        shape = self._within_reach(layer.shapes[row])
        on_object = bool(layer.positive[row])
        is_box = bool(layer.boxes[row]) and on_object
        points: list[Points] = []
        areas: list[Rectangle] = []
        limits: list[BaseGeometry] = []
        for part in shapely.get_parts(shapely.get_parts(shape)):
            if part.geom_type == "Polygon":
                areas.append(part.bounds)
                limits.append(_with_margin(part, is_box))
                if not is_box:
                    count = self._inner_points if on_object else 1
                    points.append(inner_points_of(part, count))
            elif part.geom_type in ("LineString", "LinearRing"):
                places = (np.arange(self._line_points) + 0.5) / self._line_points
                along = shapely.line_interpolate_point(part, places, normalized=True)
                points.append(shapely.get_coordinates(along))
            elif part.geom_type == "Point":
                points.append(shapely.get_coordinates(part))
        return _Feature(np.concatenate([np.zeros((0, 2)), *points]), on_object, areas, limits)

    def _within_reach(self, shape: BaseGeometry) -> BaseGeometry:
        if shapely.covers(self._reachable, shape):
            return shape
        if shapely.get_dimensions(shape) == 0:
            # An intersection would sort the points, but predictors take them in their own order.
            points = shapely.get_parts(shape)
            return shapely.MultiPoint(points[shapely.intersects(self._reachable, points)])
        return shapely.intersection(shape, self._reachable)

    def _thinned(self, item: ObjectPrompt) -> ObjectPrompt:
        kept = np.ones(len(item.points), dtype=np.bool_)
        for places in (np.flatnonzero(item.on_object), np.flatnonzero(~item.on_object)):
            if len(places) > MOST_POINTS:
                evenly = np.linspace(0, len(places) - 1, MOST_POINTS).round().astype(np.intp)
                kept[places] = False
                kept[places[evenly]] = True
        self.thinned += not kept.all()
        return item.with_points(kept)


@dataclass(frozen=True)
class _Feature:
    points: Points
    on_object: bool
    areas: list[Rectangle]
    limits: list[BaseGeometry]


def _with_margin(part: BaseGeometry, is_box: bool) -> BaseGeometry:
    """Return a box grown by a share of its side, or a polygon by one of its size."""
    grown: BaseGeometry
    if is_box:
        left, top, right, bottom = part.bounds
        side = max(right - left, bottom - top)
        grown = shapely.buffer(part, BOX_MARGIN * side, join_style="mitre")
    else:
        grown = shapely.buffer(part, POLYGON_MARGIN * float(part.area) ** 0.5)
    return grown


def inner_points_of(polygon: BaseGeometry, count: int) -> Points:
    """Return up to ``count`` points deep inside a polygon and apart from each other, shape (n, 2).

    Each is the centre of the largest circle in what the circles before it left over; circles that
    are much smaller than the first are not taken.
    """
    rest, largest = polygon, 0.0
    points: list[tuple[float, float]] = []
    while len(points) < count and not rest.is_empty:
        tolerance = max(float(rest.area) ** 0.5 / 50.0, 1e-6)
        radius: Any = shapely.maximum_inscribed_circle(rest, tolerance)
        if radius.is_empty or radius.length < _LEAST_INNER_RADIUS * largest:
            break
        largest = max(largest, radius.length)
        points.append(radius.coords[0])
        circle = shapely.buffer(shapely.Point(radius.coords[0]), max(radius.length, tolerance))
        pieces = shapely.get_parts(shapely.difference(rest, circle))
        areas = pieces[shapely.get_dimensions(pieces) == 2]
        rest = max(areas, key=shapely.area) if len(areas) else shapely.Polygon()
    return np.array(points, dtype=np.float64).reshape(-1, 2)
