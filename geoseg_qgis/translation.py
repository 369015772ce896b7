"""Words that people read, in their language."""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication


def tr(text: str) -> str:
    """Return ``text`` in the language of the user interface."""
    translated: str = QCoreApplication.translate("GeoSeg", text)
    return translated
