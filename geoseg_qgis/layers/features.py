"""Vector features of any geometry into a file for the engine, with all of their attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Collection, Iterator, List, Tuple

from qgis.core import (
    QgsFeature,
    QgsFeatureRequest,
    QgsFeatureSink,
    QgsFeatureSource,
    QgsFeedback,
    QgsField,
    QgsFields,
    QgsJsonUtils,
    QgsVectorFileWriter,
    QgsWkbTypes,
)

from ..compat import binary_field, id_field, is_plain_field, text_field
from ..protocol.errors import CancelledError, ErrorCode, JobError
from ..protocol.source import VectorSource
from .placement import PLACED, Placement, plain_type, without_triangles
from .source import crs_text

SOURCE_ID = "source_id"
TABLE = "features"
# Names that no layer of a user has, as GeoPackages otherwise take away `fid` and `geom`.
_COLUMNS = ["FID=geoseg_row", "GEOMETRY_NAME=geoseg_shape"]


def copied_fields(fields: QgsFields, keys: Collection[int]) -> Tuple[QgsFields, List[int]]:
    """Return the fields that are copied, and where each comes from.

    Names that differ from another one in letter case alone, which files cannot hold, get a number.
    Primary keys are left out: they number rows of their own table, and a copy of them stops the
    output from numbering its own. The number stays as `SOURCE_ID`, the first field.

    Args:
        fields: Fields of a layer.
        keys: Indices of its primary key.
    """
    copied, origins = QgsFields(), []
    if fields.lookupField(SOURCE_ID) < 0:
        copied.append(id_field(SOURCE_ID))
    for index in range(fields.count()):
        if index in keys:
            continue
        field = fields.at(index)
        copy = QgsField(field) if is_plain_field(field) else text_field(field.name())
        number = 0
        while any(copy.name().lower() == other.name().lower() for other in copied):
            number += 1
            copy.setName(f"{field.name()}_{number}")
        copied.append(copy)
        origins.append(index)
    return copied, origins


def write_features(
    source: QgsFeatureSource,
    keys: Collection[int],
    path: Path,
    placement: Placement,
    feedback: QgsFeedback,
) -> VectorSource:
    """Write all features of ``source`` to the GeoPackage ``path``; any thread.

    Values that a GeoPackage cannot hold, lists for example, become JSON texts.

    Args:
        source: What is to be written.
        keys: Indices of the primary key, see `copied_fields`.
        path: File that is not there yet.
        placement: Their way onto the raster.
        feedback: Asked for a cancel.

    Raises:
        JobError: ``INVALID_JOB`` when the features have no geometry, ``OUTPUT_UNWRITABLE`` or
            ``CANCELLED``.
    """
    name = source.sourceName()
    if source.wkbType() == QgsWkbTypes.Type.NoGeometry:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"The layer {name!r} has no geometries.",
            "Choose a layer of points, lines or polygons.",
        )
    fields, origins = copied_fields(source.fields(), keys)
    numbered = fields.count() - len(origins)
    fields.append(binary_field(PLACED))
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = TABLE
    options.layerOptions = _COLUMNS
    writer = QgsVectorFileWriter.create(
        str(path),
        fields,
        plain_type(source.wkbType()),
        source.sourceCrs(),
        placement.context,
        options,
    )
    for feature in _as_made(source):
        if feedback.isCanceled():
            del writer
            raise CancelledError
        values = feature.attributes()
        kept = [_plain(values[index]) for index in origins]
        copy = QgsFeature(fields)
        geometry = feature.geometry()
        copy.setAttributes([feature.id()] * numbered + kept + [placement.wkb(geometry)])
        copy.setGeometry(without_triangles(geometry))
        writer.addFeature(copy, QgsFeatureSink.Flag.FastInsert)
    problem = writer.errorMessage()
    del writer
    if problem:
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            f"The features of {name!r} could not be written to {path}: {problem}",
            "Make room in the temporary folder, or set another one in the Processing options.",
        )
    return VectorSource(
        str(path), TABLE, crs_text(source.sourceCrs()), name=name, placed_field=PLACED
    )


def _as_made(source: QgsFeatureSource) -> Iterator[QgsFeature]:
    """Yield features in the order in which they were made: QGIS gives unsaved ones out first."""
    unsaved = []
    for feature in source.getFeatures(QgsFeatureRequest()):
        if feature.id() < 0:
            unsaved.append(feature)
        else:
            yield feature
    yield from unsaved


def _plain(value: Any) -> Any:
    return QgsJsonUtils.encodeValue(value) if isinstance(value, (list, dict)) else value
