"""Points, boxes and polygons of a layer to one outline each, and a mask of all of them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from geoseg_qgis.engine.inference.messages import report_pixel_size
from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.methods.prompted.masks import logit_of
from geoseg_qgis.engine.methods.prompted.messages import report_left_out, require_objects
from geoseg_qgis.engine.methods.prompted.outlines import Outlines
from geoseg_qgis.engine.methods.prompted.predictors import (
    PREDICTORS,
    grid_pyramid,
    preset_predictor,
    prompt_pixel_size,
)
from geoseg_qgis.engine.methods.prompted.prompted_objects import ObjectPrompts, gather_objects
from geoseg_qgis.engine.methods.prompted.segmentation import (
    FoundObject,
    MaskRules,
    PromptedSegmentation,
)
from geoseg_qgis.engine.models.model_cache import load_models
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.write import ClassRasterWriter
from geoseg_qgis.engine.vector.geopackage import write_geopackage
from geoseg_qgis.engine.vector.polygonize import LAYER
from geoseg_qgis.engine.vector.prompt_layer import PromptLayer, read_prompts
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks.prompts import PromptsTask

from .provenance import describe_run
from .results import ResultFiles
from .scene import prepare_scene

OBJECT = (LegendClass(1, ("object",), "#d1495b"),)
OUTLINING = "Outlining objects"


def run(job: Job, context: JobContext) -> Result:
    """Run a ``prompts`` job.

    Raises:
        JobError: Whatever prevents it, with the next step.
    """
    task: PromptsTask = job.task
    files = ResultFiles(task.mask_raster, task.polygon_file)
    files.check()
    with prepare_scene(job, files.folder, None, context) as scene:
        context.progress(0.0, "Reading prompts")
        layer = read_prompts(task.prompts, scene.output, task.label_field, task.group_field)
        for note in layer.notes:
            context.warn(note)
        prompts = _gather(layer, scene.output, job.method)
        context.progress(0.01, "Loading the models")
        models = load_models(job, context)
        predictor = preset_predictor(job.method, models)
        made_for = prompt_pixel_size(job.method, models)
        pyramid = grid_pyramid(scene, made_for, predictor)
        report_pixel_size(models.card.title, pyramid.finest, made_for, context)
        segmentation = PromptedSegmentation(
            scene.reader,
            pyramid,
            predictor,
            MaskRules(logit_of(task.threshold), task.minimum_score, task.polygons),
            scene.journal,
        )
        span = context.span(0.05, 0.9)
        found = list(segmentation.run(prompts.objects, lambda done: span.progress(done, OUTLINING)))
        report_left_out(prompts, segmentation, len(found), context)
        provenance = describe_run(job, models, pyramid.finest)
        found.sort(key=lambda item: item.prompt.number)
        outlines = Outlines(found, layer, scene.output)
        _write(outlines, files, provenance, context.span(0.9, 1.0))
        return Result(
            files.named(),
            _numbers(found, prompts.count),
            warnings=tuple(context.warnings),
            provenance=provenance,
        )


def _gather(layer: PromptLayer, output: Grid, method: str) -> ObjectPrompts:
    predictor = PREDICTORS[method]
    prompts = gather_objects(
        layer,
        (0.0, 0.0, float(output.width), float(output.height)),
        predictor.line_points,
        predictor.inner_points,
    )
    require_objects(prompts)
    predictor.check(prompts.objects)
    return prompts


def _write(
    outlines: Outlines, files: ResultFiles, provenance: dict[str, str], context: JobContext
) -> None:
    """Write the mask and the outlines; neither appears before it is complete."""
    with ExitStack() as stack:
        if files.class_raster is not None:
            writer = stack.enter_context(
                ClassRasterWriter(files.class_raster, outlines.grid, OBJECT, provenance)
            )
            count = sum(1 for _ in blocks(outlines.grid))
            for number, (window, mask) in enumerate(outlines.mask()):
                writer.write(window, mask)
                context.progress((number + 1) / count, "Writing the mask")
        if files.polygon_file is not None:
            context.progress(1.0, "Writing outlines")
            _write_outlines(outlines, Path(files.polygon_file), provenance)


def _write_outlines(outlines: Outlines, path: Path, provenance: dict[str, str]) -> None:
    on_map = outlines.on_map
    table = outlines.table(on_map, provenance.get("model", ""))
    write_geopackage(
        path,
        LAYER,
        on_map,
        fields=dict(zip(table.names, table.values, strict=True)),
        crs_wkt=outlines.grid.crs_wkt,
        legend=(),
        metadata=provenance,
        empty=dict(zip(table.names, table.empty, strict=True)),
    )


def _numbers(found: list[FoundObject], wanted: int) -> dict[str, float]:
    scores = [item.score for item in found]
    return {
        "OBJECT_COUNT": float(len(found)),
        "MISSING_COUNT": float(wanted - len(found)),
        "MEAN_SCORE": float(np.mean(scores)) if scores else 0.0,
    }
