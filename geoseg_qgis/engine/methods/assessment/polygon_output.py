"""Polygons of an assessment: the objects with their quality, and likely missed objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio.raw
import shapely
from numpy.typing import NDArray

from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.areas import trace_areas
from geoseg_qgis.engine.vector.attributes import Attributes, attributes_of
from geoseg_qgis.engine.vector.geopackage import write_geopackage
from geoseg_qgis.engine.vector.measure import measure_polygons
from geoseg_qgis.engine.vector.paths import readable
from geoseg_qgis.engine.vector.polygonize import LAYER, place
from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.source import LayerSource, VectorSource

from .assessor import Assessment
from .mask_input import Mask
from .missed_objects import MissedObjects
from .object_quality import ObjectQuality, ObjectStatus
from .problems import NOT_ASSESSED, PROBLEM_COLORS, problems
from .ranking import fix_priority, fix_rank
from .raster_output import class_ids

QUALITY_FIELDS = (
    "precision", "recall", "iou", "f1", "confidence", "spread",
    "problem", "fix_rank", "priority", "tp_px", "fp_px", "fn_px",
)  # fmt: skip
_MISSED_COLOR = "#56b4e9"
_TOLERANCE = 1.0
_DIGITS = 4


@dataclass(frozen=True)
class Columns:
    """Fields of equal length and where they are NULL."""

    values: dict[str, NDArray[np.generic]]
    empty: dict[str, NDArray[np.bool_]]


def write_objects(
    path: Path,
    assessment: Assessment,
    source: LayerSource,
    grid: Grid,
    *,
    provenance: dict[str, str],
    progress: Progress,
) -> None:
    """Write the objects of the mask with their quality.

    Polygons of a layer keep their outlines, CRS and fields. Where a field has the name of a quality
    field, the quality field gets a number. Fields of an earlier assessment are replaced. Objects of
    a raster are traced.

    Args:
        path: GeoPackage to write.
        assessment: The findings.
        source: The mask.
        grid: Output grid.
        provenance: How the file was made.
        progress: Called with the finished fraction; raises to stop.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    quality = quality_columns(assessment.objects)
    if isinstance(source, VectorSource) and assessment.mask.features is not None:
        shapes, crs, attributes = _read_layer(source)
        columns = _spread(quality, assessment.mask.features, len(shapes))
    else:
        shapes, crs = _traced(assessment.mask, grid, progress), grid.crs_wkt
        attributes = _described(assessment.mask, shapes, crs)
        columns = quality
    whole = attributes.with_columns(columns.values)
    empty = dict(zip(whole.names, whole.empty, strict=True))
    added = whole.names[len(attributes.names) :]
    empty.update({new: columns.empty[name] for new, name in zip(added, columns.values)})
    progress(0.8)
    write_geopackage(
        path,
        LAYER,
        shapes,
        fields=dict(zip(whole.names, whole.values, strict=True)),
        crs_wkt=crs,
        legend=tuple(
            LegendClass(number, (word,), color)
            for number, (word, color) in enumerate(PROBLEM_COLORS.items(), start=1)
        ),
        metadata=provenance,
        style_field=added[QUALITY_FIELDS.index("problem")],
        empty=empty,
    )
    progress(1.0)


def quality_columns(quality: ObjectQuality) -> Columns:
    """Return the quality fields of the objects; objects that were not assessed have no scores."""
    assessed = quality.status == ObjectStatus.ASSESSED
    counts = quality.hard_pixels.astype(np.int32)
    values: dict[str, NDArray[np.generic]] = {
        name: np.where(assessed, getattr(quality.soft, name), np.nan).round(_DIGITS)
        for name in ("precision", "recall", "iou", "f1")
    }
    values["confidence"] = np.where(assessed, quality.confidence, np.nan).round(_DIGITS)
    values["spread"] = np.where(assessed, quality.spread, np.nan).round(_DIGITS)
    values["problem"] = problems(quality)
    values["fix_rank"] = quality.rank.astype(np.int32)
    values["priority"] = quality.priority.round(_DIGITS)
    values.update({name: counts[row] for row, name in enumerate(("tp_px", "fp_px", "fn_px"))})
    everywhere = np.zeros(len(assessed), dtype=np.bool_)
    empty = dict.fromkeys(QUALITY_FIELDS, everywhere)
    empty["fix_rank"] = ~assessed
    return Columns(values, empty)


