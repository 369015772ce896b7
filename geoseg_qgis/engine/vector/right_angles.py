"""Outlines with right angles, for buildings.

Each edge is taken for one of two perpendicular directions, neighbouring edges of the same
direction become one line at their weighted mean, short steps are dropped, and consecutive lines
are crossed. The squared outline counts only if it covers nearly the same ground.
"""

from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray

# IoU with the outline before.
LEAST_OVERLAP = 0.8
Line = tuple[float, bool, float]


def square_polygon(polygon: shapely.Polygon, tolerance: float) -> shapely.Polygon:
    """Return the polygon with right angles, or itself where that would change it too much.

    Args:
        polygon: Polygon in a plane whose axes are perpendicular and equally scaled.
        tolerance: Steps shorter than this are dropped.
    """
    candidates = []
    for angle in _directions(polygon, tolerance):
        shell = _square_ring(np.asarray(polygon.exterior.coords), angle, tolerance)
        if shell is None:
            continue
        holes = [
            hole
            for ring in polygon.interiors
            if (hole := _square_ring(np.asarray(ring.coords), angle, tolerance)) is not None
        ]
        squared = shapely.difference(shell, shapely.union_all(holes)) if holes else shell
        if isinstance(squared, shapely.Polygon) and squared.is_valid and not squared.is_empty:
            candidates.append((_overlap(polygon, squared), squared))
    if not candidates:
        return polygon
    overlap, best = max(candidates, key=lambda candidate: candidate[0])
    return best if overlap >= LEAST_OVERLAP else polygon


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
