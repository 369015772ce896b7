"""Rasters of an assessment: quality, probabilities and the repaired mask."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.write import ClassRasterWriter, RegionRasterWriter, ScoresWriter
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.legend import LegendClass, parse_classes
from geoseg_qgis.protocol.result import ClassSummary
from geoseg_qgis.protocol.tasks.assess import AssessTask

from .mask_classes import MaskClass
from .quality_classes import QualityClass
from .quality_map import QualityMap

QUALITY_LEGEND = tuple(
    LegendClass(kind.raster_value, (name,), kind.colour)
    for kind, name in zip(
        QualityClass,
        ("rightly mapped (TP)", "wrongly mapped (FP)", "rightly left out (TN)", "missed (FN)"),
        strict=True,
    )
)
_LARGEST_BYTE = 255


@dataclass(frozen=True)
class QualityTally:
    """Pixels and square metres of 0 nodata, 1 TP, 2 FP, 3 TN, 4 FN."""

    pixels: NDArray[np.int64]
    areas: NDArray[np.float64]

    def summaries(self) -> tuple[ClassSummary, ...]:
        """Return one summary a quality class."""
        valid = max(int(self.pixels[1:].sum()), 1)
        return tuple(
            ClassSummary(
                class_id=item.class_id,
                name=item.name,
                color=item.color,
                pixels=int(self.pixels[item.class_id]),
                share=float(self.pixels[item.class_id] / valid),
                area=float(self.areas[item.class_id]),
            )
            for item in QUALITY_LEGEND
        )


def write_rasters(
    quality_map: QualityMap,
    classes: tuple[MaskClass, ...],
    task: AssessTask,
    smallest_change: int,
    *,
    provenance: dict[str, str],
    context: JobContext,
) -> QualityTally:
    """Write the rasters that the task names, and count.

    Args:
        quality_map: Quality of every pixel.
        classes: Classes of the mask; the repaired one keeps their values.
        task: Names the files.
        smallest_change: Smaller changes, in pixels, are not made in the repaired mask.
        provenance: How the files were made.
        context: Takes the progress.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE``, ``DISK_FULL`` or ``CANCELLED``; ``TILES_FAILED`` when no
            pixel could be assessed. No file is then left half written.
    """
    grid = quality_map.grid
    tally = QualityTally(np.zeros(5, np.int64), np.zeros(5))
    with ExitStack() as stack:
        writes = _writers(quality_map, classes, task, smallest_change, provenance, stack)
        windows = list(blocks(grid))
        for number, window in enumerate(windows):
            _count(tally, quality_map.quality(window), grid.window_grid(window))
            for write in writes:
                write(window)
            context.progress((number + 1) / len(windows), "Writing rasters")
        if not tally.pixels[1:].any():
            raise JobError(
                ErrorCode.TILES_FAILED,
                "No pixel of the imagery could be assessed: imagery and mask share no data.",
                "Choose another extent, check the nodata values of both, and whether the imagery "
                "can be read.",
                "\n".join(context.warnings),
            )
    return tally


def _count(tally: QualityTally, quality: NDArray[np.uint8], part: Grid) -> None:
    counts = np.bincount(quality.ravel(), minlength=len(tally.pixels))
    across, down = part.ground_pixel_size() or part.pixel_size
    tally.pixels[:] += counts
    tally.areas[:] += counts * across * down


def _writers(  # noqa: PLR0917
    quality_map: QualityMap,
    classes: tuple[MaskClass, ...],
    task: AssessTask,
    smallest_change: int,
    provenance: dict[str, str],
    stack: ExitStack,
) -> list[Callable[[Window], None]]:
    """Open the files and return what writes a window of each."""
    grid, writes = quality_map.grid, []
    if task.quality_raster is not None:
        quality = stack.enter_context(
            ClassRasterWriter(task.quality_raster, grid, QUALITY_LEGEND, provenance)
        )
        writes.append(lambda window: quality.write(window, quality_map.quality(window)))
    if task.scores is not None:
        scores = stack.enter_context(ScoresWriter(task.scores, grid, QUALITY_LEGEND, provenance))
        writes.append(lambda window: scores.write(window, *quality_map.probabilities(window)))
    if task.repaired_mask is not None:
        ids, legend = class_ids(classes)
        repaired: Any
        if ids.max() <= _LARGEST_BYTE and ids.min() >= 0:
            repaired = ClassRasterWriter(task.repaired_mask, grid, legend, provenance)
        else:
            repaired = RegionRasterWriter(task.repaired_mask, grid, provenance)
        stack.enter_context(repaired)
        small = ids.astype(np.uint8 if isinstance(repaired, ClassRasterWriter) else np.int32)
        writes.append(
            lambda window: repaired.write(
                window, small[quality_map.repaired(window, smallest_change)]
            )
        )
    return writes


def class_ids(classes: tuple[MaskClass, ...]) -> tuple[NDArray[np.int64], tuple[LegendClass, ...]]:
    """Return the raster value of each class number, 0 first, and the legend of these values.

    Whole numbers other than 0 are kept. Where classes are texts, their values count from 1.
    """
    values = [item.value for item in classes]
    whole = all(isinstance(value, int) and value != 0 for value in values)
    ids = [int(value) for value in values] if whole else [item.number for item in classes]
    names: list[str] = []
    for item in classes:
        name = re.sub(r"[,;=\s]+", " ", item.name).strip() or str(item.value)
        taken = {other.lower() for other in names}
        names.append(name if name.lower() not in taken else f"{name} {item.number}")
    colors = [item.color for item in parse_classes("; ".join(names))]
    legend = tuple(
        LegendClass(number, (name,), color)
        for number, name, color in zip(ids, names, colors, strict=True)
    )
    return np.array([0, *ids], dtype=np.int64), legend
