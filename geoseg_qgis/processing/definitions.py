"""Parameters of Processing, made from the declared parameters of jobs."""

from __future__ import annotations

from typing import Any, List

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from ..protocol.parameters import Choice, Parameter, Role
from ..protocol.source import Extent, LayerSource, RasterSource, VectorSource
from ..translation import tr

_POLYGONS = QgsProcessing.SourceType.TypeVectorPolygon
_FILTERS = {Role.HTML_FILE: "HTML (*.html)", Role.CSV_FILE: "CSV (*.csv)"}


def definitions(item: Parameter) -> List[QgsProcessingParameterDefinition]:
    """Return the parameters of Processing: two for a layer whose polygons have their own name."""
    if item.polygons:
        raster = QgsProcessingParameterRasterLayer(
            item.name, tr("{} raster").format(tr(item.label)), optional=True
        )
        polygons = QgsProcessingParameterFeatureSource(
            item.polygons, tr("{} polygons").format(tr(item.label)), [_POLYGONS], optional=True
        )
        made = [raster, polygons]
    else:
        made = [_definition(item)]
    for definition in made:
        definition.setHelp(item.full_help(tr))
        if item.advanced:
            flag = QgsProcessingParameterDefinition.Flag.FlagAdvanced
            definition.setFlags(definition.flags() | flag)
    return made


def _definition(item: Parameter) -> QgsProcessingParameterDefinition:
    if item.is_output:
        return _output(item)
    if item.kind in (RasterSource, VectorSource, LayerSource):
        return _layer(item)
    if item.kind is Extent:
        return QgsProcessingParameterExtent(item.name, item.title(tr), optional=True)
    if item.kind in (int, float):
        return _number(item)
    return _choice(item) if item.kind is bool or item.words else _text(item)


def _output(item: Parameter) -> QgsProcessingParameterDefinition:
    made: Any = {"optional": True, "createByDefault": item.by_default}
    if item.role is Role.RASTER_FILE:
        return QgsProcessingParameterRasterDestination(item.name, item.title(tr), **made)
    if item.role is Role.POLYGON_FILE:
        return QgsProcessingParameterFeatureSink(item.name, item.title(tr), _POLYGONS, **made)
    if item.role is Role.NEW_FOLDER:
        return QgsProcessingParameterFolderDestination(item.name, item.title(tr), **made)
    return QgsProcessingParameterFileDestination(
        item.name, item.title(tr), _FILTERS[item.role], **made
    )


def _layer(item: Parameter) -> QgsProcessingParameterDefinition:
    if item.kind is RasterSource:
        return QgsProcessingParameterRasterLayer(item.name, item.title(tr))
    if item.kind is VectorSource:
        any_geometry = [QgsProcessing.SourceType.TypeVectorAnyGeometry]
        return QgsProcessingParameterFeatureSource(item.name, item.title(tr), any_geometry)
    vectors = QgsProcessing.SourceType.TypeVectorAnyGeometry if item.any_geometry else _POLYGONS
    return QgsProcessingParameterMapLayer(
        item.name,
        item.title(tr),
        optional=item.optional,
        types=[vectors, QgsProcessing.SourceType.TypeRaster],
    )


def _number(item: Parameter) -> QgsProcessingParameterNumber:
    kinds = QgsProcessingParameterNumber.Type
    number = QgsProcessingParameterNumber(
        item.name,
        item.title(tr),
        kinds.Integer if item.kind is int else kinds.Double,
        item.default,
        optional=item.default is None,
        minValue=item.minimum,
        maxValue=item.maximum,
    )
    if item.kind is float and item.maximum <= 1.0:
        number.setMetadata({"widget_wrapper": {"decimals": 3}})
    return number


def _choice(item: Parameter) -> QgsProcessingParameterDefinition:
    if item.kind is bool:
        return QgsProcessingParameterBoolean(item.name, item.title(tr), item.default)
    return QgsProcessingParameterEnum(
        item.name,
        item.title(tr),
        options=list(item.words),
        defaultValue=_default(item),
        usesStaticStrings=True,
    )


def _text(item: Parameter) -> QgsProcessingParameterDefinition:
    name, title, optional = item.name, item.title(tr), item.optional
    if item.role is Role.FIELD:
        return QgsProcessingParameterField(
            name, title, parentLayerParameterName=item.layer, optional=optional
        )
    if item.role is Role.FOLDER:
        folder = QgsProcessingParameterFile.Behavior.Folder
        return QgsProcessingParameterFile(name, title, folder, optional=optional)
    if item.item_type is int:
        return QgsProcessingParameterBand(
            name, title, parentLayerParameterName="INPUT", optional=optional, allowMultiple=True
        )
    multiline = item.role is Role.LINES
    return QgsProcessingParameterString(name, title, _default(item), multiline, optional)


def _default(item: Parameter) -> Any:
    """Return what a dialog starts with."""
    default = item.suggestion or (item.default if item.optional else None)
    return default.value if isinstance(default, Choice) else default or None
