"""``geoseg:everything``: every object of a raster to polygons and a region raster."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, Sequence

from ..layers.styling import outline_renderer
from ..protocol.result import Result
from ..translation import tr
from .imagery import ImageryAlgorithm
from .outputs import OutputLayer
from .values import Values

_COLOR = "#f6d02f"


class EverythingAlgorithm(ImageryAlgorithm):
    """Outlines every object, whatever it is."""

    NAME = "everything"
    TITLE = "Segment everything"
    GROUP = "Segmentation"
    GROUP_ID = "segmentation"
    TAGS = (
        "segment",
        "everything",
        "automatic mask generator",
        "superpixels",
        "regions",
        "GEOBIA",
        "SAM 2",
    )
    SUMMARY = """Outlines every object of the imagery without being told what to look for. Each
        object becomes one polygon with the model's opinion of its outline.

        Objects do not overlap: where a small one lies on a large one, the small one has the
        pixels. Objects on the borders of tiles are put together. Filter the polygons by
        predicted_iou, stability and area_m2, or use the region raster as the regions of an
        open-vocabulary segmentation."""
    NUMBERS = {
        "OBJECT_COUNT": "Number of objects",
        "MEAN_IOU": "Mean of the predicted IoU, 0 to 1",
        "COVERED_AREA": "Area of all objects in square metres",
    }

    def layers(
        self,
        values: Values,
        files: Dict[str, str],
        delivered: Dict[str, Any],
        result: Result,
    ) -> Sequence[OutputLayer]:
        """Return region raster and polygons."""
        del values, files, result
        return (
            OutputLayer("OUTPUT", tr("Regions"), hidden="POLYGONS" in delivered),
            OutputLayer("POLYGONS", tr("Objects"), partial(outline_renderer, _COLOR)),
        )
