"""``geoseg:assess``: imagery and a mask of it to a map of where the mask is wrong."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Dict, Optional, Sequence

from qgis.core import QgsCoordinateReferenceSystem, QgsVectorLayer

from ..layers.styling import outline_renderer, quality_renderer
from ..protocol.result import Result
from ..translation import tr
from .imagery import ImageryAlgorithm
from .outputs import OutputLayer
from .values import Values

_MASK = ("task", "mask")
_MISSED_COLOR = "#f0c000"


class AssessAlgorithm(ImageryAlgorithm):
    """Shows where a mask is wrong, without ground truth."""

    NAME = "assess"
    TITLE = "Assess a mask"
    GROUP = "Quality"
    GROUP_ID = "quality"
    TAGS = (
        "quality",
        "mask",
        "validation",
        "error map",
        "false positive",
        "false negative",
        "ground truth free",
        "SegAssess",
    )
    SUMMARY = """Shows where a mask is right and where it is wrong, without ground truth: any class
        raster or polygons, however they were made.

        The quality raster has four classes: 1 correctly mapped (TP), 2 wrongly mapped (FP), 3
        correctly left out (TN), 4 missed (FN). Each polygon gets its predicted precision, recall,
        IoU and F1 and a rank, the worst first, so that you can correct one place after the other.
        The numbers are estimates of a network. The report explains how reliable they are."""
    NUMBERS = {
        "PRECISION": "Predicted precision of the mask, 0 to 1",
        "RECALL": "Predicted recall of the mask, 0 to 1",
        "IOU": "Predicted IoU of the mask with the truth, 0 to 1",
        "F1": "Predicted F1 of the mask, 0 to 1",
        "POLYGON_COUNT": "Number of assessed polygons",
        "MISSED_COUNT": "Number of likely missed objects",
        "FALSE_COUNT": "Number of polygons that are likely false",
    }

    def sink_crs(self, values: Values, name: str) -> QgsCoordinateReferenceSystem:
        """Return the CRS of the mask for its own polygons, else that of the imagery."""
        mask = self.inputs[_MASK]
        # Coordinates without a CRS count as those of the imagery.
        is_own = name == "POLYGONS" and mask.frozen is None and mask.crs.isValid()
        return mask.crs if is_own else super().sink_crs(values, name)

    def layers(
        self,
        values: Values,
        files: Dict[str, str],
        delivered: Dict[str, Any],
        result: Result,
    ) -> Sequence[OutputLayer]:
        """Return probabilities, repaired mask, quality raster, polygons and missed objects."""
        del values, result
        rated = partial(quality_renderer, _quality_field(files.get("POLYGONS")))
        return (
            OutputLayer("SCORES", tr("probabilities"), hidden=True),
            OutputLayer("REPAIRED", tr("repaired mask"), hidden=True),
            OutputLayer("OUTPUT", tr("quality"), hidden="POLYGONS" in delivered),
            OutputLayer("POLYGONS", tr("assessed polygons"), rated),
            OutputLayer("MISSED", tr("likely missed"), partial(outline_renderer, _MISSED_COLOR)),
        )


def _quality_field(path: Optional[str]) -> str:
    """Return the field of the IoU in the engine's file: a mask may have an ``iou`` of its own."""
    names = QgsVectorLayer(path, "polygons", "ogr").fields().names() if path else []
    return next((name for name in reversed(names) if re.fullmatch(r"iou(_\d+)?", name)), "iou")
