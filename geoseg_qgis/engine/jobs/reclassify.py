"""New thresholds on a scores raster: class raster and polygons at once, without any model."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.methods.open_vocabulary.labelling import LabelBlock
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.datasets import unreadable
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.write import SCORE_NODATA, SCORE_STEPS, read_scores_legend
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import EVERYTHING_ELSE, parse_thresholds
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks.reclassify import ReclassifyTask

from .provenance import describe_arithmetic
from .results import Labelled, ResultFiles, write_results

TAG_PREFIX = "GEOSEG_"
_LITTLE = 0.2


def run(job: Job, context: JobContext) -> Result:
    """Do a ``reclassify`` job.

    A pixel takes its most probable class if that reaches the class's threshold; else 0.

    Raises:
        JobError: ``INVALID_JOB`` for a raster that holds no scores, ``INVALID_CLASSES`` for
            thresholds that do not fit it, ``OUTPUT_UNWRITABLE``, ``DISK_FULL``.
    """
    task: ReclassifyTask = job.task
    files = ResultFiles(task.class_raster, task.polygon_file)
    files.check()
    with open_raster(job.raster) as raster:
        grid = raster.grid
    legend = read_scores_legend(job.raster.uri)
    named = tuple(item for item in legend if item.name != EVERYTHING_ELSE)
    earlier = _provenance(job.raster.uri)
    given = task.thresholds.strip() or _threshold_of_run(earlier)
    thresholds = parse_thresholds(given, tuple(item.name for item in named))
    # Everything else competes but has no threshold of its own.
    steps = np.array([*thresholds, *[0.0] * (len(legend) - len(named))]) * SCORE_STEPS
    levels = _levels(job.raster.uri, grid, len(legend))
    for row, item in enumerate(named):
        _warn_if_vanished(item.name, levels[row], float(np.rint(steps[row])), context)
    with ScratchFolder(files.folder) as folder:
        labelled = Labelled(
            grid, lambda: _blocks(job.raster.uri, grid, steps, len(named)), named, legend, folder
        )
        provenance = describe_arithmetic(job, earlier)
        return write_results(labelled, files, task.polygons, provenance, context)


def _blocks(path: str, grid: Grid, steps: NDArray[np.float64], named: int) -> Iterator[LabelBlock]:
    try:
        with rasterio.open(path) as dataset:
            for window in blocks(grid):
                scores: NDArray[np.uint8] = dataset.read(window=window)
                yield LabelBlock(window, *_label(scores, steps, named), None)
    except rasterio.errors.RasterioError as error:
        raise unreadable(path, error) from error


def _label(
    scores: NDArray[np.uint8], steps: NDArray[np.float64], named: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (h, w) labels and confidence of (C, h, w) scores."""
    valid = scores[0] != SCORE_NODATA
    winner = scores.argmax(axis=0)
    best = scores.max(axis=0)
    kept = valid & (best >= np.rint(steps)[winner]) & (winner < named)
    labels = np.where(kept, winner + 1, 0).astype(np.uint8)
    return labels, np.where(valid, best, SCORE_NODATA).astype(np.uint8)


def _provenance(path: str) -> dict[str, str]:
    with rasterio.open(path) as dataset:
        tags: dict[str, str] = dataset.tags()
    return {
        key.removeprefix(TAG_PREFIX).lower(): value
        for key, value in tags.items()
        if key.startswith(TAG_PREFIX)
    }


def _threshold_of_run(provenance: dict[str, str]) -> str:
    """Return the threshold of the run that wrote the scores; 0 where it is not recorded."""
    try:
        threshold = json.loads(provenance["job"])["task"]["threshold"]
    except (KeyError, TypeError, ValueError):
        return "0"
    return f"{threshold:g}" if isinstance(threshold, (int, float)) else "0"


def _levels(path: str, grid: Grid, classes: int) -> NDArray[np.int64]:
    """Return (classes, 255) pixels that each class wins, by their score in steps."""
    counts = np.zeros((classes, SCORE_STEPS + 1), dtype=np.int64)
    try:
        with rasterio.open(path) as dataset:
            for window in blocks(grid):
                scores: NDArray[np.uint8] = dataset.read(window=window)
                valid = scores[0] != SCORE_NODATA
                places = (scores.argmax(axis=0)[valid], scores.max(axis=0)[valid])
                np.add.at(counts, places, 1)
    except rasterio.errors.RasterioError as error:
        raise unreadable(path, error) from error
    return counts


def _warn_if_vanished(
    name: str, levels: NDArray[np.int64], lowest: float, context: JobContext
) -> None:
    """Warn when a threshold takes most of a class away, and name one that keeps half of it."""
    total = int(levels.sum())
    kept = int(levels[int(lowest) :].sum())
    if total == 0 or kept > _LITTLE * total:
        return
    from_above = np.cumsum(levels[::-1])[::-1]
    half = int(np.nonzero(from_above >= total / 2)[0].max()) / SCORE_STEPS
    highest = int(np.nonzero(levels)[0].max()) / SCORE_STEPS
    context.warn(
        f"The threshold {lowest / SCORE_STEPS:.2f} keeps {kept / total:.0%} of {name}, whose "
        f"scores reach {highest:.2f}. {half:.2f} would keep half of it."
    )
