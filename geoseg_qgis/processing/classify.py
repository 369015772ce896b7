"""``geoseg:classify``: imagery and a learnt model to a class raster, polygons and scores."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

from ..layers.source import freeze_raster
from ..protocol.parameters import Parameter
from ..protocol.result import Result
from ..protocol.source import StretchKind
from ..translation import tr
from .class_results import ClassResults
from .imagery import ImageryAlgorithm
from .layer_inputs import LayerInput
from .outputs import OutputLayer
from .values import Values

_SOURCE, _BANDS = ("source",), ("source", "bands")


class ClassifyAlgorithm(ClassResults, ImageryAlgorithm):
    """Maps the classes of a learnt model."""

    NAME = "classify"
    TITLE = "Classify with a learnt model"
    GROUP = "Segmentation"
    GROUP_ID = "segmentation"
    TAGS = (
        "classify",
        "supervised",
        "land cover",
        "predict",
        "uncertainty",
        "active learning",
        "learnt model",
    )
    SUMMARY = """Maps the classes that Learn from labels has learnt, on the same imagery or on
        other imagery with the same bands and pixel size. The contrast stretch is the one that the
        model was learnt with.

        The uncertainty raster shows where two classes are nearly equally probable: label some of
        these places and learn again."""

    def freeze_layer(self, item: Parameter, values: Values) -> Optional[LayerInput]:
        """Return the layer of one parameter; the stretch of imagery is that of the model."""
        if item.path != _SOURCE:
            return super().freeze_layer(item, values)
        bands = values.plain(self.parameter(_BANDS))
        frozen = freeze_raster(values.raster(item.name), bands, StretchKind.PERCENTILES)
        return LayerInput(item, item.name, frozen.crs, frozen)

    def layers(
        self,
        values: Values,
        files: Dict[str, str],
        delivered: Dict[str, Any],
        result: Result,
    ) -> Sequence[OutputLayer]:
        """Return uncertainty, scores, class raster and polygons."""
        shown = super().layers(values, files, delivered, result)
        return (OutputLayer("UNCERTAINTY", tr("Uncertainty"), hidden=True), *shown)
