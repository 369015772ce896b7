"""Writes the labels of a raster to the files that the user asked for, and counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.methods.open_vocabulary.labelling import LabelBlock
from geoseg_qgis.engine.methods.open_vocabulary.objects import ObjectRequest
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.write import (
    SCORE_NODATA,
    SCORE_STEPS,
    ClassRasterWriter,
    ScoresWriter,
)
from geoseg_qgis.engine.vector.polygonize import write_polygons
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.polygons import PolygonOptions
from geoseg_qgis.protocol.result import ClassSummary, Result

from .destinations import check_destinations

CONFIDENCE = (LegendClass(1, ("confidence",), "#000000"),)


@dataclass(frozen=True)
class ResultFiles:
    """Which files are wanted, by their final names; None for those that are not."""

    class_raster: str | None
    polygon_file: str | None
    scores: str | None = None

    @property
    def folder(self) -> Path:
        """Folder of the first file, where scratch files may lie."""
        return Path(next(iter(self.named().values()))).resolve().parent

    def named(self) -> dict[str, str]:
        """Return output name to path."""
        names = {
            "OUTPUT": self.class_raster,
            "POLYGONS": self.polygon_file,
            "SCORES": self.scores,
        }
        return {name: path for name, path in names.items() if path is not None}

    def check(self) -> None:
        """Refuse files that cannot be written, before hours of work.

        Raises:
            JobError: ``INVALID_JOB`` without any file or with one name twice,
                ``OUTPUT_UNWRITABLE`` for a folder that is missing or may not be written.
        """
        check_destinations(
            self.named(), "Give a file for the class raster, the polygons or the scores."
        )


@dataclass(frozen=True)
class Labelled:
    """What is to be written.

    Attributes:
        grid: Output grid.
        blocks: Yields the final labels, in the blocks of `inference.windows.blocks`.
        legend: The named classes.
        score_legend: Classes of the score bands.
        folder: Place of files that the user did not ask for.
        texts: Names and values of further fields that all polygons share.
        objects: Tells touching objects of a class apart; None for connected areas.
    """

    grid: Grid
    blocks: Callable[[], Iterator[LabelBlock]]
    legend: tuple[LegendClass, ...]
    score_legend: tuple[LegendClass, ...]
    folder: ScratchFolder
    texts: Mapping[str, str] = field(default_factory=dict)
    objects: ObjectRequest | None = None


class _Tally:
    """Pixels and square metres of each class."""

    def __init__(self, classes: int) -> None:
        self.pixels = np.zeros(classes + 1, dtype=np.int64)
        self.areas = np.zeros(classes + 1, dtype=np.float64)
        self.valid = 0

    def add(self, block: LabelBlock, grid: Grid) -> None:
        counts = np.bincount(block.labels.ravel(), minlength=len(self.pixels))
        # Pixels in degrees shrink towards the poles, so that every block has its own size.
        area = grid.window_grid(block.window)
        across, down = area.ground_pixel_size() or area.pixel_size
        self.pixels += counts
        self.areas += counts * across * down
        self.valid += int(np.count_nonzero(block.confidence != SCORE_NODATA))

    def summaries(
        self, legend: tuple[LegendClass, ...], counts: dict[int, int]
    ) -> tuple[ClassSummary, ...]:
        return tuple(
            ClassSummary(
                class_id=item.class_id,
                name=item.name,
                color=item.color,
                pixels=int(self.pixels[item.class_id]),
                share=float(self.pixels[item.class_id] / max(self.valid, 1)),
                area=float(self.areas[item.class_id]),
                polygons=counts.get(item.class_id, 0),
            )
            for item in legend
        )


def write_results(
    labelled: Labelled,
    files: ResultFiles,
    options: PolygonOptions,
    provenance: dict[str, str],
    context: JobContext,
) -> Result:
    """Write rasters, then polygons, and return the result.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE``, ``DISK_FULL`` or ``CANCELLED``; no incomplete file is left.
    """
    class_raster = Path(files.class_raster or labelled.folder.path / "classes.tif")
    confidence = labelled.folder.path / "confidence.tif"
    tally = _write_rasters(
        labelled, files.scores, (class_raster, confidence), provenance, context.span(0.0, 0.5)
    )
    counts: dict[int, int] = {}
    if files.polygon_file is not None:
        span = context.span(0.5, 1.0)
        read_objects = None
        if labelled.objects is not None:
            read_objects = labelled.objects.find(class_raster, context.span(0.5, 0.9)).read
            provenance = {**provenance, **labelled.objects.models.provenance()}
            span = context.span(0.9, 1.0)
        counts = write_polygons(
            class_raster,
            labelled.grid,
            labelled.legend,
            options,
            destination=Path(files.polygon_file),
            provenance=provenance,
            confidence=confidence,
            progress=lambda done: span.progress(done, "Drawing polygons"),
            texts=labelled.texts,
            read_objects=read_objects,
        )
    return Result(
        files.named(),
        {
            "CLASSES_FOUND": float(np.count_nonzero(tally.pixels[1:])),
            "POLYGON_COUNT": float(sum(counts.values())),
            "VALID_PIXELS": float(tally.valid),
        },
        tally.summaries(labelled.legend, counts),
        tuple(context.warnings),
        provenance,
    )


def _write_rasters(
    labelled: Labelled,
    scores_path: str | None,
    paths: tuple[Path, Path],
    provenance: dict[str, str],
    context: JobContext,
) -> _Tally:
    grid, legend = labelled.grid, labelled.legend
    tally = _Tally(len(legend))
    with ExitStack() as stack:
        classes = stack.enter_context(ClassRasterWriter(paths[0], grid, legend, provenance))
        certainty = stack.enter_context(ScoresWriter(paths[1], grid, CONFIDENCE, provenance))
        scores = None
        if scores_path is not None:
            scores = stack.enter_context(
                ScoresWriter(scores_path, grid, labelled.score_legend, provenance)
            )
        count = sum(1 for _ in blocks(grid))
        for number, block in enumerate(labelled.blocks()):
            tally.add(block, grid)
            classes.write(block.window, block.labels)
            certainty.write(block.window, *_probabilities(block.confidence[None]))
            if scores is not None and block.scores is not None:
                scores.write(block.window, *_probabilities(block.scores))
            context.progress((number + 1) / count, "Writing rasters")
        _require_pixels(tally, context)
    return tally


def _require_pixels(tally: _Tally, context: JobContext) -> None:
    if tally.valid:
        return
    raise JobError(
        ErrorCode.TILES_FAILED,
        "No pixel of the raster in this extent holds data that can be read.",
        "Choose another extent, or check the raster's nodata value and the file itself.",
        "\n".join(context.warnings),
    )


def _probabilities(
    steps: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    probabilities: NDArray[np.float32] = steps.astype(np.float32) / np.float32(SCORE_STEPS)
    return probabilities, np.asarray(steps[0] != SCORE_NODATA)
