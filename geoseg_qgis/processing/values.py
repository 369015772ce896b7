"""The values of one run, read by parameter name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeatureRequest,
    QgsFeatureSink,
    QgsFields,
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingOutputLayerDefinition,
    QgsRasterLayer,
    QgsRectangle,
    QgsWkbTypes,
)

from ..layers.features import SOURCE_ID
from ..protocol.errors import ErrorCode, JobError
from ..translation import tr


@dataclass(frozen=True)
class Values:
    """Parameters of one run, with the algorithm and the context that give them their meaning."""

    algorithm: QgsProcessingAlgorithm
    parameters: Dict[str, Any]
    context: QgsProcessingContext

    def is_given(self, name: str) -> bool:
        """Return whether there is a value; an optional number left out would read as 0."""
        value = self.parameters.get(name)
        return value is not None and value != ""

    def text(self, name: str) -> str:
        """Return a text without blanks around it."""
        text: str = self.algorithm.parameterAsString(self.parameters, name, self.context)
        return text.strip()

    def choice(self, name: str) -> str:
        """Return the word of a choice."""
        word: str = self.algorithm.parameterAsEnumString(self.parameters, name, self.context)
        return word

    def number(self, name: str) -> float:
        """Return a number."""
        number: float = self.algorithm.parameterAsDouble(self.parameters, name, self.context)
        return number

    def optional_number(self, name: str) -> Optional[float]:
        """Return a number, or None when it was left out."""
        return self.number(name) if self.is_given(name) else None

    def integers(self, name: str) -> List[int]:
        """Return the numbers of a list."""
        numbers: List[int] = self.algorithm.parameterAsInts(self.parameters, name, self.context)
        return numbers

    def layer(self, name: str) -> Optional[QgsMapLayer]:
        """Return a map layer, or None when it was left out."""
        return self.algorithm.parameterAsLayer(self.parameters, name, self.context)

    def raster(self, name: str) -> QgsRasterLayer:
        """Return a raster layer.

        Raises:
            JobError: ``SOURCE_UNREADABLE``.
        """
        layer = self.algorithm.parameterAsRasterLayer(self.parameters, name, self.context)
        if layer is None:
            raise JobError(
                ErrorCode.SOURCE_UNREADABLE,
                tr("{} cannot be read as a raster.").format(self.parameters.get(name)),
                tr("Check that the file exists and that QGIS shows it as a layer."),
            )
        return layer

    def features(self, name: str) -> QgsProcessingFeatureSource:
        """Return features, only the selected ones where the user asks for that.

        Raises:
            JobError: ``SOURCE_UNREADABLE``.
        """
        source = self.algorithm.parameterAsSource(self.parameters, name, self.context)
        if source is None:
            raise JobError(
                ErrorCode.SOURCE_UNREADABLE,
                tr("{} cannot be read as a vector layer.").format(self.parameters.get(name)),
                tr("Check that the file exists and that QGIS shows it as a layer."),
            )
        # The engine tells about broken geometries, and how many there are.
        source.setInvalidGeometryCheck(QgsFeatureRequest.InvalidGeometryCheck.GeometryNoCheck)
        return source

    def require_features(self, name: str, empty: str, hint: str) -> None:
        """Refuse a layer without features, or of which none is selected where only those count.

        Args:
            name: Parameter of the features.
            empty: What to say of an empty layer.
            hint: What to do about it.

        Raises:
            JobError: ``INVALID_JOB``, or ``SOURCE_UNREADABLE``.
        """
        if self.features(name).featureCount() != 0:
            return
        given = self.parameters.get(name)
        if getattr(given, "selectedFeaturesOnly", False):
            empty = tr("No feature is selected, and only selected ones are asked for.")
            hint = tr("Select features, or clear 'Selected features only'.")
        raise JobError(ErrorCode.INVALID_JOB, empty, hint)

    def keys(self, name: str) -> Tuple[int, ...]:
        """Return the indices of the primary key of a vector layer."""
        layer = self.algorithm.parameterAsVectorLayer(self.parameters, name, self.context)
        return () if layer is None else tuple(layer.primaryKeyAttributes())

    def copied_field(self, name: str, layer: str) -> str:
        """Return the name of a field of ``layer`` as `write_features` writes it."""
        field = self.text(name)
        source = self.features(layer)
        return SOURCE_ID if source.fields().lookupField(field) in self.keys(layer) else field

    def extent(self, name: str, crs: QgsCoordinateReferenceSystem) -> Optional[QgsRectangle]:
        """Return an extent in ``crs``, or None when it was left out."""
        if not self.is_given(name):
            return None
        extent = self.algorithm.parameterAsExtent(self.parameters, name, self.context, crs)
        return None if extent.isNull() else extent

    def flag(self, name: str) -> bool:
        """Return a yes or no."""
        flag: bool = self.algorithm.parameterAsBoolean(self.parameters, name, self.context)
        return flag

    def file(self, name: str) -> Optional[str]:
        """Return the file of a destination, or None when nobody asked for it; call once a run."""
        if not self.is_given(name):
            return None
        path: str = self.algorithm.parameterAsFileOutput(self.parameters, name, self.context)
        return path

    def raster_file(self, name: str) -> Optional[str]:
        """Return the file of a raster destination, or None when nobody asked for it.

        Call once a run: a temporary output gets another name at each call.
        """
        if not self.is_given(name):
            return None
        path: str = self.algorithm.parameterAsOutputLayer(self.parameters, name, self.context)
        return path or None

    def polygon_sink(
        self, name: str, fields: QgsFields, crs: QgsCoordinateReferenceSystem
    ) -> Tuple[QgsFeatureSink, str]:
        """Return a sink of multipolygons, and its id or path.

        Raises:
            JobError: ``OUTPUT_UNWRITABLE``.
        """
        kind = QgsWkbTypes.Type.MultiPolygon
        reason = ""
        try:
            sink, destination = self.algorithm.parameterAsSink(
                self.parameters, name, self.context, fields, kind, crs
            )
        except QgsProcessingException as error:
            sink, destination, reason = None, "", str(error)
        if sink is None:
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                tr("The polygons cannot be written to {}.").format(self.destination(name)),
                tr("Choose another file, or close the program that holds this one."),
                reason,
            )
        return sink, destination

    def destination(self, name: str) -> str:
        """Return what the user wrote for a destination; '' for none."""
        value = self.parameters.get(name)
        if isinstance(value, QgsProcessingOutputLayerDefinition):
            value = value.sink.staticValue()
        return value if isinstance(value, str) else ""
