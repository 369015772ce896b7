"""Overlapping polygons on several sheets, so that each is rasterized with all of its pixels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import shapely
from numpy.typing import NDArray

MOST_SHEETS = 8
_SLIVER = 0.25


def assign_sheets(polygons: NDArray[np.object_]) -> tuple[NDArray[np.int32], int]:
    """Assign a sheet to each polygon, so that those of one sheet do not overlap.

    Polygons that only touch, or overlap by less than a quarter of a pixel, may be on one sheet.

    Args:
        polygons: (n,) polygons in pixels.

    Returns:
        The sheet of each polygon from 0, and how many polygons overlap another of their own sheet
        because more than `MOST_SHEETS` are on top of each other.
    """
    sheets = np.zeros(len(polygons), dtype=np.int32)
    neighbours = _overlaps(polygons)
    sheets[list(neighbours)] = -1
    crowded = 0
    # Large polygons first, as then most of the others stay on the first sheets.
    for index in sorted(neighbours, key=lambda one: -shapely.area(polygons[one])):
        taken = {int(sheets[other]) for other in neighbours[index] if sheets[other] >= 0}
        free = [sheet for sheet in range(MOST_SHEETS) if sheet not in taken]
        crowded += not free
        sheets[index] = free[0] if free else MOST_SHEETS - 1
    return sheets, crowded


def _overlaps(polygons: NDArray[np.object_]) -> dict[int, list[int]]:
    if not len(polygons):
        return {}
    shapely.prepare(polygons)
    tree = shapely.STRtree(polygons)
    first, second = tree.query(polygons, predicate="intersects")
    once = first < second
    first, second = first[once], second[once]
    apart = shapely.touches(polygons[first], polygons[second])
    first, second = first[~apart], second[~apart]
    shared = shapely.area(shapely.intersection(polygons[first], polygons[second]))
    found: dict[int, list[int]] = defaultdict(list)
    for one, other in zip(first[shared > _SLIVER], second[shared > _SLIVER], strict=True):
        found[int(one)].append(int(other))
        found[int(other)].append(int(one))
    return found
