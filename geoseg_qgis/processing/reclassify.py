"""``geoseg:reclassify``: new thresholds on a scores raster, without any model."""

from __future__ import annotations

import re
from typing import Any, Dict, Tuple

from qgis.core import QgsRasterLayer

from ..layers.source import FrozenRaster
from ..protocol.errors import ErrorCode, JobError
from ..protocol.legend import EVERYTHING_ELSE, parse_thresholds
from ..protocol.parameters import Members
from ..protocol.polygons import PolygonOptions
from ..translation import tr
from .class_results import ClassResults
from .values import Values

_RIGHT_ANGLES = ("task", "polygons", "right_angles")


class ReclassifyAlgorithm(ClassResults):
    """Makes classes and polygons from scores with other thresholds."""

    NAME = "reclassify"
    TITLE = "Reclassify scores"
    GROUP = "Segmentation"
    GROUP_ID = "segmentation"
    TAGS = ("threshold", "scores", "probability", "classes", "confidence")
    SUMMARY = """Makes a new class raster and polygons from the scores of an earlier run, at once
        and without any model.

        A pixel keeps its most probable class when that reaches the threshold of the class, and
        stays unclassified otherwise."""

    @property
    def source_name(self) -> str:
        """What layers are named after: the imagery that the scores were made of."""
        name, suffix = super().source_name, " - " + tr("scores")
        # A second layer of scores has a number.
        return re.sub(re.escape(suffix) + r"( \d+)?$", "", name)

    def freeze(self, values: Values) -> None:
        """Remember the scores raster, which must be a file."""
        super().freeze(values)
        for given in self.inputs.values():
            if isinstance(given.frozen, FrozenRaster) and given.frozen.needs_snapshot:
                raise JobError(
                    ErrorCode.SOURCE_UNREADABLE,
                    tr("No file backs the scores {!r}.").format(given.frozen.name),
                    tr("Choose the scores file that a segmentation wrote."),
                )

    def plain_values(self, values: Values) -> Dict[Members, Any]:
        """Return the values, once the classes that they name are checked."""
        plain = super().plain_values(values)
        names = class_names(values.raster("SCORES"))
        parse_thresholds(plain["task", "thresholds"], names)
        squared = PolygonOptions(right_angles=tuple(plain[_RIGHT_ANGLES])).for_classes(names)
        return {**plain, _RIGHT_ANGLES: squared.right_angles}


def class_names(layer: QgsRasterLayer) -> Tuple[str, ...]:
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
