"""One instruction on every tile of an extent at full detail, merged object by object.

The predictions of the tiles are kept on disk until all of them are there; see `merging`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.journal import NO_JOURNAL, Journal
from geoseg_qgis.engine.inference.windows import Tile, plan_tiles
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.progress import Progress, share_of
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.grids import sample_bilinear
from geoseg_qgis.engine.raster.scratch import ScratchArray, ScratchFolder

from .chip_predictor import ChipPredictor
from .merging import merge_tiles

OVERLAP_SHARE = 0.25
# Probabilities as 16-bit integers: 65535 stands for unknown.
_STEPS = 65534
_UNKNOWN = 65535


class ProbabilityFile:
    """Probabilities in steps of 1/65534 on disk, NaN where unknown; 0 before they are written.

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


class TiledPrediction:
    """A probability for every pixel of a grid, from a file on another grid of the same extent.

    Attributes:
        file: Probabilities on ``base``.
        base: Grid of the file.
        output: Grid of the result.
    """

    def __init__(self, file: ProbabilityFile, base: Grid, output: Grid) -> None:
        self.file = file
        self.base = base
        self.output = output

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the (h, w) probability of a window, and where a tile covers it."""
        bands = sample_bilinear(self._bands, self.base.shape, self.output.shape, window).numpy()
        return bands[0], bands[1] > 0.5

    def _bands(self, window: Window) -> torch.Tensor:
        probability = self.file.read(window)
        known = np.isfinite(probability)
        values = np.where(known, probability, np.float32(0.0))
        return torch.from_numpy(np.stack([values, known.astype(np.float32)]))


def predict_tiles(  # noqa: PLR0917
    predictor: ChipPredictor,
    grids: tuple[Grid, Grid],
    request: Request,
    threshold: float,
    folder: ScratchFolder,
    progress: Progress,
    journal: Journal = NO_JOURNAL,
) -> TiledPrediction:
    """Run an instruction on every tile of an extent.

    Args:
        predictor: Reads, encodes and predicts.
        grids: Base grid, which is cut into tiles, and the grid of the result.
        request: The instruction.
        threshold: Probability above which a pixel is foreground.
        folder: Where the predictions of the tiles lie.
        progress: Called with the finished fraction.
        journal: Keeps finished tiles.

    Raises:
        JobError: ``OUT_OF_MEMORY``, ``DISK_FULL``, ``CANCELLED``.
    """
    base, output = grids
    side = predictor.side
    tiles = plan_tiles(base.height, base.width, side, round(side * OVERLAP_SHARE))
    rows, columns = tiles[-1].row + 1, tiles[-1].column + 1
    single = ProbabilityFile(folder, "tiles", (rows * side, columns * side))
    predicted = share_of(progress, 0.0, 0.9)
    stage = journal.stage("tiles", side, len(tiles))
    for number, tile in enumerate(tiles):
        grid = base.window_grid(tile.window)
        found = predictor.probabilities(stage, grid, [request], np.nan)
        unknown = np.full(grid.shape, np.nan, np.float32)
        single.write(_slot(tile, side), unknown if found is None else found[0])
        predicted((number + 1) / len(tiles))
    merged = ProbabilityFile(folder, "merged", base.shape)
    merge_tiles(
        tiles,
        lambda index: single.read(_slot(tiles[index], side)),
        threshold,
        merged.write,
        share_of(progress, 0.9, 1.0),
    )
    return TiledPrediction(merged, base, output)


def _slot(tile: Tile, side: int) -> Window:
    """Return the place of a tile in the file of single tiles, where they do not overlap."""
    return Window(
        tile.column * side, tile.row * side, int(tile.window.width), int(tile.window.height)
    )
