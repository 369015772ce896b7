"""Layers that a job reads: frozen on the main thread, written to files where needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Union

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsProcessingFeedback,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

from ..layers.features import write_features
from ..layers.placement import Placement
from ..layers.snapshot import (
    CLASS_FIELD,
    FrozenPolygons,
    freeze_polygons,
    plan_snapshot,
    write_polygons,
    write_snapshot,
)
from ..layers.source import FrozenRaster, freeze_classes, freeze_raster
from ..layers.surroundings import surroundings
from ..protocol.errors import ErrorCode, JobError
from ..protocol.parameters import Parameter
from ..protocol.source import LayerSource, RasterSource, StretchKind, VectorSource
from ..translation import tr
from .values import Values

FrozenLayer = Union[FrozenPolygons, FrozenRaster]


@dataclass(frozen=True)
class LayerInput:
    """One layer parameter of a run.

    Features are not frozen: they are read when the job is made, as Processing hands them out to
    any thread.

    Attributes:
        item: The parameter.
        name: Its name in Processing, that of the polygons where these were given.
        crs: Its CRS; may be invalid.
        frozen: The layer as it was when the run began, None for features.
    """

    item: Parameter
    name: str
    crs: QgsCoordinateReferenceSystem
    frozen: Optional[FrozenLayer] = None

    @property
    def placeholder(self) -> LayerSource:
        """A source that stands for the layer while a job is only checked."""
        if isinstance(self.frozen, FrozenRaster):
            return self.frozen.source
        return VectorSource("")

    def surroundings(self, values: Values, crs: QgsCoordinateReferenceSystem) -> QgsRectangle:
        """Return the surroundings of a raster or of features in another CRS."""
        transforms = values.context.transformContext()
        if isinstance(self.frozen, FrozenRaster):
            return surroundings(self.frozen.extent, self.crs, crs, transforms)
        extent = values.features(self.name).sourceExtent()
        return surroundings(extent, self.crs, crs, transforms)

    def field(self, name: str, values: Values) -> str:
        """Return what a field of the layer is called in the file that the engine reads."""
        if not values.text(name):
            return ""
        if self.frozen is None:
            return values.copied_field(name, self.name)
        return CLASS_FIELD if isinstance(self.frozen, FrozenPolygons) else ""

    def write(
        self,
        values: Values,
        folder: Path,
        crs: QgsCoordinateReferenceSystem,
        feedback: QgsProcessingFeedback,
    ) -> LayerSource:
        """Return what the engine reads, written into ``folder`` where no file backs the layer.

        Args:
            values: Those of the run.
            folder: Folder of intermediate files.
            crs: CRS of the raster that features are placed on.
            feedback: Asked for a cancel.

        Raises:
            JobError: ``OUTPUT_UNWRITABLE``, ``SOURCE_UNREADABLE`` or ``CANCELLED``.
        """
        transforms = values.context.transformContext()
        stem = folder / self.name.lower()
        if self.frozen is None:
            source, keys = values.features(self.name), values.keys(self.name)
            placement = Placement(source.sourceCrs(), crs, transforms)
            return write_features(source, keys, stem.with_suffix(".gpkg"), placement, feedback)
        if isinstance(self.frozen, FrozenPolygons):
            placement = Placement(self.frozen.crs, crs, transforms)
            return write_polygons(self.frozen, stem.with_suffix(".gpkg"), placement, feedback)
        if not self.frozen.needs_snapshot:
            return self.frozen.source
        plan = plan_snapshot(self.frozen, None, None)
        path = stem.with_suffix(".tif")
        return write_snapshot(self.frozen, plan, path, transforms, feedback).source


def freeze_input(item: Parameter, values: Values, field: str = "") -> Optional[LayerInput]:
    """Return the layer that was given for a parameter, None without one; on the main thread.

    Args:
        item: The parameter.
        values: Those of the run.
        field: Field of polygons whose values are wanted; empty for none.

    Raises:
        JobError: ``INVALID_JOB`` or ``SOURCE_UNREADABLE``.
    """
    name = _given_name(item, values)
    if item.kind is VectorSource or name == item.polygons:
        values.require_features(name)
        return LayerInput(item, name, values.features(name).sourceCrs())
    if item.kind is RasterSource:
        frozen: FrozenLayer = freeze_raster(values.raster(name), (1,), StretchKind.NONE)
        return LayerInput(item, name, frozen.crs, frozen)
    layer = values.layer(name)
    if layer is not None:
        frozen = _freeze_layer(layer, field, item.any_geometry)
        return LayerInput(item, name, frozen.crs, frozen)
    if item.optional and not values.is_given(name):
        return None
    raise values.unreadable(name)


def _given_name(item: Parameter, values: Values) -> str:
    names = [name for name in (item.name, item.polygons) if name]
    given: List[str] = [name for name in names if values.is_given(name)]
    if len(given) == 2:
        raise JobError(
            ErrorCode.INVALID_JOB,
            tr("{} was given twice, as a raster and as polygons.").format(tr(item.label)),
            tr("Choose one of them."),
        )
    if not given and len(names) == 2:
        raise JobError(
            ErrorCode.INVALID_JOB,
            tr("Nothing was given for {}.").format(tr(item.label)),
            tr("Choose a raster or a polygon layer."),
        )
    return given[0] if given else item.name


def _freeze_layer(layer: QgsMapLayer, field: str, any_geometry: bool) -> FrozenLayer:
    if isinstance(layer, QgsVectorLayer):
        return freeze_polygons(layer, field, any_geometry)
    if isinstance(layer, QgsRasterLayer):
        return freeze_classes(layer)
    raise JobError(
        ErrorCode.INVALID_JOB,
        tr("The layer {!r} is neither a raster nor polygons.").format(layer.name()),
        tr("Choose a raster or a polygon layer."),
    )
