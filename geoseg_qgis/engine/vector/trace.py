"""Outlines of labelled pixels, as rings made of arcs that neighbours share.

The outlines are the unit edges between pixels of different label. A vertex is a corner where they
bend or meet, and a node one where three or four of them meet. The piece between two nodes is an
arc, which exactly two labels share. Everything is kept in flat arrays and followed for all rings at
once: directions are 0 east, 1 south, 2 west, 3 north, a half-edge is ``vertex * 4 + direction``,
and its label is on its right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

_STEPS = 4


@dataclass(frozen=True)
class Vertices:
    """Corners of pixels where outlines bend or meet, in row-major order.

    Attributes:
        columns: Column of the corner.
        rows: Row of the corner.
        labels: Label on the right of the half-edge in each direction, of shape (n, 4).
        edges: Whether there is a half-edge in each direction, of shape (n, 4).
    """

    columns: NDArray[np.int32]
    rows: NDArray[np.int32]
    labels: NDArray[np.int32]
    edges: NDArray[np.bool_]


@dataclass(frozen=True)
class Topology:
    """Rings and the arcs they consist of.

    Attributes:
        points: Corners (column, row) of the stored arcs, one behind the other: (n, 2).
        arc_offsets: Where each stored arc begins in ``points``, and the end.
        ring_arcs: Stored arcs of the rings, ring by ring.
        reversed_arcs: Whether the ring runs against the stored direction.
        ring_offsets: Where each ring begins in ``ring_arcs``, and the end.
        ring_labels: Label inside each ring.
        is_hole: Whether the ring bounds its label from inside.
    """

    points: NDArray[np.int32]
    arc_offsets: NDArray[np.int64]
    ring_arcs: NDArray[np.int64]
    reversed_arcs: NDArray[np.bool_]
    ring_offsets: NDArray[np.int64]
    ring_labels: NDArray[np.int32]
    is_hole: NDArray[np.bool_]


def find_vertices(bands: Iterable[NDArray[np.int32]], width: int) -> Vertices:
    """Return the vertices of the outlines of labels.

    Args:
        bands: Labels (h, width) from top to bottom, 0 for none.
        width: Columns.
    """
    parts = []
    above = np.zeros((1, width), dtype=np.int32)
    top = 0
    for labels in bands:
        parts.append(_corners(np.concatenate([above, labels]), top))
        above = labels[-1:]
        top += len(labels)
    parts.append(_corners(np.concatenate([above, np.zeros_like(above)]), top))
    rows, columns, quadrants, edges = (np.concatenate(part) for part in zip(*parts))
    return Vertices(columns, rows, quadrants, edges)


def _corners(
    labels: NDArray[np.int32], top: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """Return the vertices on the lines between consecutive rows of ``labels``."""
    padded = np.pad(labels, ((0, 0), (1, 1)))
    north_west, north_east = padded[:-1, :-1], padded[:-1, 1:]
    south_west, south_east = padded[1:, :-1], padded[1:, 1:]
    east = north_east != south_east
    west = north_west != south_west
    south = south_west != south_east
    north = north_west != north_east
    straight = (east == west) & (north == south) & (east != north)
    rows, columns = np.nonzero((east | west | south | north) & ~straight)
    quadrants = [south_east, south_west, north_west, north_east]
    return (
        (rows + top).astype(np.int32),
        columns.astype(np.int32),
        np.stack([quadrant[rows, columns] for quadrant in quadrants], axis=1),
        np.stack([edge[rows, columns] for edge in (east, south, west, north)], axis=1),
    )


def build_topology(vertices: Vertices) -> Topology:
    """Follow the outlines around every label and cut them into shared arcs."""
    successors = _successors(vertices)
    half_edges = np.flatnonzero((vertices.edges & (vertices.labels > 0)).ravel())
    place = np.full(vertices.edges.size, -1, dtype=np.int64)
    place[half_edges] = np.arange(len(half_edges))
    following = place[successors[half_edges]]
    corner = half_edges // _STEPS
    is_node = (vertices.edges.sum(axis=1) > 2) | _outermost_corners(vertices)
    rings, order = _order_rings(following, is_node[corner])
    ordered = half_edges[order]
    lengths = np.bincount(rings)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    nodes = is_node[ordered // _STEPS]
    if len(ordered):
        # An arc that ends where it begins is cut once more, at its far end.
        closed = np.add.reduceat(nodes.astype(np.int64), offsets[:-1]) < 2
        nodes |= _anchors(vertices, ordered // _STEPS, offsets) & np.repeat(closed, lengths)
    return _cut(vertices, ordered, offsets, nodes)


def _outermost_corners(vertices: Vertices) -> NDArray[np.bool_]:
    """Mark the corners of the labelled rectangle, so that no simplification cuts them off."""
    outermost = np.ones(len(vertices.rows), dtype=np.bool_)
    for line in (vertices.rows, vertices.columns):
        if len(line):
            outermost &= (line == line.min()) | (line == line.max())
    return outermost


def _successors(vertices: Vertices) -> NDArray[np.int64]:
    """Return the half-edge that follows each half-edge around the label on its right."""
    count = len(vertices.rows)
    by_column = np.lexsort((vertices.rows, vertices.columns))
    place = np.empty(count, dtype=np.int64)
    place[by_column] = np.arange(count)
    own = np.arange(count)
    below = by_column[np.minimum(place + 1, count - 1)] if count else own
    above = by_column[np.maximum(place - 1, 0)] if count else own
    successors = np.zeros((count, _STEPS), dtype=np.int64)
    for direction, neighbour in enumerate((own + 1, below, own - 1, above)):
        starts = np.flatnonzero(vertices.edges[:, direction])
        reached = neighbour[starts]
        right, left = (direction + 1) % _STEPS, (direction + 3) % _STEPS
        edges, labels = vertices.edges[reached], vertices.labels[reached]
        # Where a label touches itself at a corner, crossing over keeps rings free of touching
        # themselves, which makes an outer ring and a hole of them.
        crossing = edges.all(axis=1) & (labels[:, right] == labels[:, left])
        turn = np.where(edges[:, right], right, np.where(edges[:, direction], direction, left))
        successors[starts, direction] = reached * _STEPS + np.where(crossing, left, turn)
    return successors.ravel()


def _order_rings(
    following: NDArray[np.int64], is_node: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the ring of each half-edge, and the half-edges in the order of the rings.

    A ring starts at a node if it has any, else at its topmost, leftmost vertex.
    """
    count = len(following)
    graph = csr_matrix(
        (np.ones(count, np.int8), following, np.arange(count + 1)), shape=(count, count)
    )
    rings: NDArray[np.int32] = connected_components(graph, directed=True, connection="weak")[1]
    lengths = np.bincount(rings)
    first = np.empty(len(lengths), dtype=np.int64)
    backwards = np.arange(count)[::-1]
    first[rings[backwards]] = backwards
    nodes = backwards[is_node[backwards]]
    first[rings[nodes]] = nodes
    distance = np.ones(count, dtype=np.int64)
    distance[first] = 0
    ahead = following.copy()
    ahead[first] = first
    goal = first[rings]
    active = np.flatnonzero(ahead != goal)
    while active.size:
        reached = ahead[active]
        distance[active] += distance[reached]
        ahead[active] = ahead[reached]
        active = active[ahead[active] != goal[active]]
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    position = (lengths[rings] - distance) % lengths[rings]
    order = np.empty(count, dtype=np.int64)
    order[offsets[rings] + position] = np.arange(count)
    return rings, order


