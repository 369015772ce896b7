"""The way of polygons from the engine's file into any sink."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Optional, Sequence, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureSink,
    QgsField,
    QgsFields,
    QgsProcessingFeedback,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from ..protocol.errors import CancelledError, ErrorCode, JobError
from ..translation import tr
from .values import Values

ROW_NUMBER = "fid"


def copy_features(
    values: Values,
    name: str,
    path: Path,
    crs: QgsCoordinateReferenceSystem,
    feedback: QgsProcessingFeedback,
    *,
    fields: Optional[QgsFields] = None,
) -> Tuple[str, int]:
    """Copy the engine's polygons into the sink ``name``.

    Args:
        values: Those of the run.
        name: Parameter of the sink.
        path: GeoPackage of the engine.
        crs: CRS of the raster, which that of the file cannot always stand for.
        feedback: Asked for a cancel.
        fields: Fields of the sink, in the order of the file's own; None takes those as they are,
            but for `ROW_NUMBER`.

    Returns:
        The id or path of the sink, and the number of polygons.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``CANCELLED``.
    """
    layer = QgsVectorLayer(str(path), "polygons", "ogr")
    keys = layer.primaryKeyAttributes()
    origins = [index for index in range(layer.fields().count()) if index not in keys]
    if fields is None:
        fields = _sink_fields([layer.fields().at(index) for index in origins])
    sink, destination = values.polygon_sink(name, fields, crs)
    for feature in layer.getFeatures():
        if feedback.isCanceled():
            del sink
            _discard(destination)
            raise CancelledError
        copy = QgsFeature(fields)
        copy.setAttributes([feature.attribute(index) for index in origins])
        geometry = feature.geometry()
        geometry.convertToMultiType()
        copy.setGeometry(geometry)
        if not sink.addFeature(copy, QgsFeatureSink.Flag.FastInsert):
            reason = sink.lastError()
            del sink
            _discard(destination)
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                tr("The polygons cannot be written: {}").format(reason),
                tr("Make room on the disk or choose another file."),
            )
    count = layer.featureCount()
    # The file is complete only once the sink is gone.
    del sink
    return destination, count


def _discard(destination: str) -> None:
    """Delete a half-filled file; layers in memory and tables of databases have none."""
    path = Path(destination)
    if path.suffix.lower() == ".shp":
        QgsVectorFileWriter.deleteShapeFile(destination)
    elif path.is_file():
        # Windows keeps a file that a program shows; the reason why we are here matters more.
        with contextlib.suppress(OSError):
            path.unlink()


def _sink_fields(originals: Sequence[QgsField]) -> QgsFields:
    """Return copies of fields, none of them under the name of a GeoPackage's own row number."""
    fields = QgsFields()
    taken = {field.name().lower() for field in originals}
    for original in originals:
        field = QgsField(original)
        number = 0
        while field.name().lower() == ROW_NUMBER or (number and field.name().lower() in taken):
            number += 1
            field.setName(f"{original.name()}_{number}")
        fields.append(field)
    return fields
