"""Outlines into polygon layers: the user's own, or a new GeoPackage that never replaces a file."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeature,
    QgsField,
    QgsFields,
    QgsFillSymbol,
    QgsGeometry,
    QgsProject,
    QgsSingleSymbolRenderer,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsVectorLayerUtils,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QDateTime, QStandardPaths

from ...compat import integer_field, is_success, real_field, text_field
from ...protocol.errors import ErrorCode, JobError
from ...translation import tr

TABLE = "outlines"
_UNSAFE = '<>:"/\\|?*'
_OUTLINE = {
    "color": "255,170,0,40",
    "outline_color": "#ffaa00",
    "outline_width": "0.5",
    "outline_style": "solid",
}


@dataclass(frozen=True)
class AcceptedOutline:
    """An outline that the user accepted.

    Attributes:
        geometry: In ``crs``.
        crs: CRS of the imagery; may be invalid.
        score: How far the model trusts it, 0..1.
        model: Name of the preset.
        prompts: Number of its prompts.
    """

    geometry: QgsGeometry
    crs: QgsCoordinateReferenceSystem
    score: float
    model: str
    prompts: int


def create_layer(image_name: str, crs: QgsCoordinateReferenceSystem) -> QgsVectorLayer:
    """Return a new GeoPackage layer for outlines in the project, asking nothing.

    It lies in the folder of the project, else in the documents of the user, else at home.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` when none of these folders can be written.
    """
    name = tr("{} - outlines").format(image_name)
    problem = ""
    for folder in _folders():
        path = _free_path(folder, name)
        problem = _write_empty(path, crs)
        if not problem:
            layer = QgsVectorLayer(f"{path}|layername={TABLE}", name, "ogr")
            if layer.isValid():
                layer.setRenderer(QgsSingleSymbolRenderer(QgsFillSymbol.createSimple(_OUTLINE)))
                QgsProject.instance().addMapLayer(layer)
                return layer
    raise JobError(
        ErrorCode.OUTPUT_UNWRITABLE,
        tr("No new layer for outlines could be written."),
        tr("Save the project in a folder that you may write to, or choose another layer."),
        problem,
    )


def add_outline(layer: QgsVectorLayer, outline: AcceptedOutline) -> int:
    """Add an outline to the edit buffer of a layer as one step that can be undone.

    Topological editing and the avoidance of overlaps are off meanwhile: they would move the corners
    of neighbours, or cut the outline, without being asked for.

    Returns:
        Number of features that were added; layers of single polygons get one for each part.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` when the layer cannot be edited or refuses the feature;
            ``INVALID_JOB`` when the outline has no place in the CRS of the layer.
    """
    geometries = _fitted(outline, layer)
    if not layer.isEditable() and not layer.startEditing():
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            tr("The layer {!r} cannot be edited.").format(layer.name()),
            tr("Choose another layer, or a new one."),
        )
    values = _values(layer, outline)
    with _without_topology():
        layer.beginEditCommand(tr("Accept outline"))
        try:
            for geometry in geometries:
                feature: QgsFeature = QgsVectorLayerUtils.createFeature(layer, geometry, values)
                if not layer.addFeature(feature):
                    raise JobError(
                        ErrorCode.OUTPUT_UNWRITABLE,
                        tr("The layer {!r} does not take the outline.").format(layer.name()),
                        tr("Check its constraints, or choose a new layer."),
                    )
        except BaseException:
            layer.destroyEditCommand()
            raise
        layer.endEditCommand()
    layer.triggerRepaint()
    return len(geometries)


@contextmanager
def _without_topology() -> Iterator[None]:
    """Switch topological editing and the avoidance of overlaps off; they come back in any case."""
    project = QgsProject.instance()
    was_dirty = project.isDirty()
    topological = project.topologicalEditing()
    mode, avoided = project.avoidIntersectionsMode(), project.avoidIntersectionsLayers()
    try:
        project.setTopologicalEditing(False)
        project.setAvoidIntersectionsMode(type(mode)(0))
        project.setAvoidIntersectionsLayers([])
        yield
    finally:
        project.setAvoidIntersectionsLayers(avoided)
        project.setAvoidIntersectionsMode(mode)
        project.setTopologicalEditing(topological)
        project.setDirty(was_dirty)


def _fitted(outline: AcceptedOutline, layer: QgsVectorLayer) -> List[QgsGeometry]:
    """Return the outline in the CRS of a layer and with its type of geometry."""
    geometry = QgsGeometry(outline.geometry)
    if outline.crs.isValid() and layer.crs().isValid():
        transform = QgsCoordinateTransform(outline.crs, layer.crs(), QgsProject.instance())
        try:
            placed = is_success(geometry.transform(transform))
        except QgsCsException:
            placed = False
        if not placed:
            raise JobError(
                ErrorCode.INVALID_JOB,
                tr("The outline has no place in the CRS of the layer {!r}.").format(layer.name()),
                tr("Choose a layer in another CRS, or a new one."),
            )
    if not geometry.isGeosValid():
        geometry = geometry.makeValid()
    polygons = QgsWkbTypes.GeometryType.PolygonGeometry
    curved = QgsWkbTypes.isCurvedType(layer.wkbType())
    parts = [
        QgsGeometry(part.constGet().toCurveType()) if curved else part
        for part in geometry.coerceToType(layer.wkbType())
        if part.type() == polygons and not part.isEmpty()
    ]
    if not parts:
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            tr("The layer {!r} does not take polygons.").format(layer.name()),
            tr("Choose a polygon layer, or a new one."),
        )
    return parts


def _values(layer: QgsVectorLayer, outline: AcceptedOutline) -> Dict[int, Any]:
    """Return the values of the fields that are known by their names."""
    now = QDateTime.currentDateTime()
    known = {
        "score": round(outline.score, 4),
        "model": outline.model,
        "prompts": outline.prompts,
        "date": now,
    }
    values = {}
    for index, field in enumerate(layer.fields()):
        name = field.name().lower()
        if name in known:
            value = _converted(known[name], field)
            if value is not None:
                values[index] = value
    return values


def _converted(value: Any, field: QgsField) -> Any:
    """Return a value as a field takes it, None where it has no such form."""
    kind = field.typeName().lower()
    if field.isNumeric():
        if isinstance(value, (str, QDateTime)):
            return None
        return round(value) if kind.startswith("int") else float(value)
    if isinstance(value, QDateTime):
        if kind == "date":
            return value.date()
        return value if kind.startswith("datetime") else value.toString("yyyy-MM-ddTHH:mm:ss")
    text = str(value)
    return text[: field.length()] if field.length() > 0 else text


def _folders() -> Iterator[Path]:
    home = QgsProject.instance().homePath()
    if home and Path(home).is_dir():
        yield Path(home)
    documents = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    if documents and Path(documents).is_dir():
        yield Path(documents)
    yield Path.home()


def _free_path(folder: Path, name: str) -> Path:
    """Return a path for which there is no file yet."""
    stem = "".join("_" if sign in _UNSAFE or ord(sign) < ord(" ") else sign for sign in name)
    stem = stem.strip(" .")[:120] or TABLE
    path, number = folder / f"{stem}.gpkg", 1
    while path.exists():
        number += 1
        path = folder / f"{stem} {number}.gpkg"
    return path


def _write_empty(path: Path, crs: QgsCoordinateReferenceSystem) -> str:
    """Write a GeoPackage without features; return what went wrong, if anything."""
    fields = QgsFields()
    for field in (
        real_field("score"),
        text_field("model"),
        integer_field("prompts"),
        text_field("date"),
    ):
        fields.append(field)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = TABLE
    writer = QgsVectorFileWriter.create(
        str(path),
        fields,
        QgsWkbTypes.Type.MultiPolygon,
        crs,
        QgsProject.instance().transformContext(),
        options,
    )
    problem = "" if is_success(writer.hasError()) else writer.errorMessage()
    del writer
    return problem


def inform(bar: Any, text: str) -> None:
    """Show a sentence in a message bar for a few seconds."""
    bar.pushMessage("GeoSeg", text, Qgis.MessageLevel.Info, 5)