def _anchors(
    vertices: Vertices, corner: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark the start of each ring and the vertex farthest from it, the same from both sides."""
    starts, lengths = offsets[:-1], np.diff(offsets)
    ring = np.repeat(np.arange(len(lengths)), lengths)
    columns = vertices.columns[corner].astype(np.int64)
    rows = vertices.rows[corner].astype(np.int64)
    away = (columns - columns[starts][ring]) ** 2 + (rows - rows[starts][ring]) ** 2
    farthest = away == np.maximum.reduceat(away, starts)[ring]
    rank = np.where(farthest, corner, len(vertices.rows))
    anchors: NDArray[np.bool_] = rank == np.minimum.reduceat(rank, starts)[ring]
    anchors[starts] = True
    return anchors


def _cut(
    vertices: Vertices,
    ordered: NDArray[np.int64],
    offsets: NDArray[np.int64],
    nodes: NDArray[np.bool_],
) -> Topology:
    begins = np.flatnonzero(nodes)
    ends = np.append(begins[1:], len(ordered))
    corner = ordered // _STEPS
    after = np.arange(1, len(ordered) + 1)
    if len(ordered):
        after[offsets[1:] - 1] = offsets[:-1]
    last = ordered[ends - 1]
    final_corner = corner[after[ends - 1]]
    backward = final_corner * _STEPS + (last + 2) % _STEPS
    forward = ordered[begins]
    _, stored, arcs = np.unique(
        np.minimum(forward, backward), return_index=True, return_inverse=True
    )
    runs_forward = forward < backward
    lengths = ends - begins + 1
    gather, arc_offsets = ranges(begins[stored], lengths[stored])
    closing = arc_offsets[1:] - 1
    # The last point of an arc is the first of the next one, which may start its ring again.
    gather[closing] = after[ends[stored] - 1]
    corners = corner[gather]
    ring_starts = np.searchsorted(begins, offsets)
    return Topology(
        points=np.stack([vertices.columns[corners], vertices.rows[corners]], axis=1),
        arc_offsets=arc_offsets,
        ring_arcs=arcs.ravel(),
        reversed_arcs=runs_forward != runs_forward[stored][arcs.ravel()],
        ring_offsets=ring_starts,
        ring_labels=vertices.labels.ravel()[ordered[offsets[:-1]]],
        is_hole=_signed_areas(vertices, corner, offsets) < 0,
    )


def _signed_areas(
    vertices: Vertices, corner: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return twice the area of each ring, positive where the label lies inside."""
    if not len(corner):
        return np.zeros(0)
    after = np.arange(1, len(corner) + 1)
    after[offsets[1:] - 1] = offsets[:-1]
    columns = vertices.columns[corner].astype(np.float64)
    rows = vertices.rows[corner].astype(np.float64)
    return np.add.reduceat(columns * rows[after] - columns[after] * rows, offsets[:-1])


def ranges(
    starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``starts[i] + 0 .. lengths[i] - 1`` one behind the other, and their offsets."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return np.repeat(starts, lengths) + within, offsets
