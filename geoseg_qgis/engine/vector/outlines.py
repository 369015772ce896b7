"""Polygons from shared arcs. Each arc is simplified once, so neighbours keep their common edges."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from .trace import Topology, ranges

_RELAXATION = (1.0, 0.5, 0.25, 0.0)
_EXACT = len(_RELAXATION) - 1


def polygons_from(
    topology: Topology, tolerance: float
) -> tuple[NDArray[np.object_], NDArray[np.int32]]:
    """Return one valid polygon a label.

    Arcs are simplified after Douglas and Peucker. Where that would make a polygon touch or cross
    itself, its arcs are simplified less, down to not at all.

    Args:
        topology: Rings and arcs in pixel corners.
        tolerance: Largest deviation in pixels; 0 keeps the outlines of the pixels.

    Returns:
        Polygons in pixel coordinates (column, row) and their labels, in the order of the labels.
    """
    labels, ring_owners = np.unique(topology.ring_labels, return_inverse=True)
    polygons = np.empty(len(labels), dtype=object)
    arcs = _Arcs(topology, tolerance)
    arc_owners = np.repeat(ring_owners, np.diff(topology.ring_offsets))
    pending = np.ones(len(labels), dtype=np.bool_)
    while pending.any():
        polygons[pending] = _assemble(topology, arcs, np.flatnonzero(pending[ring_owners]))
        invalid = np.flatnonzero(pending)[~shapely.is_valid(polygons[pending])]
        pending[:] = False
        changed = [
            arcs.mend(topology.ring_arcs[arc_owners == owner], polygons[owner]) for owner in invalid
        ]
        if changed:
            again = np.isin(topology.ring_arcs, np.concatenate(changed))
            pending[arc_owners[again]] = True
    return polygons, labels


class _Arcs:
    """The arcs, each at its own grade of simplification, meeting at their ends only."""

    def __init__(self, topology: Topology, tolerance: float) -> None:
        self._tolerance = tolerance
        self._exact = shapely.from_ragged_array(
            shapely.GeometryType.LINESTRING,
            topology.points.astype(np.float64),
            (topology.arc_offsets,),
        )
        self._grade = np.full(len(self._exact), _EXACT)
        self._current = self._exact.copy()
        if tolerance > 0.0:
            # An arc without bends has nothing to lose.
            bent = np.flatnonzero(shapely.get_num_coordinates(self._exact) > 2)
            self._grade[bent] = -1
            self._untangle(self._relax(bent))

    def mend(self, arcs: NDArray[np.int64], polygon: shapely.Polygon) -> NDArray[np.int64]:
        """Simplify the arcs of an invalid polygon less.

        As arcs meet at their ends only, what makes a polygon invalid is a hole that lies outside of
        its shell. The arcs near the first such hole change, or all where there is none.

        Returns:
            The arcs that changed; none if all of the polygon are exact already.
        """
        shell, *holes = shapely.get_rings(polygon).tolist()
        starts = shapely.get_point(np.array(holes, dtype=object), 0)
        outside = starts[~shapely.covers(shapely.Polygon(shell), starts)]
        near = arcs
        if outside.size:
            near = arcs[shapely.dwithin(self._exact[arcs], outside[0], 2.0 * self._tolerance)]
        changed = self._relax(np.unique(near))
        return self._untangle(changed if changed.size else self._relax(np.unique(arcs)))

    def _untangle(self, arcs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Simplify arcs less until none crosses itself or meets another but at common ends.

        Args:
            arcs: Those that have changed since the last time.

        Returns:
            These and the arcs that changed here.
        """
        changed = [arcs]
        while arcs.size:
            tree = shapely.STRtree(self._current)
            own, other = tree.query(self._current[arcs], predicate="intersects")
            apart = arcs[own] != other
            first, second = arcs[own[apart]], other[apart]
            clean = shapely.relate_pattern(self._current[first], self._current[second], "FF*F*****")
            tangled = np.concatenate(
                [first[~clean], second[~clean], arcs[~shapely.is_simple(self._current[arcs])]]
            )
            arcs = self._relax(np.unique(tangled))
            changed.append(arcs)
        return np.concatenate(changed)

    def _relax(self, arcs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Simplify arcs less by one grade, and return those that were not exact before."""
        arcs = arcs[self._grade[arcs] < _EXACT]
        self._grade[arcs] += 1
        for grade, share in enumerate(_RELAXATION):
            members = arcs[self._grade[arcs] == grade]
            lines = self._exact[members]
            if share > 0.0:
                lines = shapely.simplify(lines, self._tolerance * share, preserve_topology=False)
            self._current[members] = lines
        return arcs

    def points(self, arcs: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the points of some arcs one behind the other, and where each begins."""
        _, points, (offsets,) = shapely.to_ragged_array(self._current[arcs])
        return points, np.asarray(offsets, dtype=np.int64)


def _assemble(topology: Topology, arcs: _Arcs, rings: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return the polygons of whole sets of rings.

    Args:
        topology: Rings and arcs.
        arcs: The arcs.
        rings: Rings to use, all those of each label or none.
    """
    order = rings[np.lexsort((topology.is_hole[rings], topology.ring_labels[rings]))]
    arc_counts = topology.ring_offsets[order + 1] - topology.ring_offsets[order]
    places, ring_arcs = ranges(topology.ring_offsets[order], arc_counts)
    points, offsets = arcs.points(topology.ring_arcs[places])
    # The last point of an arc is the first of the next; the last of a ring closes it.
    sizes = np.diff(offsets) - 1
    sizes[ring_arcs[1:] - 1] += 1
    gather, _ = ranges(offsets[:-1], sizes)
    against = np.repeat(topology.reversed_arcs[places], sizes)
    mirrored = np.repeat(offsets[:-1] + offsets[1:] - 1, sizes) - gather
    coordinates = points[np.where(against, mirrored, gather)]
    _, counts = np.unique(topology.ring_labels[order], return_counts=True)
    ring_offsets = np.concatenate([[0], np.cumsum(np.add.reduceat(sizes, ring_arcs[:-1]))])
    polygon_offsets = np.concatenate([[0], np.cumsum(counts)])
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, coordinates, (ring_offsets, polygon_offsets)
    )
    return np.asarray(polygons, dtype=object)
