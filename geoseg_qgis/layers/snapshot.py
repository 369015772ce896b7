"""Files for what no file backs: web maps, virtual and in-memory rasters, vector layers.

`plan_snapshot` chooses the pixels, `write_snapshot` and `write_polygons` do the slow part in any
thread from clones that were made on the main thread.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFeatureRequest,
    QgsFeatureSink,
    QgsFeedback,
    QgsField,
    QgsFields,
    QgsRasterBlockFeedback,
    QgsRasterFileWriter,
    QgsRasterLayer,
    QgsRasterPipe,
    QgsRectangle,
    QgsUnitTypes,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsVectorLayerFeatureSource,
    QgsWkbTypes,
)

from ..compat import binary_field, is_success
from ..protocol.errors import CancelledError, ErrorCode, JobError
from ..protocol.source import RasterSource, Stretch, StretchKind, VectorSource
from .placement import PLACED, Placement, plain_type, without_triangles
from .source import FrozenRaster, crs_text

LARGEST_UNASKED = 4096 * 4096
LARGEST = 40_000 * 40_000
COARSEST_UNASKED = 30.0
"""Metres in a pixel up to which all of a map service is pictured without an extent."""
CLASS_FIELD = "class"
_POLL_SECONDS = 0.1
_STRIP_ROWS = 256


@dataclass(frozen=True)
class SnapshotPlan:
    """The pixels of a snapshot.

    Attributes:
        extent: In the CRS of the layer.
        resolution: Width of a pixel in map units.
        columns: Width in pixels.
        rows: Height in pixels.
        description: What the user should know before it is taken.
    """

    extent: QgsRectangle
    resolution: float
    columns: int
    rows: int
    description: str


@dataclass(frozen=True)
class Snapshot:
    """A written snapshot.

    Attributes:
        source: What the engine reads.
        missing: Share of pixels that the server sent nothing for, 0..1.
    """

    source: RasterSource
    missing: float


def plan_snapshot(
    frozen: FrozenRaster, extent: Optional[QgsRectangle], resolution: Optional[float]
) -> SnapshotPlan:
    """Choose the pixels of a snapshot.

    A picture server has no pixels of its own: its finest zoom level that stays under
    `LARGEST_UNASKED` pixels is taken when no resolution is asked for.

    Args:
        frozen: The layer.
        extent: Area to take, in the CRS of the layer; None for all of it.
        resolution: Map units per pixel, or None.

    Raises:
        JobError: ``EXTENT_OUTSIDE``; ``RESOLUTION_UNUSABLE`` for no pixel or far too many, or for
            pixels that show nothing where nobody asked for them.
    """
    area = QgsRectangle(frozen.extent)
    if extent is not None:
        area = area.intersect(extent)
    if area.width() <= 0 or area.height() <= 0:
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            f"The extent does not touch the layer {frozen.name!r}.",
            "Choose an extent inside the layer.",
        )
    if frozen.columns and frozen.rows:
        size = frozen.extent.width() / frozen.columns
        height = frozen.extent.height() / frozen.rows
    else:
        size = height = resolution or _unasked_resolution(frozen, area)
        if extent is None and resolution is None:
            _refuse_the_world(frozen, size)
    return _snap(frozen, area, size, height)


def _refuse_the_world(frozen: FrozenRaster, size: float) -> None:
    """Refuse a picture of a whole map service, on whose pixels no model would find anything."""
    metres = size
    if frozen.crs.isValid():
        metres *= QgsUnitTypes.fromUnitToUnitFactor(
            frozen.crs.mapUnits(), QgsUnitTypes.DistanceUnit.DistanceMeters
        )
    if metres > COARSEST_UNASKED:
        raise JobError(
            ErrorCode.RESOLUTION_UNUSABLE,
            f"A picture of all of {frozen.name!r} would have pixels of {metres:,.0f} m.",
            "Give an extent, or the resolution that you want.",
        )


def _unasked_resolution(frozen: FrozenRaster, area: QgsRectangle) -> float:
    for size in frozen.resolutions:
        if area.width() / size * (area.height() / size) <= LARGEST_UNASKED:
            return size
    return math.sqrt(area.width() * area.height() / LARGEST_UNASKED)


def _snap(frozen: FrozenRaster, area: QgsRectangle, width: float, height: float) -> SnapshotPlan:
    left, top = frozen.extent.xMinimum(), frozen.extent.yMaximum()
    # A thousandth of a pixel absorbs the rounding of extents that already lie on the grid.
    first_column = math.floor((area.xMinimum() - left) / width + 1e-3)
    first_row = math.floor((top - area.yMaximum()) / height + 1e-3)
    columns = math.ceil((area.xMaximum() - left) / width - 1e-3) - first_column
    rows = math.ceil((top - area.yMinimum()) / height - 1e-3) - first_row
    if columns < 1 or rows < 1 or columns * rows > LARGEST:
        raise JobError(
            ErrorCode.RESOLUTION_UNUSABLE,
            f"A picture of {max(columns, 0)} x {max(rows, 0)} pixels would be taken of "
            f"{frozen.name!r}.",
            "Choose another resolution or extent.",
        )
    extent = QgsRectangle(
        left + first_column * width,
        top - (first_row + rows) * height,
        left + (first_column + columns) * width,
        top - first_row * height,
    )
    unit = f"units of {frozen.crs.authid() or 'its CRS'}" if frozen.crs.isValid() else "map units"
    description = (
        f"{frozen.name!r} is copied into a file first: {columns} x {rows} pixels of "
        f"{width:.6g} {unit}."
    )
    return SnapshotPlan(extent, width, columns, rows, description)


def write_snapshot(
    frozen: FrozenRaster,
    plan: SnapshotPlan,
    path: Path,
    transform_context: QgsCoordinateTransformContext,
    feedback: QgsFeedback,
) -> Snapshot:
    """Write the planned pixels of ``frozen`` to the GeoTIFF ``path``; any thread.

    Servers answer missing tiles with nothing and QGIS reports no error, so transparent pixels
    are counted; when there are any, the missing tiles are asked for once more.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when nothing came, ``OUTPUT_UNWRITABLE``, ``CANCELLED``.
    """

    def write() -> None:
        _write_raster(frozen, plan, path, transform_context, feedback)

    write()
    if frozen.renderer is None:
        return Snapshot(dataclasses.replace(frozen.source, uri=str(path)), 0.0)
    missing = _transparent_share(path)
    if missing > 0:
        write()
        missing = _transparent_share(path)
    if missing >= 1:
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The server of {frozen.name!r} sent nothing for this extent.",
            "Check the layer in the map, then choose another extent or a coarser resolution.",
        )
    source = dataclasses.replace(
        frozen.source,
        uri=str(path),
        bands=(1, 2, 3),
        nodata=(),
        stretch=Stretch(StretchKind.NONE),
        alpha_band=4,
    )
    return Snapshot(source, missing)


def _write_raster(
    frozen: FrozenRaster,
    plan: SnapshotPlan,
    path: Path,
    transform_context: QgsCoordinateTransformContext,
    feedback: QgsFeedback,
) -> None:
    pipe = QgsRasterPipe()
    if frozen.provider is not None:
        pipe.set(frozen.provider.clone())
    if frozen.renderer is not None:
        pipe.set(frozen.renderer.clone())
    writer = QgsRasterFileWriter(str(path))
    writer.setOutputFormat("GTiff")
    writer.setCreateOptions(["TILED=YES", "COMPRESS=DEFLATE", "BIGTIFF=IF_SAFER"])
    with _forwarded_cancel(feedback) as block_feedback:
        code = writer.writeRaster(
            pipe,
            plan.columns,
            plan.rows,
            plan.extent,
            frozen.crs,
            transform_context,
            block_feedback,
        )
    if feedback.isCanceled():
        raise CancelledError
    if not is_success(code):
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            f"The picture of {frozen.name!r} could not be written to {path}.",
            "Make room in the temporary folder, or set another one in the Processing options.",
        )


@contextmanager
def _forwarded_cancel(feedback: QgsFeedback) -> Iterator[QgsRasterBlockFeedback]:
    """Give a feedback that is cancelled with ``feedback``.

    The signal of ``feedback`` is queued to the main thread, which may be the one that waits.
    """
    block_feedback = QgsRasterBlockFeedback()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_SECONDS):
            if feedback.isCanceled():
                block_feedback.cancel()
                return

    watcher = threading.Thread(target=watch, name="geoseg-snapshot-cancel", daemon=True)
    watcher.start()
    try:
        yield block_feedback
    finally:
        done.set()
        watcher.join()


def _transparent_share(path: Path) -> float:
    layer = QgsRasterLayer(str(path), "snapshot", "gdal")
    provider = layer.dataProvider()
    columns, rows = layer.width(), layer.height()
    extent, pixel = layer.extent(), layer.rasterUnitsPerPixelY()
    empty = 0
    for first in range(0, rows, _STRIP_ROWS):
        height = min(_STRIP_ROWS, rows - first)
        top = extent.yMaximum() - first * pixel
        strip = QgsRectangle(extent.xMinimum(), top - height * pixel, extent.xMaximum(), top)
        # Its data are a view: the block must outlive them.
        block = provider.block(4, strip, columns, height)
        empty += bytes(block.data()).count(0)
    return empty / int(columns * rows)


@dataclass(frozen=True)
class FrozenPolygons:
    """A polygon layer as it was when the run began."""

    name: str
    features: QgsVectorLayerFeatureSource
    geometry_type: QgsWkbTypes.Type
    crs: QgsCoordinateReferenceSystem
    field: Optional[QgsField] = None


def freeze_polygons(
    layer: QgsVectorLayer, field: str = "", any_geometry: bool = False
) -> FrozenPolygons:
    """Return the polygons of ``layer`` for another thread; call on the main thread.

    Args:
        layer: A polygon layer.
        field: Field whose values are wanted as well; empty for none.
        any_geometry: Whether points and lines will do.

    Raises:
        JobError: ``INVALID_JOB`` when the layer holds no polygons or has no such field.
    """
    if not any_geometry and layer.geometryType() != QgsWkbTypes.GeometryType.PolygonGeometry:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"The layer {layer.name()!r} holds no polygons.",
            "Choose a polygon layer or a raster of regions.",
        )
    kept = None
    if field:
        index = layer.fields().lookupField(field)
        if index < 0:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"The layer {layer.name()!r} has no field {field!r}.",
                f"Choose one of its fields: {', '.join(layer.fields().names()) or 'none'}.",
            )
        kept = QgsField(layer.fields().at(index))
    return FrozenPolygons(
        layer.name(), QgsVectorLayerFeatureSource(layer), layer.wkbType(), layer.crs(), kept
    )


def write_polygons(
    frozen: FrozenPolygons,
    path: Path,
    placement: Placement,
    feedback: QgsFeedback,
) -> VectorSource:
    """Write the geometries of ``frozen`` to the GeoPackage ``path``; any thread.

    The values of its field, if any, go into the field `CLASS_FIELD`.

    Args:
        frozen: The layer.
        path: File that is not there yet.
        placement: Their way onto the raster.
        feedback: Asked for a cancel.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``CANCELLED``.
    """
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = "regions"
    fields = QgsFields()
    request = QgsFeatureRequest()
    if frozen.field is None:
        request.setNoAttributes()
    else:
        copied = QgsField(frozen.field)
        # Its own name might be that of the id or the geometry of a GeoPackage.
        copied.setName(CLASS_FIELD)
        fields.append(copied)
    fields.append(binary_field(PLACED))
    kind = plain_type(frozen.geometry_type)
    writer = QgsVectorFileWriter.create(
        str(path), fields, kind, frozen.crs, placement.context, options
    )
    for feature in frozen.features.getFeatures(request):
        if feedback.isCanceled():
            del writer
            raise CancelledError
        bare = QgsFeature(fields)
        if frozen.field is not None:
            bare.setAttribute(CLASS_FIELD, feature.attribute(frozen.field.name()))
        bare.setAttribute(PLACED, placement.wkb(feature.geometry()))
        bare.setGeometry(without_triangles(feature.geometry()))
        writer.addFeature(bare, QgsFeatureSink.Flag.FastInsert)
    problem = writer.errorMessage()
    del writer
    if problem:
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            f"The polygons of {frozen.name!r} could not be written to {path}: {problem}",
            "Make room in the temporary folder, or set another one in the Processing options.",
        )
    return VectorSource(str(path), "regions", crs_text(frozen.crs), frozen.name, PLACED)
