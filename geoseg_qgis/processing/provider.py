"""The provider: the algorithms of this folder in the Processing toolbox."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import List

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from ..protocol import PLUGIN_VERSION
from .base import ICONS, GeoSegAlgorithm


class GeoSegProvider(QgsProcessingProvider):
    """GeoSeg in the Processing toolbox."""

    def id(self) -> str:
        """Return the id in front of every algorithm id."""
        return "geoseg"

    def name(self) -> str:
        """Return the name in the toolbox."""
        return "GeoSeg"

    def versionInfo(self) -> str:
        """Return the version of the plugin."""
        return PLUGIN_VERSION

    def icon(self) -> QIcon:
        """Return the icon in the toolbox."""
        return QIcon(self.svgIconPath())

    def svgIconPath(self) -> str:
        """Return the path of the icon."""
        return str(ICONS / "geoseg.svg")

    def supportedOutputRasterLayerExtensions(self) -> List[str]:
        """Return the only format that the engine writes rasters in."""
        return ["tif"]

    def loadAlgorithms(self) -> None:
        """Add every algorithm."""
        for algorithm in algorithms():
            self.addAlgorithm(algorithm)


def algorithms() -> List[GeoSegAlgorithm]:
    """Return a new object of every algorithm: classes whose `NAME` is that of their file."""
    found = []
    for entry in pkgutil.iter_modules([str(Path(__file__).parent)]):
        # QGIS watches this function: modules that come in another way outlive a reload.
        module = __import__(f"{__package__}.{entry.name}", fromlist=["*"])
        for member in vars(module).values():
            is_algorithm = isinstance(member, type) and issubclass(member, GeoSegAlgorithm)
            if is_algorithm and entry.name == member.NAME:
                found.append(member())
    return found
