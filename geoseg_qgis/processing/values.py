"""The values of one run, read by parameter name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeatureRequest,
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingFeatureSource,
    QgsProcessingOutputLayerDefinition,
    QgsProperty,
    QgsRasterLayer,
    QgsRectangle,
)

from ..layers.features import SOURCE_ID
from ..protocol.errors import ErrorCode, JobError
from ..protocol.legend import LegendClass, parse_classes
from ..protocol.parameters import Parameter
from ..translation import tr


@dataclass(frozen=True)
class Values:
    """Parameters of one run, with the algorithm and the context that give them their meaning."""

    algorithm: QgsProcessingAlgorithm
    parameters: Dict[str, Any]
    context: QgsProcessingContext

    def is_given(self, name: str) -> bool:
        """Return whether there is a value; an optional number left out would read as 0.

        Batches wrap an empty cell of an output, which is no output.
        """
        value = self.parameters.get(name)
        if isinstance(value, QgsProcessingOutputLayerDefinition):
            value = _destination_of(value)
        return value is not None and value != ""

    def label(self, name: str) -> str:
        """Return the name of a parameter for people."""
        label: str = self.algorithm.parameterDefinition(name).description()
        return label

    def plain(self, item: Parameter) -> Any:
        """Return the JSON form of a value that is neither layer, extent nor file.

        None means that nothing was given. What is no number stays as it is, so that the check of
        the job can name it.

        Raises:
            JobError: ``INVALID_CLASSES``.
        """
        if item.item_type is LegendClass:
            return parse_classes(self.text(item.name))
        if item.item_type is int:
            return self.algorithm.parameterAsInts(self.parameters, item.name, self.context)
        if item.item_type is str:
            parts = re.split(r"[,;\n]", self.text(item.name))
            return [part.strip() for part in parts if part.strip()]
        if item.kind in (int, float):
            return self._number(item)
        if item.kind is bool:
            return self.algorithm.parameterAsBoolean(self.parameters, item.name, self.context)
        return self._choice(item.name) if item.words else self.text(item.name)

    def text(self, name: str) -> str:
        """Return a text without blanks around it."""
        text: str = self.algorithm.parameterAsString(self.parameters, name, self.context)
        return text.strip()

    def _choice(self, name: str) -> str:
        given = self.parameters.get(name)
        if isinstance(given, str):
            return given
        word: str = self.algorithm.parameterAsEnumString(self.parameters, name, self.context)
        return word

    def _number(self, item: Parameter) -> Any:
        given = self.parameters.get(item.name)
        if not self.is_given(item.name):
            return None
        if isinstance(given, str):
            try:
                number = float(given)
            except ValueError:
                return given
        else:
            number = self.algorithm.parameterAsDouble(self.parameters, item.name, self.context)
        return int(number) if item.kind is int and number.is_integer() else number

    def layer(self, name: str) -> Optional[QgsMapLayer]:
        """Return a map layer, or None when there is none."""
        return self.algorithm.parameterAsLayer(self.parameters, name, self.context)

    def raster(self, name: str) -> QgsRasterLayer:
        """Return a raster layer.

        Raises:
            JobError: ``SOURCE_UNREADABLE``, or ``INVALID_JOB`` when none was given.
        """
        layer = self.algorithm.parameterAsRasterLayer(self.parameters, name, self.context)
        if layer is None:
            raise self.unreadable(name)
        return layer

    def features(self, name: str) -> QgsProcessingFeatureSource:
        """Return features, only the selected ones where the user asks for that.

        Raises:
            JobError: ``SOURCE_UNREADABLE``, or ``INVALID_JOB`` when none were given.
        """
        source = self.algorithm.parameterAsSource(self.parameters, name, self.context)
        if source is None:
            raise self.unreadable(name)
        # The engine reports broken geometries, and how many there are.
        source.setInvalidGeometryCheck(QgsFeatureRequest.InvalidGeometryCheck.GeometryNoCheck)
        return source

    def require_features(self, name: str) -> None:
        """Refuse a layer without features, or of which none is selected where only those count.

        Raises:
            JobError: ``INVALID_JOB``, or ``SOURCE_UNREADABLE``.
        """
        if self.features(name).featureCount() != 0:
            return
        if getattr(self.parameters.get(name), "selectedFeaturesOnly", False):
            raise JobError(
                ErrorCode.INVALID_JOB,
                tr("{}: no feature is selected, and only selected ones are used.").format(
                    self.label(name)
                ),
                tr("Select features, or clear 'Selected features only'."),
            )
        raise JobError(
            ErrorCode.INVALID_JOB,
            tr("{}: the layer is empty.").format(self.label(name)),
            tr("Add features to it, or choose another layer."),
        )

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

    def file(self, name: str) -> str:
        """Return the file of a destination that is given.

        Call once a run: a temporary output gets another name at each call.
        """
        path: str = self.algorithm.parameterAsFileOutput(self.parameters, name, self.context)
        return path

    def raster_file(self, name: str) -> str:
        """Return the file of a raster destination that is given; call once a run."""
        path: str = self.algorithm.parameterAsOutputLayer(self.parameters, name, self.context)
        return path

    def destination(self, name: str) -> str:
        """Return what the user wrote for a destination; '' for none."""
        value = self.parameters.get(name)
        if isinstance(value, QgsProcessingOutputLayerDefinition):
            value = _destination_of(value)
        return value if isinstance(value, str) else ""

    def unreadable(self, name: str) -> JobError:
        """Return the error for a layer that was not given or cannot be read."""
        if not self.is_given(name):
            return JobError(
                ErrorCode.INVALID_JOB,
                tr("Nothing was given for {}.").format(self.label(name)),
                tr("Choose a layer."),
            )
        return JobError(
            ErrorCode.SOURCE_UNREADABLE,
            tr("{}: {} cannot be read.").format(self.label(name), self.parameters[name]),
            tr("Check that the file exists and that QGIS shows it as a layer of this type."),
        )


def _destination_of(definition: QgsProcessingOutputLayerDefinition) -> Optional[str]:
    """Return the text of a destination; one that is computed counts as given."""
    sink = definition.sink
    if sink.propertyType() == QgsProperty.Type.StaticProperty:
        value = sink.staticValue()
        return value if isinstance(value, str) else None
    return str(sink.asExpression()) if sink.isActive() else None
