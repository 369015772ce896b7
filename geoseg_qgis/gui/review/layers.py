"""What a review reads from its layers and writes into them; main thread only."""

from __future__ import annotations

import re
from typing import Any, List, Optional

from qgis.core import (
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsVectorDataProvider,
    QgsVectorLayer,
    QgsVectorLayerUtils,
    QgsWkbTypes,
)

from ...compat import is_null, is_success, text_field
from ...translation import tr
from .journal import MISSED, POLYGON, Status
from .queue import Item

RANK = "fix_rank"
STATUS = "review"
_GONE = (Status.DELETED, Status.REDONE)


def is_assessed(layer: Any) -> bool:
    """Return whether a layer holds polygons with ranks."""
    return (
        isinstance(layer, QgsVectorLayer)
        and layer.isValid()
        and layer.geometryType() == QgsWkbTypes.GeometryType.PolygonGeometry
        and _field(layer, RANK) >= 0
    )


def is_missed(layer: Any) -> bool:
    """Return whether a layer holds objects that a mask likely lacks."""
    return is_assessed(layer) and _field(layer, "iou") < 0


def _field(layer: QgsVectorLayer, name: str) -> int:
    """Return the index of a field, the last one where the mask had one of the same name."""
    names = layer.fields().names()
    found = [at for at, one in enumerate(names) if re.fullmatch(rf"{name}(_\d+)?", one)]
    return found[-1] if found else -1


class ReviewLayer:
    """One layer of a review.

    Args:
        layer: Polygons with ranks.
    """

    def __init__(self, layer: QgsVectorLayer) -> None:
        self.layer = layer
        self.identifier = str(layer.id())
        self.kind = MISSED if is_missed(layer) else POLYGON

    def prepare(self) -> str:
        """Add the field of the status; return why that cannot be, empty when it is there."""
        layer = self.layer
        if layer.fields().lookupField(STATUS) >= 0:
            return ""
        field = text_field(STATUS)
        if layer.isEditable():
            added = layer.addAttribute(field)
        else:
            able = layer.dataProvider().capabilities()
            added = bool(able & QgsVectorDataProvider.Capability.AddAttributes)
            added = added and layer.dataProvider().addAttributes([field])
        layer.updateFields()
        if added:
            return ""
        return tr(
            "The layer {!r} takes no field for the review. Save it as a GeoPackage first."
        ).format(layer.name())

    def items(self) -> List[Item]:
        """Return all polygons that have a rank."""
        layer = self.layer
        rank, status = _field(layer, RANK), layer.fields().lookupField(STATUS)
        score = _field(layer, "score" if self.kind == MISSED else "iou")
        area, problem = _field(layer, "area_m2"), _field(layer, "problem")
        found = []
        for feature in layer.getFeatures():
            number = _number(feature, rank)
            if number is None:
                continue
            found.append(
                Item(
                    (self.kind, feature.id()),
                    int(number),
                    _number(feature, score),
                    _number(feature, area) if area >= 0 else feature.geometry().area(),
                    _text(feature, problem),
                    _status(_text(feature, status)),
                )
            )
        return found

    def feature(self, identifier: int) -> QgsFeature:
        """Return a feature by its id; an invalid one when it is gone."""
        return self.layer.getFeature(identifier)

    def set_status(self, identifier: int, status: Status) -> bool:
        """Write the status of a feature at once; into the edit buffer of a layer being edited."""
        index = self.layer.fields().lookupField(STATUS)
        if index < 0:
            return False
        if self.layer.isEditable():
            self.layer.beginEditCommand(tr("Review"))
            fine = self.layer.changeAttributeValue(identifier, index, status.value)
            self.layer.endEditCommand()
        else:
            changes = {identifier: {index: status.value}}
            fine = self.layer.dataProvider().changeAttributeValues(changes)
        self.layer.triggerRepaint()
        return bool(fine)

    def add(self, origin: QgsFeature, crs_of: QgsVectorLayer) -> Optional[int]:
        """Add the outline of a feature of another layer; return its id, None when that fails."""
        layer = self.layer
        geometry = QgsGeometry(origin.geometry())
        transform = QgsCoordinateTransform(crs_of.crs(), layer.crs(), QgsProject.instance())
        try:
            if not is_success(geometry.transform(transform)):
                return None
        except QgsCsException:
            return None
        geometry.convertToMultiType()
        feature = QgsVectorLayerUtils.createFeature(layer, geometry)
        for name in ("class", "class_id"):
            source, target = origin.fieldNameIndex(name), layer.fields().lookupField(name)
            if source >= 0 and target >= 0:
                feature.setAttribute(target, origin.attribute(source))
        feature.setAttribute(layer.fields().lookupField(STATUS), Status.ADDED.value)
        if layer.isEditable():
            layer.beginEditCommand(tr("Review"))
            fine = layer.addFeature(feature)
            layer.endEditCommand()
            identifier = feature.id()
        else:
            fine, added = layer.dataProvider().addFeatures([feature])
            identifier = added[0].id() if fine and added else -1
        layer.triggerRepaint()
        return int(identifier) if fine else None

    def remove(self, identifiers: List[int]) -> bool:
        """Delete features."""
        layer = self.layer
        if layer.isEditable():
            layer.beginEditCommand(tr("Review"))
            fine = layer.deleteFeatures(identifiers)
            layer.endEditCommand()
        else:
            fine = layer.dataProvider().deleteFeatures(identifiers)
        layer.triggerRepaint()
        return bool(fine)

    def marked_for_deletion(self) -> List[int]:
        """Return the features that the review has dropped but that are still there."""
        return [item.key[1] for item in self.items() if item.status in _GONE]


def _number(feature: QgsFeature, index: int) -> Optional[float]:
    value: Any = feature.attribute(index) if index >= 0 else None
    return None if is_null(value) else float(value)


def _text(feature: QgsFeature, index: int) -> str:
    value = feature.attribute(index) if index >= 0 else None
    return "" if is_null(value) else str(value)


def _status(text: str) -> Status:
    try:
        return Status(text)
    except ValueError:
        return Status.OPEN
