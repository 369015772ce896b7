"""One instruction to the mask of what it speaks of, with polygons and probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.messages import report_unreadable
from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.methods.open_vocabulary.labelling import LabelBlock, quantise
from geoseg_qgis.engine.methods.referring.messages import (
    TASK_NAMES,
    tell_unknown_words,
    tell_view,
)
from geoseg_qgis.engine.methods.referring.unigeoseg import preset_segmenter
from geoseg_qgis.engine.methods.referring.unigeoseg.raster_inference import (
    ProbabilitySurface,
    Question,
    RasterPrediction,
    answer_raster,
)
from geoseg_qgis.engine.models.model_cache import warm_models
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.components import find_components
from geoseg_qgis.engine.vector.measure import pixel_areas
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks import ReferTask

from .provenance import describe_run
from .results import Labelled, ResultFiles, write_results
from .scene import prepare_scene

METHOD = "unigeoseg"
CLICKS = "clicks"
ANSWER = (LegendClass(1, ("answer",), "#e4572e"),)
THINKING = "Following the instruction"


def run(job: Job, context: JobContext) -> Result:
    """Do a ``refer`` job.

    Raises:
        JobError: Whatever stands in the way, with the next step.
    """
    task = _task(job)
    files = ResultFiles(task.mask_raster, task.polygon_file, task.scores)
    files.check()
    context.progress(0.0, "Loading the models")
    models = warm_models(job, context)
    tell_unknown_words(models, task.instruction, context)
    segmenter = preset_segmenter(models)
    question = _question(task, models)
    made_for = models.instruction_pixel_size
    with prepare_scene(job, files.folder, made_for) as scene:
        span = context.span(0.02, 0.85)
        answer = answer_raster(
            scene, segmenter, question, lambda done: span.progress(done, THINKING)
        )
        tell_view(answer, scene, models, context)
        return _write(answer, scene, job, models, context.span(0.85, 1.0))


def _task(job: Job) -> ReferTask:
    task = job.task
    if not isinstance(task, ReferTask):
        raise JobError(
            ErrorCode.INVALID_JOB,
            "The job's task is not one of referring segmentation.",
            "Write the members of a refer task.",
        )
    if job.method == CLICKS:
        raise JobError(
            ErrorCode.INVALID_JOB,
            "Clicks by a language model need one that runs in the engine, and there is none yet.",
            f"Use the method {METHOD}.",
        )
    if job.method != METHOD:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"Referring segmentation has no method called {job.method!r}.",
            f"Use {METHOD}.",
        )
    if not task.instruction.strip():
        raise JobError(
            ErrorCode.INVALID_JOB,
            "The instruction is empty.",
            "Write what to map, for example: the white plane next to the runway.",
        )
    if not 0.0 <= task.threshold < 1.0:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"A threshold of {task.threshold:g} is no probability below 1.",
            "Use a number from 0 to 1, such as 0.5.",
        )
    return task


def _question(task: ReferTask, models: LoadedPreset) -> Question:
    made_for, vocabulary = models.instruction_pixel_size, models.instruction_vocabulary
    return Question(
        task.instruction,
        task.task.value,
        task.threshold,
        coarsest=None if made_for is None else made_for.coarsest,
        knows=None if vocabulary is None else vocabulary.words.__contains__,
    )


class _Tally:
    """Sum of the probabilities of the answer's pixels."""

    def __init__(self) -> None:
        self.pixels = 0
        self.total = 0.0

    @property
    def mean(self) -> float:
        """Mean foreground probability, 0 for an empty answer."""
        return self.total / self.pixels if self.pixels else 0.0


@dataclass(frozen=True)
class _Labeller:
    surface: ProbabilitySurface | None
    scene: RasterScene
    threshold: float
    tally: _Tally

    def blocks(self) -> Iterator[LabelBlock]:
        """Yield the mask block by block."""
        for window in blocks(self.scene.output):
            known = self.scene.reader.valid(self.scene.output, window)
            probability = np.zeros(known.shape, np.float32)
            if self.surface is not None:
                probability, read = self.surface.read(window)
                known &= read
            mask = known & (probability > np.float32(self.threshold))
            self.tally.pixels += int(np.count_nonzero(mask))
            self.tally.total += float(probability[mask].sum(dtype=np.float64))
            steps = quantise(torch.from_numpy(probability), torch.from_numpy(known))
            yield LabelBlock(window, mask.astype(np.uint8), steps, steps[None])


def _write(
    answer: RasterPrediction,
    scene: RasterScene,
    job: Job,
    models: LoadedPreset,
    context: JobContext,
) -> Result:
    task: ReferTask = job.task
    tally = _Tally()
    labeller = _Labeller(answer.surface, scene, task.threshold, tally)
    mask_raster = task.mask_raster or str(scene.folder.path / "mask.tif")
    provenance = {**describe_run(job, models, scene.base), **_describe(task, answer)}
    labelled = Labelled(
        scene.output,
        labeller.blocks,
        ANSWER,
        ANSWER,
        scene.folder,
        {"instruction": task.instruction.strip()},
    )
    wanted = ResultFiles(mask_raster, task.polygon_file, task.scores)
    result = write_results(labelled, wanted, task.polygons, provenance, context)
    report_unreadable(scene.reader, "stay outside of the mask", context)
    if not tally.pixels:
        context.warn(
            "Nothing in this extent matches the instruction. Use other words, a lower threshold "
            "or another extent."
        )
    count = result.numbers["POLYGON_COUNT"]
    if task.polygon_file is None:
        count = count_objects(mask_raster, scene.output, task.polygons.minimum_area)
    return dataclasses.replace(
        result,
        files=ResultFiles(task.mask_raster, task.polygon_file, task.scores).named(),
        numbers={
            "OBJECT_COUNT": float(count),
            "SCORE": round(tally.mean, 6),
            "AREA": result.classes[0].area,
            "VALID_PIXELS": result.numbers["VALID_PIXELS"],
        },
        warnings=tuple(context.warnings),
    )


def _describe(task: ReferTask, answer: RasterPrediction) -> dict[str, str]:
    comparison = answer.comparison
    compared = {} if comparison is None else {"asked": comparison.everything}
    return {
        **compared,
        "instruction": task.instruction.strip(),
        "task": TASK_NAMES[answer.task],
        "view": f"{answer.view.view.value}: {answer.view.reason}",
        "looks": str(answer.looks),
        "parts_left_out": str(answer.left_out),
        "threshold": f"{task.threshold:g}",
    }


def count_objects(mask_raster: str, grid: Grid, minimum_area: float) -> int:
    """Count the connected parts of a mask raster.

    Args:
        mask_raster: File of ids, 0 for none.
        grid: Its pixels.
        minimum_area: Smallest part counted, in square metres.
    """
    with rasterio.open(mask_raster) as dataset:

        def read(window: Window) -> NDArray[np.uint8]:
            mask: NDArray[np.uint8] = dataset.read(1, window=window)
            return mask

        found = find_components(grid.shape, read, None, lambda _: None)
    areas = found.pixels * pixel_areas(grid, found.columns - 0.5, found.rows - 0.5)
    return int(np.count_nonzero(areas >= minimum_area))