def _spread(quality: Columns, rows: NDArray[np.int64], count: int) -> Columns:
    """Put the columns of the objects into the rows of their features."""
    values, empty = {}, {}
    for name, column in quality.values.items():
        fill: object = np.nan if column.dtype.kind == "f" else 0
        whole = np.full(count, NOT_ASSESSED if column.dtype.kind == "O" else fill, column.dtype)
        whole[rows] = column
        values[name] = whole
        missing = np.full(count, name != "problem", dtype=np.bool_)
        missing[rows] = quality.empty[name]
        empty[name] = missing
    return Columns(values, empty)


def _read_layer(source: VectorSource) -> tuple[NDArray[np.object_], str, Attributes]:
    meta, _, geometry, columns = pyogrio.raw.read(readable(source.path), layer=source.layer or None)
    attributes = attributes_of(source, meta, columns)
    if set(QUALITY_FIELDS) <= set(attributes.names):
        kept = [index for index, name in enumerate(attributes.names) if name not in QUALITY_FIELDS]
        attributes = Attributes(
            tuple(attributes.names[index] for index in kept),
            tuple(attributes.values[index] for index in kept),
            tuple(attributes.empty[index] for index in kept),
        )
    shapes = np.asarray(shapely.from_wkb(geometry, on_invalid="fix"), dtype=object)
    return shapes, source.crs_wkt or meta["crs"] or "", attributes


def _traced(mask: Mask, grid: Grid, progress: Progress) -> NDArray[np.object_]:
    traced = trace_areas(
        grid, mask.read_classes, tolerance=_TOLERANCE, progress=lambda done: progress(0.7 * done)
    )
    return place(traced.polygons, grid)


def _described(mask: Mask, shapes: NDArray[np.object_], crs: str) -> Attributes:
    names = np.array(["", *(item.name for item in mask.classes)], dtype=object)
    areas, _ = measure_polygons(shapes, crs)
    return Attributes().with_columns(
        {
            "class": names[mask.object_classes],
            "class_id": class_ids(mask.classes)[0][mask.object_classes],
            "area_m2": areas.round(3),
        }
    )


def write_missed(
    path: Path, assessment: Assessment, grid: Grid, *, provenance: dict[str, str]
) -> None:
    """Write the likely missed objects; rank 1 is the one to look at first.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    missed, classes = assessment.missed, assessment.mask.classes
    shapes = place(missed.polygons, grid)
    areas, _ = measure_polygons(shapes, grid.crs_wkt)
    names = np.array(["", *(item.name for item in classes)], dtype=object)
    priority, rank = missed_ranks(missed)
    write_geopackage(
        path,
        LAYER,
        shapes,
        fields={
            "class": names[missed.classes],
            "class_id": class_ids(classes)[0][missed.classes],
            "score": missed.scores.round(_DIGITS),
            "area_m2": areas.round(3),
            "fix_rank": rank.astype(np.int32),
            "priority": priority.round(_DIGITS),
        },
        crs_wkt=grid.crs_wkt,
        legend=tuple(LegendClass(item.number, (item.name,), _MISSED_COLOR) for item in classes),
        metadata=provenance,
    )


def missed_ranks(missed: MissedObjects) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the priority and the rank of each missed object; the larger first among equals."""
    priority = fix_priority(np.zeros(len(missed.scores)), missed.scores)
    return priority, fix_rank(priority.round(2), shapely.area(missed.polygons))
