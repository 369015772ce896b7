"""What all algorithms that read imagery share: bands and stretch, extent, pictures of web maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional

from qgis import utils
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsProcessingFeedback,
    QgsProject,
    QgsRectangle,
)

from ..compat import is_success
from ..layers.snapshot import plan_snapshot, write_snapshot
from ..layers.source import FrozenRaster, freeze_raster
from ..protocol.errors import ErrorCode, JobError
from ..protocol.parameters import Members, Parameter
from ..protocol.source import LayerSource, StretchKind
from ..translation import tr
from .job_algorithm import JobAlgorithm, protocol_extent
from .layer_inputs import LayerInput
from .values import Values

_SOURCE = ("source",)
_BANDS, _STRETCH = ("source", "bands"), ("source", "stretch", "kind")
_EXTENT, _RESOLUTION = ("grid", "extent"), ("grid", "resolution")


class ImageryAlgorithm(JobAlgorithm):
    """Base of the algorithms that read imagery."""

    area: Optional[QgsRectangle]
    is_visible_area: bool

    @property
    def frozen(self) -> FrozenRaster:
        """The imagery as it was when the run began."""
        frozen = self.inputs[_SOURCE].frozen
        if not isinstance(frozen, FrozenRaster):
            raise TypeError("The imagery is no raster.")
        return frozen

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work."""
        super().check(values)
        if self.area is not None and not self.area.intersects(self.frozen.extent):
            raise JobError(
                ErrorCode.EXTENT_OUTSIDE,
                tr("The extent does not touch the layer {!r}.").format(self.frozen.name),
                tr("Choose an extent inside the layer, in its CRS or with [EPSG:code] behind it."),
            )
        if self.frozen.needs_snapshot:
            plan_snapshot(self.frozen, self.area, self._resolution(values))

    def prepare(self, values: Values, feedback: QgsProcessingFeedback) -> None:
        """Freeze the layers on the main thread."""
        super().prepare(values, feedback)
        for note in self.frozen.notes:
            feedback.pushInfo(note)
        if self.is_visible_area:
            text = tr("{!r} has no end, so the part that the map shows is read.")
            feedback.pushInfo(text.format(self.frozen.name))

    def freeze(self, values: Values) -> None:
        """Remember the layers and the extent.

        Maps of the world are read around another layer of the run, or where the window shows them.
        """
        super().freeze(values)
        self.area = values.extent("EXTENT", self.frozen.crs)
        if self.area is None and (self.frozen.needs_snapshot or self.frozen.is_vast):
            self.area = self._surroundings(values)
        self.is_visible_area = False
        if self.area is None and (self.frozen.is_vast or self.frozen.columns == 0):
            self.area = visible_extent(self.frozen.crs)
            self.is_visible_area = self.area is not None

    def freeze_layer(self, item: Parameter, values: Values) -> Optional[LayerInput]:
        """Return the layer of one parameter; imagery with the chosen bands and stretch."""
        if item.path != _SOURCE:
            return super().freeze_layer(item, values)
        layer = values.raster(item.name)
        stretch, bands = self.parameter(_STRETCH), self.parameter(_BANDS)
        word = values.plain(stretch)
        if word not in stretch.words:
            raise stretch.misfit("a word", word)
        frozen = freeze_raster(layer, values.plain(bands), StretchKind(word))
        return LayerInput(item, item.name, frozen.crs, frozen)

    def plain_values(self, values: Values) -> Dict[Members, Any]:
        """Return the values with the extent of the run; the imagery holds bands and stretch."""
        plain = super().plain_values(values)
        read = {path: value for path, value in plain.items() if path[0] != "source"}
        return {**read, _EXTENT: protocol_extent(self.area)}

    def write_layer(
        self, given: LayerInput, values: Values, folder: Path, feedback: QgsProcessingFeedback
    ) -> LayerSource:
        """Return what the engine reads of one layer; web maps are pictured first."""
        if given.item.path != _SOURCE or not self.frozen.needs_snapshot:
            return super().write_layer(given, values, folder, feedback)
        plan = plan_snapshot(self.frozen, self.area, self._resolution(values))
        feedback.pushInfo(plan.description)
        feedback.setProgressText(tr("Taking a picture of the layer"))
        transforms = values.context.transformContext()
        snapshot = write_snapshot(self.frozen, plan, folder / "imagery.tif", transforms, feedback)
        if snapshot.missing > 0:
            feedback.pushWarning(
                tr(
                    "The server sent nothing for {:.1%} of {!r}: these pixels stay nodata. "
                    "Run again later, or with a coarser resolution, to fill them."
                ).format(snapshot.missing, self.frozen.name)
            )
        return snapshot.source

    def _resolution(self, values: Values) -> Optional[float]:
        found: Optional[float] = values.plain(self.parameter(_RESOLUTION))
        return found

    def _surroundings(self, values: Values) -> Optional[QgsRectangle]:
        """Return the surroundings of the layer that the imagery is read for, None without one."""
        for given in self.inputs.values():
            if given.item.path != _SOURCE and not given.item.optional:
                return given.surroundings(values, self.frozen.crs)
        return None


def visible_extent(crs: QgsCoordinateReferenceSystem) -> Optional[QgsRectangle]:
    """Return what the map of the window shows; None without a window, or outside of ``crs``.

    Args:
        crs: CRS of the answer.
    """
    window = utils.iface
    if window is None or window.mapCanvas() is None:
        return None
    settings = window.mapCanvas().mapSettings()
    visible = QgsGeometry.fromQPolygonF(settings.visiblePolygon())
    transform = QgsCoordinateTransform(settings.destinationCrs(), crs, QgsProject.instance())
    try:
        if not is_success(visible.transform(transform)):
            return None
    except QgsCsException:
        return None
    rectangle = visible.boundingBox()
    return None if rectangle.isNull() or rectangle.isEmpty() else rectangle
