"""The provider: one place that names every algorithm."""

from __future__ import annotations

from typing import List

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from ..protocol import PLUGIN_VERSION
from .assess import AssessAlgorithm
from .base import ICONS, GeoSegAlgorithm
from .evaluate import EvaluateAlgorithm
from .models import ModelsAlgorithm
from .openvocabulary import OpenVocabularyAlgorithm
from .prompts import PromptsAlgorithm
from .reclassify import ReclassifyAlgorithm
from .refer import ReferAlgorithm
from .setup import SetupAlgorithm


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
    """Return a new object of every algorithm."""
    return [
        OpenVocabularyAlgorithm(),
        ReferAlgorithm(),
        PromptsAlgorithm(),
        ReclassifyAlgorithm(),
        AssessAlgorithm(),
        EvaluateAlgorithm(),
        ModelsAlgorithm(),
        SetupAlgorithm(),
    ]
