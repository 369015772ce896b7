"""``geoseg:openvocabulary``: classes as text to a class raster, polygons and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from qgis.core import (
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
)

from ..protocol.job import Job
from ..protocol.legend import LEGENDS, parse_classes
from ..protocol.source import LayerSource
from ..protocol.tasks.openvocabulary import OpenVocabularyTask
from ..translation import tr
from . import outputs, polygons
from .imagery import ImageryAlgorithm
from .layer_inputs import FrozenLayer, freeze_layer, layer_types, write_layer
from .values import Values


class OpenVocabularyAlgorithm(ImageryAlgorithm):
    """Segments imagery into classes that the user names."""

    NAME = "openvocabulary"
    TITLE = "Open-vocabulary segmentation"
    GROUP = "Segmentation"
    GROUP_ID = "segmentation"
    TAGS = (
        "segment",
        "classify",
        "land cover",
        "text prompt",
        "zero-shot",
        "deep learning",
        "buildings",
        "CLIP",
        "SAM",
        "GUMix",
    )
    SUMMARY = """Maps the classes you name. Write what you look for, get a class raster, polygons
        and, if you want them, scores that can be thresholded again without any model.

        In the class raster 0 is unclassified or nodata, and classes count from 1 in the order you
        wrote them."""
    METHODS = ("gumix", "mask_selection", "fast")
    METHOD_HELP = """Write one of the words. gumix: weighs regions, shapes and two scales, made for
        large networks; mask_selection: names the regions of a segmentation; fast: coarse and quick,
        for a first look."""

    _regions: Optional[FrozenLayer] = None

    def declare(self) -> None:
        """Add parameters and outputs."""
        self.declare_imagery()
        self.add(
            QgsProcessingParameterString(
                "CLASSES",
                tr("Classes"),
                "building, roof, house; road; tree, forest; water",
                multiLine=True,
            ),
            "Semicolons or new lines part classes, commas part synonyms, =#rrggbb behind a class "
            "gives its colour: building, roof, house; road =#808080; water. Or the name of a "
            f"published legend: {', '.join(LEGENDS)}.",
        )
        self.declare_method()
        self.declare_grid()
        threshold = QgsProcessingParameterNumber(
            "THRESHOLD",
            tr("Threshold"),
            QgsProcessingParameterNumber.Type.Double,
            0.0,
            minValue=0.0,
            maxValue=1.0,
        )
        threshold.setMetadata({"widget_wrapper": {"decimals": 3}})
        self.add(
            threshold,
            "A pixel whose best class is less probable than this stays unclassified. 0 gives "
            "every pixel a class, if the rest is not left unclassified.",
        )
        self.add(
            QgsProcessingParameterBoolean("RIVALS", tr("Leave the rest unclassified"), True),
            "Other land cover that you did not name competes unseen, and pixels that look more "
            "like it stay unclassified. Switch it off when your classes describe everything in "
            "the image (a single class keeps its rivals); naming a class background does the "
            "same.",
        )
        self._declare_advanced()
        self._declare_outputs()

    def _declare_advanced(self) -> None:
        self.add(
            QgsProcessingParameterMapLayer(
                "REGIONS",
                tr("Regions"),
                optional=True,
                types=layer_types(),
            ),
            "Polygons (parcels, for example) or a raster of region numbers that are classified "
            "as wholes; the model finds regions itself when empty.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                "POINTS_PER_SIDE",
                tr("Points per side"),
                QgsProcessingParameterNumber.Type.Integer,
                optional=True,
                minValue=1,
                maxValue=128,
            ),
            "How densely regions are searched in each tile: more points find smaller things and "
            "take longer. The model's own choice when empty.",
            advanced=True,
        )
        polygons.declare_polygon_options(self)
        self.declare_reading()

    def _declare_outputs(self) -> None:
        self.add(
            QgsProcessingParameterRasterDestination(
                "OUTPUT", tr("Class raster"), optional=True, createByDefault=True
            ),
            "GeoTIFF with class numbers, names and colours, on the pixels of the imagery.",
        )
        self.add(polygons.polygon_sink(), polygons.POLYGONS_HELP)
        self.add(
            QgsProcessingParameterRasterDestination(
                "SCORES", tr("Scores"), optional=True, createByDefault=False
            ),
            "GeoTIFF with one band of probabilities for each class, the input of Reclassify "
            "scores.",
        )
        outputs.declare_numbers(self)

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work."""
        polygons.polygon_options(values, _class_names(values))
        outputs.check_destinations(values, ("OUTPUT", "POLYGONS", "SCORES"))
        self.check_imagery(values)
        _freeze_regions(values)

    def prepare(self, values: Values, feedback: QgsProcessingFeedback) -> None:
        """Freeze imagery and regions."""
        self.prepare_imagery(values, feedback)
        self._regions = _freeze_regions(values)

    def process(self, values: Values, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """Run the job and bring its files home."""
        with outputs.work_folder() as folder:
            files = outputs.Destinations.of(values, folder)
            result = self.run_job(self._job(values, files, feedback), feedback)
            return outputs.deliver(values, feedback, files, result, self.frozen)

    def _job(
        self, values: Values, files: outputs.Destinations, feedback: QgsProcessingFeedback
    ) -> Job:
        regions = self._region_source(files.folder, values, feedback)
        points = values.optional_number("POINTS_PER_SIDE")
        task = OpenVocabularyTask(
            classes=parse_classes(values.text("CLASSES")),
            threshold=values.number("THRESHOLD"),
            rivals=values.flag("RIVALS"),
            regions=regions,
            points_per_side=None if points is None else int(points),
            polygons=polygons.polygon_options(values, _class_names(values)),
            class_raster=files.class_raster,
            polygon_file=files.polygon_file,
            scores=files.scores,
        )
        return self.imagery_job(task, files.folder, values, feedback)

    def _region_source(
        self, folder: Path, values: Values, feedback: QgsProcessingFeedback
    ) -> Optional[LayerSource]:
        if self._regions is None:
            return None
        return write_layer(self._regions, folder, "regions", values, feedback)


def _class_names(values: Values) -> Tuple[str, ...]:
    return tuple(item.name for item in parse_classes(values.text("CLASSES")))


def _freeze_regions(values: Values) -> Optional[FrozenLayer]:
    layer = values.layer("REGIONS")
    return None if layer is None else freeze_layer(layer)
