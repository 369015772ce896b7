"""Outlines with right angles, for buildings.

Each edge is taken for one of two perpendicular directions, neighbouring edges of the same
direction become one line at their weighted mean, short steps are dropped, and consecutive lines
are crossed. The squared outline counts only if it covers nearly the same ground.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import shapely
from numpy.typing import NDArray

# IoU with the outline before.
LEAST_OVERLAP = 0.8
# IoU that each corner beyond four must gain: stairs along the pixels fit best, but are no house.
CORNER_GAIN = 0.02
# Square pixels; less is rounding.
_LEAST_SHARED = 1e-6
Line = tuple[float, bool, float]


def square_polygon(polygon: shapely.Polygon, tolerance: float) -> shapely.Polygon:
    """Return the polygon with right angles, or itself where that would change it too much.

    Args:
        polygon: Polygon in a plane whose axes are perpendicular and equally scaled.
        tolerance: Steps shorter than this are dropped, up to twice as long ones where that spares
            corners.
    """
    candidates = []
    for angle, step in product(_directions(polygon, tolerance), (tolerance, 2.0 * tolerance)):
        shell = _square_ring(np.asarray(polygon.exterior.coords), angle, step)
        if shell is None:
            continue
        holes = [
            hole
            for ring in polygon.interiors
            if (hole := _square_ring(np.asarray(ring.coords), angle, step)) is not None
        ]
        squared = shapely.difference(shell, shapely.union_all(holes)) if holes else shell
        if isinstance(squared, shapely.Polygon) and squared.is_valid and not squared.is_empty:
            candidates.append((_overlap(polygon, squared), squared))
    usable = [candidate for candidate in candidates if candidate[0] >= LEAST_OVERLAP]
    if not usable:
        return polygon
    return max(usable, key=lambda candidate: candidate[0] - CORNER_GAIN * _corners(candidate[1]))[1]


def _corners(polygon: shapely.Polygon) -> int:
    return len(polygon.exterior.coords) - 1


def fit_together(
    squared: NDArray[np.object_],
    outlines: NDArray[np.object_],
    chosen: NDArray[np.bool_],
    shape: tuple[int, int],
) -> NDArray[np.object_]:
    """Return squared polygons so that none overlaps another or leaves the raster.

    What a squared polygon takes is cut from its neighbours, of two squared ones from the smaller.
    One that would cut a neighbour to pieces, or be cut to pieces itself, keeps its outline.

    Args:
        squared: (n,) polygons in pixel coordinates, some of them squared.
        outlines: (n,) the same before, which do not overlap.
        chosen: (n,) bool, which of them are squared.
        shape: Rows and columns of the raster.
    """
    placed = squared.copy()
    raster = shapely.box(0.0, 0.0, float(shape[1]), float(shape[0]))
    tree = shapely.STRtree(squared)
    numbers = np.flatnonzero(chosen)
    done = ~chosen
    fixed = np.zeros(len(squared), dtype=bool)
    for number in numbers[np.argsort(-shapely.area(squared[numbers]), kind="stable")].tolist():
        near = [other for other in tree.query(squared[number]).tolist() if other != number]
        for candidate in (squared[number], outlines[number]):
            earlier = [placed[other] for other in near if fixed[other]]
            mine = shapely.intersection(candidate, raster)
            if earlier:
                mine = shapely.difference(mine, shapely.union_all(earlier))
            cut = {
                other: shapely.difference(placed[other], mine)
                for other in near
                if done[other] and not fixed[other] and _shared(placed[other], mine)
            }
            if all(_is_one(each) for each in (mine, *cut.values())):
                placed[number] = mine
                for other, rest in cut.items():
                    placed[other] = rest
                break
        else:
            placed[number] = _largest_part(mine, outlines[number])
        done[number] = fixed[number] = True
    return placed


def _largest_part(shape: shapely.Geometry, otherwise: shapely.Polygon) -> shapely.Polygon:
    parts = [each for each in shapely.get_parts(shape) if _is_one(each)]
    return max(parts, key=lambda each: each.area, default=otherwise)


def _shared(first: shapely.Polygon, second: shapely.Polygon) -> bool:
    return float(shapely.area(shapely.intersection(first, second))) > _LEAST_SHARED


def _is_one(shape: shapely.Geometry) -> bool:
    return isinstance(shape, shapely.Polygon) and not shape.is_empty


def _overlap(first: shapely.Polygon, second: shapely.Polygon) -> float:
    shared = float(shapely.area(shapely.intersection(first, second)))
    return shared / float(first.area + second.area - shared)


def _directions(polygon: shapely.Polygon, tolerance: float) -> list[float]:
    """Return candidate directions in radians: of the long edges, and of the smallest rectangle."""
    smooth = shapely.simplify(polygon, tolerance)
    usable = isinstance(smooth, shapely.Polygon) and not smooth.is_empty
    ring = np.asarray((smooth if usable else polygon).exterior.coords)
    steps = np.diff(ring, axis=0)
    weights = np.hypot(steps[:, 0], steps[:, 1]) ** 2
    turns = 4.0 * np.arctan2(steps[:, 1], steps[:, 0])
    mean = math.atan2(float(weights @ np.sin(turns)), float(weights @ np.cos(turns))) / 4.0
    directions = [mean]
    rectangle = shapely.minimum_rotated_rectangle(polygon)
    if isinstance(rectangle, shapely.Polygon):
        corners = np.asarray(rectangle.exterior.coords)
        directions.append(float(np.arctan2(*(corners[1] - corners[0])[::-1])))
    return directions


def _square_ring(
    ring: NDArray[np.float64], angle: float, tolerance: float
) -> shapely.Polygon | None:
    cosine, sine = math.cos(angle), math.sin(angle)
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    lines = _lines(ring @ rotation)
    lines = _drop_steps(lines, tolerance)
    if len(lines) < 4:
        return None
    points = np.array(
        [
            (following[0], line[0]) if line[1] else (line[0], following[0])
            for line, following in zip(lines, lines[1:] + lines[:1])
        ]
    )
    shape = shapely.Polygon(points @ rotation.T)
    return shape if shape.is_valid and shape.area > 0.0 else None


def _lines(ring: NDArray[np.float64]) -> list[Line]:
    """Return alternating lines (position, whether level, length) around a ring."""
    steps = np.diff(ring, axis=0)
    middles = (ring[1:] + ring[:-1]) / 2.0
    lines: list[Line] = []
    for (step_x, step_y), (x, y) in zip(steps, middles):
        if abs(step_x) >= abs(step_y):
            lines.append((float(y), True, abs(float(step_x))))
        else:
            lines.append((float(x), False, abs(float(step_y))))
    return _merge(lines)


def _merge(lines: list[Line]) -> list[Line]:
    merged: list[Line] = []
    for line in lines:
        if merged and merged[-1][1] == line[1]:
            merged[-1] = _mean(merged[-1], line)
        else:
            merged.append(line)
    if len(merged) > 1 and merged[0][1] == merged[-1][1]:
        merged[0] = _mean(merged.pop(), merged[0])
    return merged


def _mean(first: Line, second: Line) -> Line:
    length = first[2] + second[2]
    if length <= 0.0:
        return first
    position = (first[0] * first[2] + second[0] * second[2]) / length
    return position, first[1], length


def _drop_steps(lines: list[Line], tolerance: float) -> list[Line]:
    """Join parallel lines that are less than ``tolerance`` apart, the closest first."""
    while len(lines) > 4:
        count = len(lines)
        steps = [abs(lines[i][0] - lines[(i + 2) % count][0]) for i in range(count)]
        least = min(range(count), key=steps.__getitem__)
        if steps[least] >= tolerance:
            break
        joined = _mean(lines[least], lines[(least + 2) % count])
        rest = [lines[(least + offset) % count] for offset in range(3, count)]
        lines = _merge([joined, *rest])
    return lines
