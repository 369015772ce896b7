"""Inputs that may be a raster or polygons: frozen on the main thread, written where needed."""

from __future__ import annotations

from pathlib import Path
from typing import List, Union

from qgis.core import (
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingFeedback,
    QgsRasterLayer,
    QgsVectorLayer,
)

from ..layers.snapshot import (
    FrozenPolygons,
    freeze_polygons,
    plan_snapshot,
    write_polygons,
    write_snapshot,
)
from ..layers.source import FrozenRaster, freeze_raster
from ..protocol.errors import ErrorCode, JobError
from ..protocol.source import RasterSource, StretchKind, VectorSource
from ..translation import tr
from .values import Values

FrozenLayer = Union[FrozenPolygons, FrozenRaster]


def layer_types() -> List[int]:
    """Return the types of a map layer parameter for such an input."""
    return [QgsProcessing.SourceType.TypeVectorPolygon, QgsProcessing.SourceType.TypeRaster]


def freeze_layer(layer: QgsMapLayer, field: str = "") -> FrozenLayer:
    """Freeze a raster, its first band as it is, or polygons; call on the main thread.

    Args:
        layer: The layer.
        field: Field of polygons whose values are wanted; rasters have none.

    Raises:
        JobError: ``INVALID_JOB`` for other layers, ``SOURCE_UNREADABLE``.
    """
    if isinstance(layer, QgsVectorLayer):
        return freeze_polygons(layer, field)
    if isinstance(layer, QgsRasterLayer):
        return freeze_raster(layer, (1,), StretchKind.NONE)
    raise JobError(
        ErrorCode.INVALID_JOB,
        tr("The layer {!r} is neither a raster nor polygons.").format(layer.name()),
        tr("Choose a raster or a polygon layer."),
    )


def write_layer(
    frozen: FrozenLayer, folder: Path, stem: str, values: Values, feedback: QgsProcessingFeedback
) -> Union[RasterSource, VectorSource]:
    """Return what the engine reads, written into ``folder`` where no file backs the layer.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE``, ``SOURCE_UNREADABLE`` or ``CANCELLED``.
    """
    transforms = values.context.transformContext()
    if isinstance(frozen, FrozenPolygons):
        return write_polygons(frozen, folder / f"{stem}.gpkg", transforms, feedback)
    if not frozen.needs_snapshot:
        return frozen.source
    plan = plan_snapshot(frozen, None, None)
    return write_snapshot(frozen, plan, folder / f"{stem}.tif", transforms, feedback).source
