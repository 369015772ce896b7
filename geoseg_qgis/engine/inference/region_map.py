"""Region ids over a whole raster: from SAM 2, tile by tile, or from the user's own layer.

Tiles overlap. A region that continues in the next tile keeps its id when the two agree in the
overlap and both are smaller than a quarter of a tile. Without that limit "ground" would become one
region over the whole raster, and one vote would label all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.grids import nearest_window
from geoseg_qgis.engine.raster.scratch import ScratchArray, ScratchFolder

from .journal import NO_JOURNAL, Arrays, Journal
from .stitching import label_pairs
from .windows import plan_tiles

# Two regions with this IoU in the overlap can have no better partner: the match is unique.
AGREEMENT = 0.5
LARGEST_SHARE = 0.25

RegionProposer = Callable[[Window], NDArray[np.int32]]
"""A window in pixels of the proposer's coarser grid to ids from 1 (0 no region) on the fine grid.
"""

TileProposer = Callable[[Window], Arrays]
"""Like `RegionProposer`, but returns a list of the ids and of further arrays about them."""


@dataclass(frozen=True)
class RegionPlan:
    """How a region map is filled.

    Attributes:
        size: Side of a tile in pixels of the proposer's grid.
        overlap: Pixels of that grid shared by neighbouring tiles.
        subdivision: Pixels of the region map along one pixel of that grid.
    """

    size: int
    overlap: int
    subdivision: int = 1


class RegionMap:
    """Integer region ids on a grid, kept on disk; 0 is no region.

    Args:
        folder: Where its file lies.
        grid: Where the ids lie.
        journal: Keeps finished tiles.
        name: Name of the file.

    Attributes:
        grid: As given.
        journal: As given.
        count: Ids run from 1 to this.
    """

    def __init__(
        self,
        folder: ScratchFolder,
        grid: Grid,
        journal: Journal = NO_JOURNAL,
        name: str = "regions",
    ) -> None:
        self.grid = grid
        self.journal = journal
        self.count = 0
        self._ids = ScratchArray(folder, name, 1, grid.height, grid.width, np.dtype(np.int32))

    def write(self, window: Window, ids: NDArray[np.int32]) -> None:
        """Write (h, w) ids."""
        self._ids.write(window, ids[None])
        self.count = max(self.count, int(ids.max(initial=0)))

    def read(self, window: Window) -> NDArray[np.int32]:
        """Return (h, w) ids of a window inside the grid."""
        ids: NDArray[np.int32] = self._ids.read(window)[0]
        return ids

    def sample(self, shape: tuple[int, int], window: Window) -> NDArray[np.int32]:
        """Return the ids at the pixel centres of a window of another grid of that shape."""
        if shape == self.grid.shape:
            return self.read(window)
        source, rows, columns = nearest_window(shape, self.grid.shape, window)
        return self.read(source)[np.ix_(rows, columns)]

    def sample_padded(self, shape: tuple[int, int], window: Window) -> NDArray[np.int32]:
        """Like `sample`, for a window that may reach over the right and bottom edges (id 0)."""
        height, width = int(window.height), int(window.width)
        inside = Window(
            window.col_off,
            window.row_off,
            min(width, shape[1] - int(window.col_off)),
            min(height, shape[0] - int(window.row_off)),
        )
        ids = self.sample(shape, inside)
        return np.pad(ids, ((0, height - ids.shape[0]), (0, width - ids.shape[1])))


def propose_regions(
    regions: RegionMap, propose: RegionProposer, plan: RegionPlan, progress: Progress
) -> None:
    """Fill a region map tile by tile.

    Args:
        regions: The map to fill.
        propose: Called once a tile.
        plan: How the proposer's grid is cut.
        progress: Takes the finished fraction.
    """
    for _ in stitch_tiles(regions, lambda window: [propose(window)], plan, "regions", progress):
        pass


def stitch_tiles(
    regions: RegionMap, propose: TileProposer, plan: RegionPlan, stage: str, progress: Progress
) -> Iterator[tuple[NDArray[np.int32], Arrays]]:
    """Fill a region map tile by tile, and yield what became of the regions of each tile.

    Args:
        regions: The map to fill.
        propose: Called once a tile; returns its ids, then whatever else is known about them.
        plan: How the proposer's grid is cut.
        stage: Name under which finished tiles are kept.
        progress: Takes the finished fraction.

    Yields:
        The id on the map of each id of the tile, with 0 for 0, and the further arrays.
    """
    grid = regions.grid
    height = -(-grid.height // plan.subdivision)
    width = -(-grid.width // plan.subdivision)
    tiles = plan_tiles(height, width, plan.size, plan.overlap)
    finished = regions.journal.stage(stage, (plan, grid.transform, grid.shape), len(tiles))
    stitcher = _Stitcher(regions, LARGEST_SHARE * (plan.size * plan.subdivision) ** 2)
    above, row_end, left = 0, 0, 0
    for number, tile in enumerate(tiles):
        window = fine_window(tile.window, plan.subdivision, grid)
        if tile.column == 0:
            above, row_end, left = row_end, _end(window.row_off, window.height), 0
        ids, *facts = finished.recall(
            f"{tile.row}-{tile.column}", partial(_proposed, propose, tile.window, window)
        )
        names = stitcher.place(window, ids.astype(np.int32), above, left)
        left = _end(window.col_off, window.width)
        progress((number + 1) / len(tiles))
        yield names, facts


def _proposed(propose: TileProposer, window: Window, fine: Window) -> Arrays:
    """Return the ids of a tile in as few bytes as they need, and what is known about them."""
    ids, *facts = propose(window)
    ids = ids[: int(fine.height), : int(fine.width)]
    return [ids.astype(np.min_scalar_type(int(ids.max(initial=0)))), *facts]


def fine_window(window: Window, subdivision: int, grid: Grid) -> Window:
    """Return the pixels of the fine grid under a window of the coarse one."""
    left, top = int(window.col_off) * subdivision, int(window.row_off) * subdivision
    return Window(
        left,
        top,
        min(int(window.width) * subdivision, grid.width - left),
        min(int(window.height) * subdivision, grid.height - top),
    )


def _end(offset: float, length: float) -> int:
    return int(offset) + int(length)


class _Stitcher:
    """Writes tiles so that the cut lies in the middle of each overlap."""

    def __init__(self, regions: RegionMap, largest_area: float) -> None:
        self._regions = regions
        self._largest_area = largest_area
        self._areas: list[int] = [0]

    def place(
        self, window: Window, ids: NDArray[np.int32], above: int, left: int
    ) -> NDArray[np.int32]:
        """Write one tile, and return the id on the map of each of its ids.

        Args:
            window: Where on the region grid.
            ids: (h, w) ids of the tile, from 1.
            above: Row of the grid up to which earlier tile rows have written.
            left: Column of the grid up to which this row has written.
        """
        rows = max(above - int(window.row_off), 0)
        columns = max(left - int(window.col_off), 0)
        old = self._regions.read(window)
        seen = np.zeros(ids.shape, dtype=bool)
        seen[:rows] = True
        seen[:, :columns] = True
        names = self._rename(ids, old, seen)
        keeps_old = np.zeros(ids.shape, dtype=bool)
        keeps_old[: rows // 2] = True
        keeps_old[:, : columns // 2] = True
        self._regions.write(window, np.where(keeps_old, old, names[ids]))
        return names

    def _rename(
        self, ids: NDArray[np.int32], old: NDArray[np.int32], seen: NDArray[np.bool_]
    ) -> NDArray[np.int32]:
        areas = np.bincount(ids.ravel())
        names = np.zeros(len(areas), dtype=np.int32)
        pairs = label_pairs(ids[seen], old[seen])
        same = pairs.iou > AGREEMENT
        for new, known in zip(pairs.first[same].tolist(), pairs.second[same].tolist(), strict=True):
            small = max(areas[new], self._areas[known]) <= self._largest_area
            if small:
                names[new] = known
                self._areas[known] = max(self._areas[known], int(areas[new]))
        for new in np.flatnonzero(areas).tolist():
            if new and not names[new]:
                names[new] = len(self._areas)
                self._areas.append(int(areas[new]))
        return names
