"""Evaluation: a class raster or class polygons against a reference, to metrics and a report.

Both are read once, window by window, onto the pixels of the result and kept as small numbers in a
scratch file; classes are matched when all values are known. Then outlines and objects are counted
from the scratch file. Memory does not grow with the raster, but for one number an object.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine

from geoseg_qgis.engine.methods.evaluation.class_maps import ClassMap, PolygonClasses, RasterClasses
from geoseg_qgis.engine.methods.evaluation.class_matching import NO_CLASS, Matching, match_classes
from geoseg_qgis.engine.methods.evaluation.class_metrics import Evaluation
from geoseg_qgis.engine.methods.evaluation.comparison import Comparison, ReadCodes
from geoseg_qgis.engine.methods.evaluation.quality_truth import with_true_quality
from geoseg_qgis.engine.metrics.boundary import LEFT_OUT, BoundaryCounts, MatchScores
from geoseg_qgis.engine.metrics.object_matching import ObjectCounts
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.datasets import open_dataset
from geoseg_qgis.engine.raster.grid import Grid, output_grid, with_margin
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.reports.evaluation import write_report
from geoseg_qgis.engine.reports.evaluation_table import write_table
from geoseg_qgis.engine.vector.components import row_windows
from geoseg_qgis.engine.vector.polygon_layer import read_bounds
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.source import GridRequest, LayerSource, RasterSource, VectorSource
from geoseg_qgis.protocol.tasks.evaluate import EvaluateTask, LengthUnit

from .destinations import check_destinations
from .provenance import describe_arithmetic

LARGEST_HALO = 1024
_FEW_POLYGONS = 0.5


def run(job: Job, context: JobContext) -> Result:
    """Do an ``evaluate`` job.

    Raises:
        JobError: Whatever stands in the way, with the next step.
    """
    task: EvaluateTask = job.task
    files = job.outputs
    check_destinations(files, "Give a file for the table or the report.")
    result = _class_map(task.result, "result", task.result_field)
    reference = _class_map(task.reference, "reference", task.reference_field)
    truth = with_true_quality(result, reference)
    if truth is not reference:
        context.info("The result is a quality map: its mask is held against the reference.")
        reference = truth
    grid = _grid(job, task)
    tolerance = Tolerance(task.boundary_tolerance, task.boundary_unit)
    tolerance.check(grid)
    folder = Path(next(iter(files.values()))).resolve().parent
    with ScratchFolder(folder) as scratch:
        comparison = Comparison(scratch, grid, (result, reference))
        comparison.read(context.span(0.0, 0.4))
        comparison.require_overlap()
        matching = match_classes(result.side(), reference.side(), task.mapping, task.ignore)
        evaluation = _evaluate(comparison, matching, tolerance, context.span(0.4, 0.97))
    _tell(evaluation, comparison, context)
    provenance = describe_arithmetic(job, {})
    if task.table is not None:
        write_table(task.table, evaluation)
    if task.report is not None:
        write_report(task.report, evaluation, tuple(context.warnings), provenance)
    context.progress(1.0, "Writing the report")
    return Result(files, evaluation.numbers(), (), tuple(context.warnings), provenance)


def _class_map(source: LayerSource, title: str, field: str) -> ClassMap:
    if isinstance(source, RasterSource):
        return RasterClasses(source, title)
    return PolygonClasses(source, title, field)


def _grid(job: Job, task: EvaluateTask) -> Grid:
    """Return the pixels that are compared."""
    result, reference = task.result, task.reference
    if isinstance(result, VectorSource) and isinstance(reference, VectorSource):
        return _polygon_grid(result, job.grid)
    source = result if isinstance(result, RasterSource) else reference
    with closing(open_dataset(source)) as opened:
        return output_grid(opened.grid(source.crs_wkt), job.grid)


def _polygon_grid(polygons: VectorSource, request: GridRequest) -> Grid:
    if request.resolution is None or not request.resolution > 0.0:
        raise JobError(
            ErrorCode.RESOLUTION_UNUSABLE,
            "Result and reference are both polygons, so no raster says how large pixels are.",
            "Give a resolution, the size of a pixel in map units of the result, or use a raster.",
        )
    bounds, crs_wkt = read_bounds(polygons)
    if request.extent is not None:
        extent = request.extent
        bounds = extent.xmin, extent.ymin, extent.xmax, extent.ymax
    xmin, ymin, xmax, ymax = bounds
    size = request.resolution
    columns = max(math.ceil((xmax - xmin) / size - 1e-6), 1)
    rows = max(math.ceil((ymax - ymin) / size - 1e-6), 1)
    return output_grid(
        Grid(Affine(size, 0.0, xmin, 0.0, -size, ymax), columns, rows, crs_wkt), GridRequest()
    )


@dataclass(frozen=True)
class Tolerance:
    """How far outlines may lie apart."""

    length: float
    unit: LengthUnit

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.length:g} {'m' if self.unit is LengthUnit.METRES else 'pixels'}"

    def pixel_size(self, grid: Grid) -> tuple[float, float]:
        """Return the size of a pixel of ``grid`` in the unit."""
        if self.unit is LengthUnit.PIXELS:
            return 1.0, 1.0
        size = grid.ground_pixel_size()
        if size is None:
            raise JobError(
                ErrorCode.INVALID_JOB,
                "The result has no CRS, so metres mean nothing there.",
                "Give the boundary tolerance in pixels.",
            )
        return size

    def check(self, grid: Grid) -> None:
        """Refuse lengths that make no sense on ``grid``.

        Raises:
            JobError: ``INVALID_JOB``.
        """
        if self.length / min(self.pixel_size(grid)) > LARGEST_HALO:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"A boundary tolerance of {self} is not usable on this raster.",
                f"Give one of 0 to {LARGEST_HALO} pixels.",
            )


def _evaluate(
    comparison: Comparison, matching: Matching, tolerance: Tolerance, context: JobContext
) -> Evaluation:
    matrix = comparison.matrix(matching)
    if not matrix.any():
        raise JobError(
            ErrorCode.INVALID_CLASSES,
            "Every pixel of the reference is left out.",
            "Name fewer values under Ignore, or write none to leave out nothing.",
        )
    read = comparison.reader(matching)
    count = len(matching.classes)
    boundary, area = _compare_outlines(
        comparison, read, BoundaryCounts(count, tolerance.length), tolerance, context.span(0.0, 0.5)
    )
    grid = comparison.grid
    objects = _match_objects(grid, read, ObjectCounts(count), context.span(0.5, 1.0))
    return Evaluation(
        (comparison.maps[0].name, comparison.maps[1].name),
        (comparison.maps[0].side(), comparison.maps[1].side()),
        matching,
        matrix,
        boundary,
        objects,
        area,
        grid.width * grid.height - int(matrix.sum()),
        str(tolerance),
    )


def _match_objects(
    grid: Grid, read: ReadCodes, counts: ObjectCounts, context: JobContext
) -> list[MatchScores]:
    """Return the object scores of each class."""
    for window in row_windows(grid.shape):
        result, reference = read(window)
        left_out = result == LEFT_OUT
        result[left_out] = NO_CLASS
        reference[left_out] = NO_CLASS
        counts.update(result, reference)
        context.progress((window.row_off + window.height) / grid.height, "Matching objects")
    return counts.scores()


def _compare_outlines(
    comparison: Comparison,
    read: ReadCodes,
    counts: BoundaryCounts,
    tolerance: Tolerance,
    context: JobContext,
) -> tuple[list[MatchScores], float]:
    """Return the outline scores of each class, and the area that is compared in square metres."""
    area = 0.0
    for number, window in enumerate(comparison.windows):
        part = comparison.grid.window_grid(window)
        size = tolerance.pixel_size(part)
        wide, core = with_margin(window, counts.halo(size), comparison.grid)
        result, reference = read(wide)
        counts.update(result, reference, core, size)
        ground = part.ground_pixel_size() or (math.nan, math.nan)
        area += np.count_nonzero(reference[core] != LEFT_OUT) * ground[0] * ground[1]
        context.progress((number + 1) / len(comparison.windows), "Comparing outlines")
    return counts.scores(), float(area)


def _tell(evaluation: Evaluation, comparison: Comparison, context: JobContext) -> None:
    context.info(f"Classes were matched {evaluation.matching.manner}.")
    for sentence in _doubts(evaluation, comparison):
        context.warn(sentence)
    for row in evaluation.rows():
        if row.result_pixels and row.reference_pixels:
            context.info(f"{row.name}: IoU {row.iou:.3f}, F1 {row.f1:.3f}")


def _doubts(evaluation: Evaluation, comparison: Comparison) -> Iterator[str]:
    shown = [evaluation.matching.classes[number - 1] for number in evaluation.shown if number]
    only_result = [item.name for item in shown if not item.reference]
    only_reference = [item.name for item in shown if not item.result]
    if only_result:
        yield (
            f"The reference has no {', '.join(only_result)}: what the result shows of it counts "
            "as false. Use Mapping if it has another name there."
        )
    if only_reference:
        yield (
            f"The result has no {', '.join(only_reference)}: what the reference shows of it "
            "counts as missed. Use Mapping if it has another name there."
        )
    share = comparison.mapped_share()
    if share < _FEW_POLYGONS:
        yield (
            f"The box around the reference polygons covers {share:.0%} of what is compared; "
            "everything outside of polygons counts as no class. Give an extent if the reference "
            "was drawn for a part only."
        )
