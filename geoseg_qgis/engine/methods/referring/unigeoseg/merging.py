"""Predictions of overlapping tiles merged into one, object by object.

Blending pixel by pixel cuts an object where one tile shows it and its neighbour does not. Here the
areas of one object are found first: connected areas of two tiles that cover each other by half in
the overlap are one object. Tiles then vote on each object as a whole, each with its blending
weight, so that a tile with the object at its edge counts little. An object with most of the votes
is kept, and tiles that do not show it are ignored there. An object without them is dropped, and
the tiles that show it are ignored there. The rest is blended, so there are no seams, and an object
that two tiles found is there once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from geoseg_qgis.engine.inference.stitching import Slices, label_pairs, shared_slices
from geoseg_qgis.engine.inference.windows import Tile, feather_weights
from geoseg_qgis.engine.progress import Progress, share_of

COVER = 0.5
"""Share of the smaller of two areas that they must have in common to be one object."""
# As many as a tile has neighbours within reach.
_CACHED_TILES = 24
# A last tile that is shifted back to the edge may reach the tile before its neighbour.
_REACH = 2

ReadTile = Callable[[int], NDArray[np.float32]]
"""Index of a tile to its (h, w) probabilities, NaN where unknown."""

WriteProbability = Callable[[Window, NDArray[np.float32]], None]
"""Takes a window of the whole and its (h, w) probabilities, NaN where unknown."""


def merge_tiles(
    tiles: Sequence[Tile],
    read: ReadTile,
    threshold: float,
    write: WriteProbability,
    progress: Progress,
) -> None:
    """Merge the predictions of all tiles of a plan.

    Args:
        tiles: All tiles of `inference.windows.plan_tiles`, in order; neighbours share less than
            half of a tile.
        read: Returns the prediction of a tile; called several times a tile.
        threshold: Probability above which a pixel belongs to an object.
        write: Takes the merged probabilities, each pixel once.
        progress: Called with the finished fraction.
    """
    merger = _Merger(tiles, read, threshold)
    merger.find_objects(share_of(progress, 0.0, 0.5))
    merger.write(write, share_of(progress, 0.5, 1.0))


@dataclass(frozen=True)
class _TilePrediction:
    """The prediction of one tile: all (h, w); weights are 0 where it is unknown."""

    probability: NDArray[np.float32]
    labels: NDArray[np.int32]
    weights: NDArray[np.float32]


class _Merger:
    def __init__(self, tiles: Sequence[Tile], read: ReadTile, threshold: float) -> None:
        self._tiles = tiles
        self._read = read
        self._threshold = threshold
        self._columns = tiles[-1].column + 1
        self._cache: OrderedDict[int, _TilePrediction] = OrderedDict()
        self._offsets = np.zeros(len(tiles) + 1, np.int64)
        self._objects = np.zeros(0, np.int32)
        self._kept = np.zeros(0, np.bool_)

    def find_objects(self, progress: Progress) -> None:
        """Join the areas of tiles to objects and count the votes of the tiles."""
        votes: list[NDArray[np.float64]] = []
        weights: list[NDArray[np.float64]] = []
        links: list[tuple[int, int, NDArray[np.int64]]] = []
        for index in range(len(self._tiles)):
            own = self._prediction(index)
            count = int(own.labels.max(initial=0))
            in_favour = own.weights * (own.labels > 0)
            total = own.weights.copy()
            for other_index, here, there in self._neighbours(index):
                other = self._prediction(other_index)
                in_favour[here] += other.weights[there] * (other.labels[there] > 0)
                total[here] += other.weights[there]
                if other_index > index:
                    pairs = label_pairs(own.labels[here], other.labels[there])
                    covering = pairs.cover >= COVER
                    joined = np.stack([pairs.first[covering], pairs.second[covering]], axis=1)
                    links.append((index, other_index, joined))
            share = own.weights * in_favour / np.maximum(total, np.float32(1e-6))
            labels = own.labels
            votes.append(_sums(labels, share, count))
            weights.append(_sums(labels, own.weights, count))
            self._offsets[index + 1] = self._offsets[index] + count
            progress((index + 1) / len(self._tiles))
        self._objects = self._join(links)
        objects = int(self._objects.max(initial=-1)) + 1
        favour = np.bincount(self._objects, np.concatenate(votes), objects)
        weight = np.bincount(self._objects, np.concatenate(weights), objects)
        self._kept = favour >= 0.5 * weight

    def write(self, write: WriteProbability, progress: Progress) -> None:
        """Write the blended tiles, each pixel once."""
        for index, tile in enumerate(self._tiles):
            cell = self._cell(tile)
            write(cell, self._blend(index, cell))
            progress((index + 1) / len(self._tiles))

    def _blend(self, index: int, cell: Window) -> NDArray[np.float32]:
        shape = (int(cell.height), int(cell.width))
        involved = [index, *(other for other, _, _ in self._neighbours(index))]
        known = np.zeros(shape, np.bool_)
        votes: list[_Vote] = []
        for number in involved:
            shared = shared_slices(cell, self._tiles[number].window)
            if shared is None:
                continue
            here, there = shared
            tile = self._prediction(number)
            known[here] |= tile.weights[there] > 0
            votes.append(self._vote(number, here, tile, there))
        total = np.zeros(shape, np.float32)
        weight = np.zeros(shape, np.float32)
        for vote in votes:
            own = vote.weights.copy()
            for other in votes:
                if other is not vote:
                    self._ignore_unseen(own, vote, other, shape)
            total[vote.place] += own * vote.probability
            weight[vote.place] += own
        blended = np.where(weight > 0, total / np.maximum(weight, np.float32(1e-12)), 0.0)
        return np.where(known, blended, np.nan).astype(np.float32)

    def _vote(self, number: int, here: Slices, tile: _TilePrediction, there: Slices) -> _Vote:
        start, end = self._offsets[number], self._offsets[number + 1]
        objects = np.concatenate([np.full(1, -1, np.int32), self._objects[start:end]])
        numbers = objects[tile.labels[there]]
        kept = np.concatenate([self._kept, np.ones(1, np.bool_)])[numbers]
        return _Vote(
            here,
            np.nan_to_num(tile.probability[there]),
            np.where(kept, tile.weights[there], np.float32(0.0)),
            np.where(kept, numbers, -1),
            np.unique(self._objects[start:end]),
        )

    @staticmethod
    def _ignore_unseen(
        weights: NDArray[np.float32], vote: _Vote, other: _Vote, shape: tuple[int, int]
    ) -> None:
        """Set weights to 0 where another tile shows an object that this one does not show."""
        objects = np.full(shape, -1, np.int32)
        objects[other.place] = other.objects
        there = objects[vote.place]
        weights[(there >= 0) & ~np.isin(there, vote.members)] = 0.0

    def _join(self, links: list[tuple[int, int, NDArray[np.int64]]]) -> NDArray[np.int32]:
        count = int(self._offsets[-1])
        first = [self._offsets[index] + pairs[:, 0] - 1 for index, _, pairs in links]
        second = [self._offsets[index] + pairs[:, 1] - 1 for _, index, pairs in links]
        empty = np.zeros(0, np.int64)
        rows = np.concatenate([empty, *first])
        graph = coo_matrix(
            (np.ones(len(rows), np.int8), (rows, np.concatenate([empty, *second]))),
            shape=(count, count),
        )
        if not count:
            return np.zeros(0, np.int32)
        objects: NDArray[np.int32] = connected_components(graph, directed=False)[1]
        return objects

    def _prediction(self, index: int) -> _TilePrediction:
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        probability = self._read(index)
        known = np.isfinite(probability)
        found = known & (np.nan_to_num(probability) > self._threshold)
        labels = ndimage.label(found)[0].astype(np.int32)
        weights = np.where(known, feather_weights(self._tiles[index], self._tiles), np.float32(0.0))
        self._cache[index] = _TilePrediction(probability, labels, weights)
        if len(self._cache) > _CACHED_TILES:
            self._cache.popitem(last=False)
        return self._cache[index]

    def _neighbours(self, index: int) -> Iterator[tuple[int, Slices, Slices]]:
        """Yield the tiles that overlap one, and the slices of the overlap in both."""
        tile = self._tiles[index]
        for row in range(tile.row - _REACH, tile.row + _REACH + 1):
            for column in range(tile.column - _REACH, tile.column + _REACH + 1):
                other = row * self._columns + column
                outside = row < 0 or not 0 <= column < self._columns
                if outside or other >= len(self._tiles) or other == index:
                    continue
                shared = shared_slices(tile.window, self._tiles[other].window)
                if shared is not None:
                    yield other, *shared

    def _cell(self, tile: Tile) -> Window:
        """Return the window that a tile writes: up to the middle of each overlap."""
        index = tile.row * self._columns + tile.column
        top, bottom = int(tile.window.row_off), int(tile.window.row_off + tile.window.height)
        left, right = int(tile.window.col_off), int(tile.window.col_off + tile.window.width)
        if tile.row > 0:
            before = self._tiles[index - self._columns].window
            top = (top + int(before.row_off + before.height)) // 2
        if index + self._columns < len(self._tiles):
            bottom = (bottom + int(self._tiles[index + self._columns].window.row_off)) // 2
        if tile.column > 0:
            before = self._tiles[index - 1].window
            left = (left + int(before.col_off + before.width)) // 2
        if tile.column + 1 < self._columns:
            right = (right + int(self._tiles[index + 1].window.col_off)) // 2
        return Window(left, top, right - left, bottom - top)


@dataclass(frozen=True)
class _Vote:
    """What a tile predicts for a cell: all (h, w) of ``place`` except the members.

    Attributes:
        place: Rows and columns of the cell.
        probability: Probabilities, 0 where unknown.
        weights: Blending weights, 0 where unknown and on objects that were dropped.
        objects: Number of the object of each pixel, -1 for none.
        members: Numbers of all objects that the tile shows, anywhere.
    """

    place: Slices
    probability: NDArray[np.float32]
    weights: NDArray[np.float32]
    objects: NDArray[np.int32]
    members: NDArray[np.int32]


def _sums(labels: NDArray[np.int32], values: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Return the sums of values (h, w) over each of the labels 1 to ``count``."""
    return np.bincount(labels.ravel(), values.ravel(), count + 1)[1:].astype(np.float64)
