"""``geoseg:prompts``: points, lines, boxes or polygons of a layer to one outline each."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, Sequence

from ..layers.styling import outline_renderer
from ..protocol.result import Result
from ..translation import tr
from .imagery import ImageryAlgorithm
from .outputs import OutputLayer
from .values import Values

_COLOR = "#00b7ff"


class PromptsAlgorithm(ImageryAlgorithm):
    """Outlines the objects that the features of a layer mark."""

    NAME = "prompts"
    TITLE = "Segment by points, boxes or polygons"
    GROUP = "Segmentation"
    GROUP_ID = "segmentation"
    TAGS = (
        "segment",
        "click",
        "point prompt",
        "box prompt",
        "digitise",
        "outline",
        "SAM 2",
        "UniGeoSeg",
    )
    SUMMARY = """Outlines the object that each point, line, box or polygon of a layer marks, and
        keeps all of its attributes.

        Points of one object may be grouped by a field, and points beside an object can be marked
        as negative. Rectangles are read as boxes, other polygons as rough outlines to be
        corrected, and lines as several points."""
    NUMBERS = {
        "OBJECT_COUNT": "Number of outlines",
        "MISSING_COUNT": "Number of objects without an outline",
        "MEAN_SCORE": "Mean score of the outlines, 0 to 1",
    }

    def layers(
        self,
        values: Values,
        files: Dict[str, str],
        delivered: Dict[str, Any],
        result: Result,
    ) -> Sequence[OutputLayer]:
        """Return mask and outlines."""
        del values, files, result
        return (
            OutputLayer("OUTPUT", tr("Mask"), hidden="POLYGONS" in delivered),
            OutputLayer("POLYGONS", tr("Outlines"), partial(outline_renderer, _COLOR)),
        )
