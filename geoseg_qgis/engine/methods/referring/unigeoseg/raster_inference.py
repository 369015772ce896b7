"""One instruction to a probability raster, for a raster of any size.

An extent that fits into one chip is predicted at once. A larger one is predicted on an overview
with zoom-ins (`overview`) or tile by tile (`tiling`). `choose_view` decides which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.progress import Progress, share_of
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.tasks.refer import View

from .best_area import keep_best
from .chip_predictor import ChipPredictor
from .instances import ZoomSettings
from .overview import OverviewPrediction, overview_grid, predict_overview
from .requests import TaskChoice, choose_task
from .segmenter import Segmenter
from .tiling import predict_tiles


class ProbabilityRaster(Protocol):
    """Probabilities on the output grid."""

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return (h, w) probabilities of a window, and False where nothing was predicted."""


@dataclass(frozen=True)
class Instruction:
    """What is asked of a raster.

    Attributes:
        text: The words.
        task: How they are read.
        view: How they are run on the extent, see `choose_view`.
        best_only: Keep only the best connected area, see `best_area`.
        threshold: Probability above which a pixel is foreground.
        coarsest: Greatest pixel size in metres that the network was made for, None for any.
    """

    text: str
    task: TaskChoice = "auto"
    view: View = View.AUTO
    best_only: bool = False
    threshold: float = 0.5
    coarsest: float | None = None


@dataclass(frozen=True)
class RasterPrediction:
    """The prediction for a raster.

    Attributes:
        raster: Probability on the output grid; None when no pixel holds data.
        view: ``WHOLE`` or ``TILES``.
        task: How the instruction was read.
        chips: Chips that the network has encoded.
        shrink: Side of a pixel of the first chip, in pixels of the base grid.
        one_chip: Whether the extent fits into one chip.
        left_out: Connected areas that were found but not kept.
        overview: What zoom-ins did, None for tiles.
    """

    raster: ProbabilityRaster | None
    view: View
    task: Task
    chips: int
    shrink: float = 1.0
    one_chip: bool = False
    left_out: int = 0
    overview: OverviewPrediction | None = None


def choose_view(base: Grid, side: int, instruction: Instruction) -> View:
    """Return whether to run an instruction on an overview (``WHOLE``) or on tiles.

    ``AUTO`` takes the overview for an extent that fits into one chip, for questions and for
    coordinates, which concern the extent as a whole. It takes tiles where the pixels of the
    overview would be coarser than the network was made for, and the overview otherwise.

    Args:
        base: The finest pixels that the network reads.
        side: Side of the network's square in pixels.
        instruction: What is asked.

    Raises:
        JobError: ``INVALID_JOB`` for coordinates, which are fractions of the extent, on tiles.
    """
    task = choose_task(instruction.text, instruction.task)
    if max(base.shape) <= side:
        return View.WHOLE
    if instruction.view is View.TILES and task is Task.INTERACTIVE:
        raise JobError(
            ErrorCode.INVALID_JOB,
            "Coordinates in an instruction are fractions of the whole extent, not of a tile.",
            "Set the view to auto or whole, or leave out the coordinates.",
        )
    if instruction.view is not View.AUTO:
        return instruction.view
    overview = overview_grid(base, side).ground_pixel_size()
    too_coarse = (
        instruction.coarsest is not None
        and overview is not None
        and max(overview) > instruction.coarsest
    )
    return View.TILES if task is Task.REFERRING and too_coarse else View.WHOLE


def predict_raster(
    scene: RasterScene, segmenter: Segmenter, instruction: Instruction, progress: Progress
) -> RasterPrediction:
    """Run an instruction on the output grid of a scene.

    Args:
        scene: The raster, its grids and scratch folder.
        segmenter: The network.
        instruction: What is asked.
        progress: Called with the finished fraction; may raise to stop.

    Raises:
        JobError: ``INVALID_JOB`` for an empty or too long instruction, ``OUT_OF_MEMORY``,
            ``DISK_FULL``, ``CANCELLED``.
    """
    predictor = ChipPredictor(scene.reader, segmenter)
    view = choose_view(scene.base, predictor.side, instruction)
    grids = (scene.base, scene.output)
    first = overview_grid(scene.base, predictor.side) if view is View.WHOLE else scene.base
    request = segmenter.request(*first.shape, instruction=instruction.text, task=instruction.task)
    threshold = instruction.threshold
    if view is View.TILES:
        share = 0.95 if instruction.best_only else 1.0
        tiled = predict_tiles(
            predictor,
            grids,
            request,
            threshold,
            scene.folder,
            share_of(progress, 0.0, share),
            scene.journal,
        )
        left_out = 0
        if instruction.best_only:
            last = share_of(progress, share, 1.0)
            left_out = keep_best(tiled.file, tiled.base.shape, threshold, last)
            progress(1.0)
        raster = tiled if predictor.chips else None
        return RasterPrediction(raster, view, request.task, predictor.chips, left_out=left_out)
    whole = predict_overview(
        predictor,
        grids,
        request,
        ZoomSettings(threshold=threshold),
        progress,
        best_only=instruction.best_only,
        journal=scene.journal,
    )
    return RasterPrediction(
        None if whole is None else whole.raster,
        view,
        request.task,
        predictor.chips,
        shrink=scene.base.width / first.width,
        one_chip=max(scene.base.shape) <= predictor.side,
        left_out=0 if whole is None else whole.left_out,
        overview=whole,
    )
