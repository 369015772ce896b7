"""``geoseg:refer``: one instruction in words to a mask and polygons."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, Sequence

from ..layers.styling import outline_renderer
from ..protocol.result import Result
from ..translation import tr
from .imagery import ImageryAlgorithm
from .outputs import OutputLayer
from .values import Values

_COLOR = "#ffb000"
_TITLE_WORDS = 6


class ReferAlgorithm(ImageryAlgorithm):
    """Segments what an instruction describes."""

    NAME = "refer"
    TITLE = "Segment by instruction"
    GROUP = "Segmentation"
    GROUP_ID = "segmentation"
    TAGS = (
        "segment",
        "referring expression",
        "reasoning",
        "instruction",
        "text prompt",
        "language",
        "UniGeoSeg",
    )
    SUMMARY = """Maps what one instruction describes: a description such as all buildings or the
        building next to the pool, or a question such as where can people
        swim.

        Positions and comparisons (left, largest, next to) refer to the extent of the run. In the
        mask raster 1 is the result and 0 everything else. To keep only the largest area, sort the
        polygons by area_m2."""
    NUMBERS = {
        "OBJECT_COUNT": "Number of polygons",
        "SCORE": "Mean probability of the pixels of the result, 0 to 1",
        "AREA": "Area of the result in square metres",
    }

    def layers(
        self,
        values: Values,
        files: Dict[str, str],
        delivered: Dict[str, Any],
        result: Result,
    ) -> Sequence[OutputLayer]:
        """Return scores, mask and polygons; these are named after the instruction."""
        del files, result
        words = values.text("INSTRUCTION").split()
        title = " ".join(words[:_TITLE_WORDS]) + (" …" if len(words) > _TITLE_WORDS else "")
        return (
            OutputLayer("SCORES", tr("{}, scores").format(title), hidden=True),
            OutputLayer("OUTPUT", tr("{}, mask").format(title), hidden="POLYGONS" in delivered),
            OutputLayer("POLYGONS", title, partial(outline_renderer, _COLOR)),
        )
