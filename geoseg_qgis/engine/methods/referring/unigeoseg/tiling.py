"""One instruction asked of every part of an extent: tiles at full detail, merged object by object.

Answers of the tiles are kept on disk until all are there; see `merging` for how they become one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.grid_sampling import sample_bilinear
from geoseg_qgis.engine.inference.windows import Tile, plan_tiles
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.progress import Progress, share_of
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchArray, ScratchFolder

from .merging import merge_tiles
from .zoom_in import Looker

OVERLAP_SHARE = 0.25
_STEPS = 65534
_UNKNOWN = 65535


class ProbabilityFile:
    """Probabilities in steps of 1/65534 on disk, NaN where unknown; all of it at first 0.

    Args:
        folder: Where the file lies.
        name: Its name.
        shape: Rows and columns.
    """

    def __init__(self, folder: ScratchFolder, name: str, shape: tuple[int, int]) -> None:
        self._steps = ScratchArray(folder, name, 1, *shape, np.dtype(np.uint16))

    def write(self, window: Window, probability: NDArray[np.float32]) -> None:
        """Write (h, w) probabilities, NaN where unknown."""
        known = np.isfinite(probability)
        steps = np.rint(np.where(known, probability, 0.0) * _STEPS)
        self._steps.write(window, np.where(known, steps, _UNKNOWN).astype(np.uint16)[None])

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return (h, w) probabilities, NaN where unknown."""
        steps = self._steps.read(window)[0]
        known = steps != _UNKNOWN
        return np.where(known, steps / np.float32(_STEPS), np.nan).astype(np.float32)


class TiledSurface:
    """A probability of every pixel of a grid, from a file on another grid over the same ground.

    Attributes:
        file: Probabilities on ``base``.
        base: Grid of the file.
        output: Grid on which the surface is read.
    """

    def __init__(self, file: ProbabilityFile, base: Grid, output: Grid) -> None:
        self.file = file
        self.base = base
        self.output = output

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the (h, w) probability of a window, and where any tile was read."""
        bands = sample_bilinear(self._bands, self.base.shape, self.output.shape, window).numpy()
        return bands[0], bands[1] > 0.5

    def _bands(self, window: Window) -> torch.Tensor:
        probability = self.file.read(window)
        known = np.isfinite(probability)
        values = np.where(known, probability, np.float32(0.0))
        return torch.from_numpy(np.stack([values, known.astype(np.float32)]))


def ask_tiles(  # noqa: PLR0917
    looker: Looker,
    grids: tuple[Grid, Grid],
    request: Request,
    threshold: float,
    folder: ScratchFolder,
    progress: Progress,
) -> TiledSurface:
    """Ask every tile of an extent.

    Args:
        looker: Reads and asks.
        grids: Base grid, which is cut into tiles, and the grid of the answer's surface.
        request: The instruction.
        threshold: Probability above which a pixel belongs to the answer.
        folder: For the answers.
        progress: Told the finished fraction.

    Raises:
        JobError: ``OUT_OF_MEMORY``, ``DISK_FULL``, ``CANCELLED``.
    """
    base, output = grids
    side = looker.side
    tiles = plan_tiles(base.height, base.width, side, round(side * OVERLAP_SHARE))
    rows, columns = tiles[-1].row + 1, tiles[-1].column + 1
    answers = ProbabilityFile(folder, "tiles", (rows * side, columns * side))
    asked = share_of(progress, 0.0, 0.9)
    for number, tile in enumerate(tiles):
        answers.write(_slot(tile, side), _ask(looker, base.window_grid(tile.window), request))
        asked((number + 1) / len(tiles))
    merged = ProbabilityFile(folder, "merged", base.shape)
    merge_tiles(
        tiles,
        lambda index: answers.read(_slot(tiles[index], side)),
        threshold,
        merged.write,
        share_of(progress, 0.9, 1.0),
    )
    return TiledSurface(merged, base, output)


def _ask(looker: Looker, grid: Grid, request: Request) -> NDArray[np.float32]:
    look = looker.look(grid)
    if look is None:
        return np.full(grid.shape, np.nan, np.float32)
    answer = looker.ask(look, [request])[0]
    return np.where(look.valid, answer.probability, np.float32(np.nan))


def _slot(tile: Tile, side: int) -> Window:
    """Return where the answer of a tile lies in the file of all answers, which do not overlap."""
    return Window(
        tile.column * side, tile.row * side, int(tile.window.width), int(tile.window.height)
    )
