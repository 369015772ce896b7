"""Assess a mask: where it is right and where it is wrong, on the imagery that it was made from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.messages import report_pixel_size, report_unreadable
from geoseg_qgis.engine.methods.assessment.assessor import Assessment, Assessor, mark_too_small
from geoseg_qgis.engine.methods.assessment.mask_input import open_mask
from geoseg_qgis.engine.methods.assessment.polygon_output import write_missed, write_objects
from geoseg_qgis.engine.methods.assessment.raster_output import write_rasters
from geoseg_qgis.engine.models.model_cache import load_models
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.reports.assessment import RunFacts, write_report
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks.assess import AssessTask

from .destinations import check_destinations
from .provenance import describe_run
from .scene import prepare_scene

_MANY_CLASSES = 5
_TOO_COARSE = "Its assessment means little here. Choose another model or finer imagery."


def run(job: Job, context: JobContext) -> Result:
    """Do an ``assess`` job.

    Raises:
        JobError: Whatever stands in the way, with the next step.
    """
    task: AssessTask = job.task
    files = job.outputs
    check_destinations(files, "Give a file for the quality raster, the polygons or the report.")
    context.progress(0.0, "Loading the models")
    models = load_models(job, context)
    made_for = models.card.pixel_size
    folder = Path(next(iter(files.values()))).resolve().parent
    with prepare_scene(job, folder, made_for, context) as scene:
        reading = context.span(0.01, 0.08)
        mask = open_mask(
            task,
            scene.output,
            scene.folder,
            lambda done: reading.progress(done, "Reading the mask"),
        )
        report_pixel_size(models.card.title, scene.base, made_for, context, advice=_TOO_COARSE)
        for remark in mask.remarks:
            context.warn(remark)
        if len(mask.classes) > _MANY_CLASSES:
            context.info(f"{len(mask.classes)} classes are assessed, one after the other.")
        assessor = Assessor(scene, models.segassess, mask, task)
        assessment = assessor.assess(context.span(0.08, 0.88))
        report_unreadable(scene.reader, "were not assessed", context)
        return _write(job, assessment, scene, models, context.span(0.88, 1.0))


def _write(
    job: Job, assessment: Assessment, scene: RasterScene, models: LoadedPreset, context: JobContext
) -> Result:
    task: AssessTask = job.task
    provenance = describe_run(job, models, scene.base) | {"variant": task.variant.value}
    too_small = assessment.mask.areas < task.minimum_area
    assessment = replace(assessment, objects=mark_too_small(assessment.objects, too_small))
    tally = write_rasters(
        assessment.quality_map,
        assessment.mask.classes,
        task,
        assessment.smallest_change,
        provenance=provenance,
        context=context.span(0.0, 0.5),
    )
    drawing = context.span(0.5, 0.9)
    if task.polygon_file is not None:
        write_objects(
            Path(task.polygon_file),
            assessment,
            task.mask,
            scene.output,
            provenance=provenance,
            progress=lambda done: drawing.progress(done, "Drawing polygons"),
        )
    if task.missed_file is not None:
        write_missed(Path(task.missed_file), assessment, scene.output, provenance=provenance)
    context.progress(0.9, "Writing the report")
    if task.report is not None:
        facts = RunFacts(
            scene, models.card, models.segassess.settings, tuple(context.warnings), provenance
        )
        write_report(task.report, assessment, tally, task, facts)
    context.progress(1.0, "Writing the report")
    return Result(
        job.outputs,
        assessment.numbers(),
        tally.summaries(),
        tuple(context.warnings),
        provenance,
    )
