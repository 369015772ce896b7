"""One instruction to the mask of what it describes, with polygons and probabilities."""

from __future__ import annotations

import dataclasses

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.messages import report_unreadable
from geoseg_qgis.engine.methods.open_vocabulary.objects import ObjectRequest
from geoseg_qgis.engine.methods.referring.mask import Mask, count_objects
from geoseg_qgis.engine.methods.referring.messages import report_instruction, report_prediction
from geoseg_qgis.engine.methods.referring.unigeoseg import preset_segmenter
from geoseg_qgis.engine.methods.referring.unigeoseg.raster_inference import (
    Instruction,
    RasterPrediction,
    predict_raster,
)
from geoseg_qgis.engine.models.model_cache import load_models
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks.refer import Keep, ReferTask

from .provenance import describe_run
from .results import Labelled, ResultFiles, write_results
from .scene import prepare_scene

ANSWER = (LegendClass(1, ("answer",), "#e4572e"),)
FOLLOWING = "Following the instruction"


def run(job: Job, context: JobContext) -> Result:
    """Run a ``refer`` job.

    Raises:
        JobError: Whatever prevents it, with the next step.
    """
    task: ReferTask = job.task
    files = ResultFiles(task.mask_raster, task.polygon_file, task.scores)
    files.check()
    context.progress(0.0, "Loading the models")
    models = load_models(job, context)
    report_instruction(models, task.instruction, context)
    segmenter = preset_segmenter(models)
    made_for = models.instruction_pixel_size
    instruction = Instruction(
        task.instruction,
        task.task.value,
        task.view,
        task.keep is Keep.BEST,
        task.threshold,
        None if made_for is None else made_for.coarsest,
    )
    with prepare_scene(job, files.folder, made_for, context) as scene:
        objects = None
        if task.objects and task.polygon_file is not None:
            objects = ObjectRequest(scene, models)
            objects.check()
        span = context.span(0.02, 0.85)
        prediction = predict_raster(
            scene, segmenter, instruction, lambda done: span.progress(done, FOLLOWING)
        )
        report_prediction(prediction, scene, models, context)
        return _write(prediction, scene, job, models, objects, context.span(0.85, 1.0))


def _write(  # noqa: PLR0917
    prediction: RasterPrediction,
    scene: RasterScene,
    job: Job,
    models: LoadedPreset,
    objects: ObjectRequest | None,
    context: JobContext,
) -> Result:
    task: ReferTask = job.task
    mask = Mask(prediction.raster, scene, task.threshold)
    mask_raster = task.mask_raster or str(scene.folder.path / "mask.tif")
    provenance = {**describe_run(job, models, scene.base), **_describe(task, prediction)}
    labelled = Labelled(
        scene.output,
        mask.blocks,
        ANSWER,
        ANSWER,
        scene.folder,
        {"instruction": task.instruction.strip()},
        objects,
    )
    wanted = ResultFiles(mask_raster, task.polygon_file, task.scores)
    result = write_results(labelled, wanted, task.polygons, provenance, context)
    report_unreadable(scene.reader, "stay outside of the mask", context)
    if not mask.pixels:
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
            "SCORE": round(mask.score, 6),
            "AREA": result.classes[0].area,
            "VALID_PIXELS": result.numbers["VALID_PIXELS"],
        },
        warnings=tuple(context.warnings),
    )


def _describe(task: ReferTask, prediction: RasterPrediction) -> dict[str, str]:
    return {
        "instruction": task.instruction.strip(),
        "task": prediction.task.name.lower(),
        "view": prediction.view.value,
        "keep": task.keep.value,
        "chips": str(prediction.chips),
        "areas_left_out": str(prediction.left_out),
        "threshold": f"{task.threshold:g}",
    }
