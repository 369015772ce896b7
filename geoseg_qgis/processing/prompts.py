"""``geoseg:prompts``: points, lines, boxes or polygons of a layer to one outline each."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Dict, Optional

from qgis.core import (
    QgsProcessing,
    QgsProcessingFeatureSource,
    QgsProcessingFeedback,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsRectangle,
)

from ..layers.features import write_features
from ..layers.source import FrozenRaster
from ..layers.styling import outline_renderer
from ..layers.surroundings import surroundings
from ..protocol.job import Job
from ..protocol.tasks.prompts import PromptsTask
from ..translation import tr
from . import outputs, polygons
from .imagery import ImageryAlgorithm
from .sinks import copy_features
from .values import Values

NUMBERS = {
    "OBJECT_COUNT": "Number of outlines",
    "MISSING_COUNT": "Number of objects that got no outline",
    "MEAN_SCORE": "Mean score of the outlines, 0 to 1",
}
_COLOR = "#00b7ff"


class PromptsAlgorithm(ImageryAlgorithm):
    """Outlines the objects that the features of a layer point at."""

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
    SUMMARY = """Gives each point, line, box or polygon of a layer the outline of the object that
        it points at, with all of its attributes.

        Points of one object may be grouped by a field, and points that do not belong to it can be
        marked as negative. Rectangles are taken as boxes, other polygons as rough outlines that
        are to be corrected, lines as several points."""
    METHODS = ("sam2", "unigeoseg")
    METHOD_HELP = """Write one of the words. sam2: outlines by SAM 2, for any number of points,
        boxes and polygons; unigeoseg: one to three positive points or a box."""

    def declare(self) -> None:
        """Add parameters and outputs."""
        self.declare_imagery()
        self.add(
            QgsProcessingParameterFeatureSource(
                "PROMPTS",
                tr("Prompts"),
                [QgsProcessing.SourceType.TypeVectorAnyGeometry],
            ),
            "Points, lines or polygons in any CRS; one outline a feature.",
        )
        self._declare_field(
            "LABEL_FIELD",
            tr("Field of the label"),
            "Field that is 1 for points on the object and 0 for points that are not; empty when "
            "all are on it.",
        )
        self._declare_field(
            "GROUP_FIELD",
            tr("Field of the object"),
            "Features with the same value prompt for one object together; empty makes every "
            "feature an object of its own.",
        )
        self.declare_method()
        self.declare_grid()
        self._declare_advanced()
        self.declare_reading()
        self._declare_outputs()

    def _declare_field(self, name: str, title: str, text: str) -> None:
        field = QgsProcessingParameterField(
            name, title, parentLayerParameterName="PROMPTS", optional=True
        )
        self.add(field, text)

    def _declare_advanced(self) -> None:
        for name, title, default, text in (
            (
                "THRESHOLD",
                tr("Threshold"),
                0.5,
                "Pixels less probable than this are not part of the object.",
            ),
            (
                "MINIMUM_SCORE",
                tr("Minimum score"),
                0.0,
                "Outlines that the model itself trusts less are left out.",
            ),
        ):
            number = QgsProcessingParameterNumber(
                name,
                title,
                QgsProcessingParameterNumber.Type.Double,
                default,
                minValue=0.0,
                maxValue=1.0,
            )
            number.setMetadata({"widget_wrapper": {"decimals": 3}})
            self.add(number, text, advanced=True)
        polygons.declare_polygon_options(self)

    def _declare_outputs(self) -> None:
        self.add(
            polygons.polygon_sink(),
            "One outline for each object, with the attributes of its first feature, score (how "
            "well the model trusts it, 0 to 1) and area_m2 (on the ellipsoid). source_id is the "
            "number of that feature in its layer; a field of yours called fid becomes fid_1.",
        )
        self.add(
            QgsProcessingParameterRasterDestination(
                "OUTPUT", tr("Mask raster"), optional=True, createByDefault=False
            ),
            "GeoTIFF on the pixels of the imagery: 1 inside of any outline, 0 elsewhere.",
        )
        for name, text in NUMBERS.items():
            self.declare_number(name, text)

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work."""
        values.require_features(
            "PROMPTS",
            tr("The layer of prompts is empty."),
            tr("Draw a point on each object that you want outlined."),
        )
        polygons.polygon_options(values)
        outputs.check_destinations(values, ("POLYGONS", "OUTPUT"))
        self.check_imagery(values)

    def prepare(self, values: Values, feedback: QgsProcessingFeedback) -> None:
        """Freeze the imagery."""
        self.prepare_imagery(values, feedback)

    def interesting_extent(self, values: Values, frozen: FrozenRaster) -> Optional[QgsRectangle]:
        """Return the surroundings of the prompts."""
        source = values.features("PROMPTS")
        transforms = values.context.transformContext()
        return surroundings(source.sourceExtent(), source.sourceCrs(), frozen.crs, transforms)

    def process(self, values: Values, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """Run the job and bring its files home."""
        with outputs.work_folder() as folder:
            files = outputs.Destinations.of(values, folder)
            result = self.run_job(self._job(values, files, feedback), feedback)
            delivered: Dict[str, Any] = {
                name: value for name, value in result.numbers.items() if name in NUMBERS
            }
            if files.class_raster:
                delivered["OUTPUT"] = files.class_raster
            if files.polygon_file:
                delivered["POLYGONS"], _ = copy_features(
                    values, "POLYGONS", Path(files.polygon_file), self.frozen.crs, feedback
                )
        layers = (
            outputs.OutputLayer("OUTPUT", tr("Mask"), hidden="POLYGONS" in delivered),
            outputs.OutputLayer("POLYGONS", tr("Outlines"), partial(outline_renderer, _COLOR)),
        )
        outputs.dress(values, delivered, layers, result, self.frozen.name)
        return delivered

    def _job(
        self, values: Values, files: outputs.Destinations, feedback: QgsProcessingFeedback
    ) -> Job:
        source: QgsProcessingFeatureSource = values.features("PROMPTS")
        transforms = values.context.transformContext()
        prompts = write_features(
            source, values.keys("PROMPTS"), files.folder / "prompts.gpkg", transforms, feedback
        )
        task = PromptsTask(
            prompts=prompts,
            label_field=values.copied_field("LABEL_FIELD", "PROMPTS"),
            group_field=values.copied_field("GROUP_FIELD", "PROMPTS"),
            threshold=values.number("THRESHOLD"),
            minimum_score=values.number("MINIMUM_SCORE"),
            polygons=polygons.polygon_options(values),
            polygon_file=files.polygon_file,
            mask_raster=files.class_raster,
        )
        return self.imagery_job(task, files.folder, values, feedback)
