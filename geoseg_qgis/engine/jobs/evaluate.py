"""Evaluate a class raster or class polygons against a reference: metrics, table and report.

Both are read once, window by window, onto the same pixels and kept as bytes in a scratch file.
Classes are matched when all values are known; then outlines and objects are counted from the
scratch file. Memory does not grow with the raster, but for a few numbers an object.
"""

from __future__ import annotations

from pathlib import Path

from geoseg_qgis.engine.methods.evaluation.class_maps import open_class_map
from geoseg_qgis.engine.methods.evaluation.class_matching import match_classes
from geoseg_qgis.engine.methods.evaluation.comparison import Comparison
from geoseg_qgis.engine.methods.evaluation.comparison_grid import Tolerance, comparison_grid
from geoseg_qgis.engine.methods.evaluation.evaluator import evaluate, remarks
from geoseg_qgis.engine.methods.evaluation.quality_truth import with_true_quality
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.reports.evaluation import write_report
from geoseg_qgis.engine.reports.evaluation_table import write_table
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks.evaluate import EvaluateTask

from .destinations import check_destinations
from .provenance import describe_arithmetic


def run(job: Job, context: JobContext) -> Result:
    """Do an ``evaluate`` job.

    Raises:
        JobError: Whatever stands in the way, with the next step.
    """
    task: EvaluateTask = job.task
    files = job.outputs
    check_destinations(files, "Give a file for the table or the report.")
    result = open_class_map(task.result, "result", task.result_field)
    reference = open_class_map(task.reference, "reference", task.reference_field)
    truth = with_true_quality(result, reference)
    if truth is not reference:
        context.info("The result is a quality map, so its mask is compared with the reference.")
        reference = truth
    grid = comparison_grid(task.result, task.reference, job.grid)
    tolerance = Tolerance(task.boundary_tolerance, task.boundary_unit)
    tolerance.check(grid)
    folder = Path(next(iter(files.values()))).resolve().parent
    with ScratchFolder(folder) as scratch:
        comparison = Comparison(scratch, grid, (result, reference))
        comparison.read(context.span(0.0, 0.4))
        comparison.require_overlap()
        matching = match_classes(
            result.layer_classes(), reference.layer_classes(), task.mapping, task.ignore
        )
        evaluation = evaluate(comparison, matching, tolerance, context.span(0.4, 0.97))
    context.info(f"Classes were matched {matching.manner}.")
    for remark in remarks(evaluation, comparison):
        context.warn(remark)
    for row in evaluation.rows():
        if row.result_pixels and row.reference_pixels:
            context.info(f"{row.name}: IoU {row.iou:.3f}, F1 {row.f1:.3f}")
    provenance = describe_arithmetic(job, {})
    if task.table is not None:
        write_table(task.table, evaluation)
    if task.report is not None:
        write_report(task.report, evaluation, tuple(context.warnings), provenance)
    context.progress(1.0, "Writing the report")
    return Result(files, evaluation.numbers(), (), tuple(context.warnings), provenance)
