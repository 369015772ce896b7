"""The few places where QGIS 3.22 and QGIS 4 need different words."""

from __future__ import annotations

from typing import Any

from qgis.core import NULL, Qgis, QgsField, QgsProcessingAlgorithm
from qgis.PyQt.QtCore import QMetaType, QVariant

_FIELD_TYPES_ARE_META_TYPES = Qgis.QGIS_VERSION_INT >= 33800
_PLAIN_TYPES = ("Bool", "Int", "LongLong", "Double", "QString", "QDate", "QDateTime", "QByteArray")


def _field(name: str, meta_type: str, variant: str) -> QgsField:
    if _FIELD_TYPES_ARE_META_TYPES:
        return QgsField(name, getattr(QMetaType.Type, meta_type))
    return QgsField(name, getattr(QVariant, variant))


def text_field(name: str) -> QgsField:
    """Return a text field."""
    return _field(name, "QString", "String")


def integer_field(name: str) -> QgsField:
    """Return a 32-bit integer field."""
    return _field(name, "Int", "Int")


def real_field(name: str) -> QgsField:
    """Return a double precision field."""
    return _field(name, "Double", "Double")


def binary_field(name: str) -> QgsField:
    """Return a field of bytes."""
    return _field(name, "QByteArray", "ByteArray")


def id_field(name: str) -> QgsField:
    """Return a 64-bit integer field."""
    return _field(name, "LongLong", "LongLong")


def is_plain_field(field: QgsField) -> bool:
    """Return whether a GeoPackage has a column type for the values of ``field``."""
    if _FIELD_TYPES_ARE_META_TYPES:
        return field.type() in [getattr(QMetaType.Type, name) for name in _PLAIN_TYPES]
    return field.type() in [getattr(QVariant, name.lstrip("Q")) for name in _PLAIN_TYPES]


def is_null(value: Any) -> bool:
    """Return whether ``value`` is Python's None or the NULL of QGIS."""
    return value is None or value == NULL


def is_success(code: Any) -> bool:
    """Return whether a result code of QGIS, a number or an enum by version, means success."""
    return bool(getattr(code, "value", code) == 0)


def hidden_from_models() -> Any:
    """Return the flag of algorithms that the model designer does not offer."""
    flags = getattr(Qgis, "ProcessingAlgorithmFlag", None)
    if flags is not None:
        return flags.HideFromModeler
    return QgsProcessingAlgorithm.Flag.FlagHideFromModeler
