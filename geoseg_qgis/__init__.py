"""GeoSeg: type what you want to map, click what you want, see where a mask is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qgis.gui import QgisInterface

    from .plugin import GeoSegPlugin


def classFactory(iface: QgisInterface) -> GeoSegPlugin:
    """Return the plugin object that QGIS loads."""
    from .plugin import GeoSegPlugin  # noqa: PLC0415  keeps the engine free of qgis

    return GeoSegPlugin(iface)
