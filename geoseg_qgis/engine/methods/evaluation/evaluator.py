"""From a comparison to scores: pixels, outlines and objects."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from geoseg_qgis.engine.metrics.boundary import LEFT_OUT, BoundaryCounts, MatchScores
from geoseg_qgis.engine.metrics.object_matching import ObjectCounts
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import Grid, with_margin
from geoseg_qgis.engine.vector.components import row_windows
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .class_matching import Matching
from .class_metrics import Evaluation
from .comparison import Comparison, ReadCodes
from .comparison_grid import Tolerance
from .layer_classes import NO_CLASS

_FEW_POLYGONS = 0.5


def evaluate(
    comparison: Comparison, matching: Matching, tolerance: Tolerance, context: JobContext
) -> Evaluation:
    """Score a comparison.

    Args:
        comparison: Result and reference, read.
        matching: How their values become classes.
        tolerance: Largest distance of matching outlines.
        context: Takes the progress.

    Raises:
        JobError: ``INVALID_CLASSES`` when every pixel is left out.
    """
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
    return Evaluation(
        (comparison.maps[0].name, comparison.maps[1].name),
        (comparison.maps[0].layer_classes(), comparison.maps[1].layer_classes()),
        matching,
        matrix,
        boundary,
        _match_objects(grid, read, ObjectCounts(count), context.span(0.5, 1.0)),
        area,
        grid.width * grid.height - int(matrix.sum()),
        str(tolerance),
        comparison.mapped(matching),
    )


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
        wide, core = with_margin(window, counts.margin(size), comparison.grid)
        result, reference = read(wide)
        counts.update(result, reference, core, size)
        ground = part.ground_pixel_size() or (math.nan, math.nan)
        area += np.count_nonzero(reference[core] != LEFT_OUT) * ground[0] * ground[1]
        context.progress((number + 1) / len(comparison.windows), "Comparing outlines")
    return counts.scores(), float(area)


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


def remarks(evaluation: Evaluation, comparison: Comparison) -> Iterator[str]:
    """Yield a sentence for each reason to read the scores with care."""
    shown = [evaluation.matching.classes[number - 1] for number in evaluation.shown if number]
    only_result = [item.name for item in shown if not item.reference]
    only_reference = [item.name for item in shown if not item.result]
    if only_result:
        yield (
            f"The reference has no {', '.join(only_result)}, so what the result has of it counts "
            "as false. Use Mapping if it has another name there."
        )
    if only_reference:
        yield (
            f"The result has no {', '.join(only_reference)}, so what the reference has of it "
            "counts as missed. Use Mapping if it has another name there."
        )
    share = comparison.mapped_share()
    if share < _FEW_POLYGONS:
        yield (
            f"The box around the reference polygons covers {share:.0%} of the compared area. "
            "Everything outside of the polygons counts as no class. Give an extent if only part of "
            "the area was mapped."
        )
