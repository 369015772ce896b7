"""One instruction to a probability surface over a raster of any size.

An extent that fits into one look is asked as it is. A larger one is asked as a whole and then
looked at closer (`whole_view`), or tile by tile (`tiling`); `view_choice` tells which, from the
words. Positions and comparisons always speak of the job's extent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.progress import Progress, share_of

from .coarse_to_fine import OverviewPrediction, ask_whole, overview_grid
from .comparing import Compared, Comparison, comparison_of, keep_compared
from .instances import ZoomSettings
from .one_thing import means_one_thing
from .prompts import TaskChoice
from .segmenter import Segmenter
from .tiling import ask_tiles
from .view_choice import View, ViewChoice, choose_view
from .zoom_in import Looker

ONE_LOOK = "the extent fits into one look"
COMPARED = "what it compares would be too small in one view of the whole extent"


class ProbabilitySurface(Protocol):
    """Probabilities on the output grid."""

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return (h, w) probabilities of a window and False where nothing was read."""


@dataclass(frozen=True)
class Question:
    """What is asked of a raster.

    Attributes:
        instruction: The words.
        task: How they are meant.
        threshold: Probability above which a pixel belongs to the answer.
        coarsest: Greatest metres a pixel that the network was made for, None when any.
        knows: Whether the network knows a word, None when it knows any.
    """

    instruction: str
    task: TaskChoice = "auto"
    threshold: float = 0.5
    coarsest: float | None = None
    knows: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class RasterPrediction:
    """What a raster answered.

    Attributes:
        surface: Probability on the output grid; None when no pixel holds data.
        view: How the extent was looked at.
        task: How the words were understood.
        looks: Parts of the raster that the network has read.
        shrink: Side of a pixel of the first look, in pixels of the base grid.
        closer: What closer looks did, None for tiles.
        comparison: What was compared of all that tiles found, None when nothing was.
        compared: What became of that.
    """

    surface: ProbabilitySurface | None
    view: ViewChoice
    task: Task
    looks: int
    shrink: float
    closer: OverviewPrediction | None = None
    comparison: Comparison | None = None
    compared: Compared | None = None

    @property
    def left_out(self) -> int:
        """Parts that were found and not kept, as the words mean others."""
        if self.compared is not None:
            return self.compared.left_out
        return 0 if self.closer is None else self.closer.left_out


def plan_view(
    scene: RasterScene, side: int, question: Question
) -> tuple[ViewChoice, Comparison | None]:
    """Tell how an extent will be looked at, and what will be compared of all that tiles find.

    Args:
        scene: The raster and its grids.
        side: Side of the network's square.
        question: What is asked.
    """
    if max(scene.base.shape) <= side:
        return ViewChoice(View.WHOLE, ONE_LOOK), None
    comparison = _comparison(scene, side, question)
    if comparison is not None:
        return ViewChoice(View.TILES, COMPARED), comparison
    return choose_view(question.instruction, question.task), None


def _comparison(scene: RasterScene, side: int, question: Question) -> Comparison | None:
    """Return what to compare of all that tiles find, where an overview is too coarse for it."""
    overview = overview_grid(scene.base, side).ground_pixel_size()
    if question.coarsest is None or overview is None or max(overview) <= question.coarsest:
        return None
    return comparison_of(question.instruction, question.task, question.knows)


def answer_raster(
    scene: RasterScene, segmenter: Segmenter, question: Question, progress: Progress
) -> RasterPrediction:
    """Answer an instruction on the output grid of a scene.

    Args:
        scene: The raster, its grids and scratch folder.
        segmenter: The network.
        question: What is asked.
        progress: Told the finished fraction; may raise to stop.

    Raises:
        JobError: ``INVALID_JOB`` for an empty or too long instruction, ``OUT_OF_MEMORY``,
            ``DISK_FULL``, ``CANCELLED``.
    """
    looker = Looker(scene.reader, segmenter)
    view, comparison = plan_view(scene, looker.side, question)
    grids = (scene.base, scene.output)
    shown = scene.base
    if view.view is View.WHOLE:
        shown = overview_grid(scene.base, looker.side)
    words = question.instruction if comparison is None else comparison.everything
    request = segmenter.request(*shown.shape, instruction=words, task=question.task)
    if view.view is View.TILES:
        asking = progress if comparison is None else share_of(progress, 0.0, 0.95)
        tiled = ask_tiles(looker, grids, request, question.threshold, scene.folder, asking)
        compared = None
        if comparison is not None:
            last = share_of(progress, 0.95, 1.0)
            compared = keep_compared(tiled.file, tiled.base, question.threshold, comparison, last)
        surface = tiled if looker.looks else None
        return RasterPrediction(
            surface, view, request.task, looker.looks, 1.0, None, comparison, compared
        )
    settings = ZoomSettings(threshold=question.threshold)
    one = question.threshold > 0.0 and means_one_thing(question.instruction, question.task)
    whole = ask_whole(looker, grids, request, settings, progress, one=one)
    return RasterPrediction(
        None if whole is None else whole.surface,
        view,
        request.task,
        looker.looks,
        scene.base.width / shown.width,
        whole,
    )
