"""``geoseg:reclassify``: new thresholds on a scores raster, without any model."""

from __future__ import annotations

import re
from typing import Any, Dict, Tuple

from qgis.core import (
    QgsProcessingFeedback,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsRasterLayer,
)

from ..layers.source import FrozenRaster, freeze_raster
from ..protocol.errors import ErrorCode, JobError
from ..protocol.job import Job
from ..protocol.legend import EVERYTHING_ELSE, parse_thresholds
from ..protocol.source import StretchKind
from ..protocol.tasks.reclassify import ReclassifyTask
from ..translation import tr
from . import outputs, polygons
from .base import GeoSegAlgorithm
from .values import Values


class ReclassifyAlgorithm(GeoSegAlgorithm):
    """Makes classes and polygons from scores with other thresholds."""

    NAME = "reclassify"
    TITLE = "Reclassify scores"
    GROUP = "Segmentation"
    GROUP_ID = "segmentation"
    TAGS = ("threshold", "scores", "probability", "classes", "confidence")
    SUMMARY = """Makes a new class raster and polygons from the scores of an earlier run, at once
        and without any model.

        A pixel keeps its most probable class when that reaches the threshold of the class, and
        stays unclassified when it does not."""

    _frozen: FrozenRaster

    def declare(self) -> None:
        """Add parameters and outputs."""
        self.add(
            QgsProcessingParameterRasterLayer("SCORES", tr("Scores")),
            "The scores raster of a segmentation, one band for each class.",
        )
        self.add(
            QgsProcessingParameterString("THRESHOLDS", tr("Thresholds"), "0.5", multiLine=True),
            "One number from 0 to 1 for all classes, or pairs parted by semicolons: "
            "building: 0.4; road: 0.55. Classes that are not named keep 0.",
        )
        polygons.declare_polygon_options(self)
        self.add(
            QgsProcessingParameterRasterDestination(
                "OUTPUT", tr("Class raster"), optional=True, createByDefault=True
            ),
            "GeoTIFF with class numbers, names and colours, on the pixels of the scores.",
        )
        self.add(polygons.polygon_sink(), polygons.POLYGONS_HELP)
        outputs.declare_numbers(self)

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work."""
        names = _class_names(values.raster("SCORES"))
        parse_thresholds(values.text("THRESHOLDS"), names)
        polygons.polygon_options(values, names)
        outputs.check_destinations(values, ("OUTPUT", "POLYGONS"))

    def prepare(self, values: Values, _feedback: QgsProcessingFeedback) -> None:
        """Freeze the scores raster."""
        self._frozen = freeze_raster(values.raster("SCORES"), (1,), StretchKind.NONE)
        if self._frozen.needs_snapshot:
            raise JobError(
                ErrorCode.SOURCE_UNREADABLE,
                tr("No file backs the scores {!r}.").format(self._frozen.name),
                tr("Choose the scores file that a segmentation wrote."),
            )

    def process(self, values: Values, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """Run the job and bring its files home."""
        with outputs.work_folder() as folder:
            files = outputs.Destinations.of(values, folder)
            task = ReclassifyTask(
                thresholds=values.text("THRESHOLDS"),
                polygons=polygons.polygon_options(values),
                class_raster=files.class_raster,
                polygon_file=files.polygon_file,
            )
            result = self.run_job(Job(self._frozen.source, task), feedback)
            return outputs.deliver(values, feedback, files, result, self._frozen)


def _class_names(layer: QgsRasterLayer) -> Tuple[str, ...]:
    """Return the descriptions of the bands, which name the classes.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when a band has none.
    """
    names = []
    for band in range(1, layer.bandCount() + 1):
        # QGIS puts its own word for "Band" and the number in front, in the user's language.
        found = re.fullmatch(r"\D*\d+: (.+)", layer.bandName(band))
        if found is None:
            raise JobError(
                ErrorCode.SOURCE_UNREADABLE,
                tr("The raster {!r} names no class for band {}.").format(layer.name(), band),
                tr("Choose the scores file that a segmentation wrote."),
            )
        names.append(found.group(1))
    return tuple(name for name in names if name != EVERYTHING_ELSE)
