"""``geoseg:assess``: imagery and a mask of it to a map of where the mask is wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Dict, Optional

from qgis.core import (
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsRectangle,
    QgsVectorLayer,
)

from ..layers.features import write_features
from ..layers.source import FrozenRaster, class_labels, freeze_raster
from ..layers.styling import outline_renderer, quality_renderer
from ..layers.surroundings import surroundings
from ..protocol.errors import ErrorCode, JobError
from ..protocol.job import Job
from ..protocol.result import Result
from ..protocol.source import LayerSource, StretchKind, VectorSource
from ..protocol.tasks.assess import AssessTask, AssessVariant, Orientations
from ..translation import tr
from . import outputs
from .imagery import ImageryAlgorithm
from .layer_inputs import write_layer
from .sinks import copy_features
from .values import Values

NUMBERS = {
    "PRECISION": "Predicted precision of the mask, 0 to 1",
    "RECALL": "Predicted recall of the mask, 0 to 1",
    "IOU": "Predicted IoU of the mask with the truth, 0 to 1",
    "F1": "Predicted F1 of the mask, 0 to 1",
    "POLYGON_COUNT": "Number of assessed polygons",
    "MISSED_COUNT": "Number of likely missed objects",
    "FALSE_COUNT": "Number of polygons that are likely false",
}
_MISSED_COLOR = "#f0c000"
_RASTERS = ("OUTPUT", "REPAIRED", "SCORES")
_SINKS = ("POLYGONS", "MISSED")


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

        The quality raster has four classes: 1 rightly mapped (TP), 2 wrongly mapped (FP), 3 rightly
        left out (TN), 4 missed (FN). Each polygon gets its predicted precision, recall, IoU and F1
        and a rank, the worst first, so that you can walk through the places to mend. The numbers
        are a network's estimate and no proof; the report says how far to trust them."""
    METHODS = ("segassess",)
    METHOD_HELP = """Write the word. segassess: a network that reads the mask together with the
        image."""

    _mask: Optional[FrozenRaster] = None
    _labels: Dict[str, str]

    def declare(self) -> None:
        """Add parameters and outputs."""
        self.declare_imagery()
        self.add(
            QgsProcessingParameterRasterLayer("MASK", tr("Mask raster"), optional=True),
            "Mask or class raster to be assessed, 0 is no object. Its CRS, pixels and extent may "
            "differ from those of the imagery.",
        )
        self.add(
            QgsProcessingParameterFeatureSource(
                "MASK_POLYGONS",
                tr("Mask polygons"),
                [QgsProcessing.SourceType.TypeVectorPolygon],
                optional=True,
            ),
            "Polygons to be assessed, in any CRS, in place of a mask raster.",
        )
        self.add(
            QgsProcessingParameterField(
                "CLASS_FIELD",
                tr("Field of the class"),
                parentLayerParameterName="MASK_POLYGONS",
                optional=True,
            ),
            "Field of the polygons that holds their class; empty when all are of one. Each class "
            "is assessed by itself.",
        )
        self.declare_method()
        self.declare_grid()
        self.add(
            QgsProcessingParameterEnum(
                "VARIANT",
                tr("Variant"),
                options=[variant.value for variant in AssessVariant],
                defaultValue=AssessVariant.CONSTRAINED.value,
                usesStaticStrings=True,
            ),
            "Write one of the words. constrained: inside of the mask a pixel is TP or FP, outside "
            "TN or FN; raw: the network's own answer, as published.",
        )
        self._declare_advanced()
        self.declare_reading()
        self._declare_outputs()

    def _declare_advanced(self) -> None:
        self.add(
            QgsProcessingParameterString("CLASSES", tr("Classes"), optional=True),
            "Values or names of the classes to assess, parted by commas; all when empty.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean("SHIFTED", tr("Shifted runs"), False),
            "Run three more times with the network's patches moved by half of their size: four "
            "times as long, steadier, and polygons get a spread.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterEnum(
                "ORIENTATIONS",
                tr("Orientations"),
                options=[orientation.value for orientation in Orientations],
                defaultValue=Orientations.ONE.value,
                usesStaticStrings=True,
            ),
            "Write one of the words. one: each tile once; flips: mirrored as well, four times as "
            "long; all: turned as well, eight times as long.",
            advanced=True,
        )
        for name, title, text in (
            (
                "MINIMUM_AREA",
                tr("Minimum area (m²)"),
                "Smaller polygons are too small to be judged. 0 leaves it to the network.",
            ),
            (
                "MISSED_AREA",
                tr("Minimum area of missed objects (m²)"),
                "Smaller likely misses are not reported.",
            ),
        ):
            number = QgsProcessingParameterNumber(
                name, title, QgsProcessingParameterNumber.Type.Double, 0.0, minValue=0.0
            )
            self.add(number, text, advanced=True)

    def _declare_outputs(self) -> None:
        self._declare_raster(
            "OUTPUT",
            tr("Quality raster"),
            "GeoTIFF on the pixels of the imagery: 1 TP, 2 FP, 3 TN, 4 FN, 0 nodata.",
            default=True,
        )
        self._declare_sink(
            "POLYGONS",
            tr("Assessed polygons"),
            "The polygons with their attributes and precision, recall, iou, f1, confidence, "
            "problem and fix_rank; 1 is the worst place.",
        )
        self._declare_sink(
            "MISSED", tr("Missed objects"), "Objects that the mask likely lacks, the largest first."
        )
        self.add(
            QgsProcessingParameterFileDestination(
                "REPORT", tr("Report"), "HTML (*.html)", optional=True, createByDefault=True
            ),
            "A page with the numbers, their intervals, plots and the worst places; it needs no "
            "network.",
        )
        self._declare_raster(
            "REPAIRED",
            tr("Repaired mask"),
            "The mask as the network would have it: a proposal.",
            default=False,
        )
        self._declare_raster(
            "SCORES",
            tr("Probabilities"),
            "GeoTIFF with the probabilities of TP, FP, TN and FN.",
            default=False,
        )
        for name, text in NUMBERS.items():
            self.declare_number(name, text)

    def _declare_raster(self, name: str, title: str, text: str, default: bool) -> None:
        raster = QgsProcessingParameterRasterDestination(
            name, title, optional=True, createByDefault=default
        )
        self.add(raster, text)

    def _declare_sink(self, name: str, title: str, text: str) -> None:
        sink = QgsProcessingParameterFeatureSink(
            name,
            title,
            QgsProcessing.SourceType.TypeVectorPolygon,
            optional=True,
            createByDefault=True,
        )
        self.add(sink, text)

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work."""
        given = [name for name in ("MASK", "MASK_POLYGONS") if values.is_given(name)]
        if len(given) != 1:
            raise JobError(
                ErrorCode.INVALID_JOB,
                tr("There is no mask to assess.") if not given else tr("There are two masks."),
                tr("Give either MASK or MASK_POLYGONS."),
            )
        if given == ["MASK_POLYGONS"]:
            values.require_features(
                "MASK_POLYGONS",
                tr("The polygon layer is empty."),
                tr("Choose a layer with polygons."),
            )
        outputs.check_destinations(values, (*_RASTERS, *_SINKS, "REPORT"))
        self.check_imagery(values)

    def prepare(self, values: Values, feedback: QgsProcessingFeedback) -> None:
        """Freeze imagery and mask."""
        self.prepare_imagery(values, feedback)
        self._labels = {}
        if values.is_given("MASK"):
            layer = values.raster("MASK")
            self._labels = class_labels(layer)
            self._mask = freeze_raster(layer, (1,), StretchKind.NONE)
        self._polygons_crs = self.frozen.crs
        if values.is_given("MASK_POLYGONS"):
            crs = values.features("MASK_POLYGONS").sourceCrs()
            # Coordinates without a CRS count as those of the imagery.
            self._polygons_crs = crs if crs.isValid() else self.frozen.crs

    def interesting_extent(self, values: Values, frozen: FrozenRaster) -> Optional[QgsRectangle]:
        """Return the surroundings of the mask."""
        transforms = values.context.transformContext()
        if values.is_given("MASK"):
            layer: QgsMapLayer = values.raster("MASK")
            return surroundings(layer.extent(), layer.crs(), frozen.crs, transforms)
        source = values.features("MASK_POLYGONS")
        return surroundings(source.sourceExtent(), source.sourceCrs(), frozen.crs, transforms)

    def process(self, values: Values, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """Run the job and bring its files home."""
        with outputs.work_folder() as folder:
            files = {name: values.raster_file(name) for name in _RASTERS}
            files["REPORT"] = values.file("REPORT")
            for name in _SINKS:
                path = str(folder / f"{name.lower()}.gpkg")
                files[name] = path if values.is_given(name) else None
            result = self.run_job(self._job(values, folder, files, feedback), feedback)
            delivered = self._deliver(values, files, result, feedback)
            rated = partial(quality_renderer, _quality_field(files["POLYGONS"]))
        layers = (
            outputs.OutputLayer("SCORES", tr("Probabilities"), hidden=True),
            outputs.OutputLayer("REPAIRED", tr("Repaired mask"), hidden=True),
            outputs.OutputLayer("OUTPUT", tr("Quality"), hidden="POLYGONS" in delivered),
            outputs.OutputLayer("POLYGONS", tr("Assessed polygons"), rated),
            outputs.OutputLayer("MISSED", tr("Missed"), partial(outline_renderer, _MISSED_COLOR)),
        )
        outputs.dress(values, delivered, layers, result, self.frozen.name)
        return delivered

    def _deliver(
        self,
        values: Values,
        files: Dict[str, Optional[str]],
        result: Result,
        feedback: QgsProcessingFeedback,
    ) -> Dict[str, Any]:
        delivered: Dict[str, Any] = {
            name: value for name, value in result.numbers.items() if name in NUMBERS
        }
        for name, path in files.items():
            if path is None:
                continue
            if name in _SINKS:
                crs = self._polygons_crs if name == "POLYGONS" else self.frozen.crs
                delivered[name], _ = copy_features(values, name, Path(path), crs, feedback)
            else:
                delivered[name] = path
        return delivered

    def _job(
        self,
        values: Values,
        folder: Path,
        files: Dict[str, Optional[str]],
        feedback: QgsProcessingFeedback,
    ) -> Job:
        mask = self._mask_source(values, folder, feedback)
        is_vector = isinstance(mask, VectorSource)
        task = AssessTask(
            mask=mask,
            class_field=values.copied_field("CLASS_FIELD", "MASK_POLYGONS") if is_vector else "",
            classes=tuple(
                word.strip() for word in values.text("CLASSES").split(",") if word.strip()
            ),
            variant=AssessVariant(values.choice("VARIANT")),
            shifted=values.flag("SHIFTED"),
            orientations=Orientations(values.choice("ORIENTATIONS")),
            minimum_area=values.number("MINIMUM_AREA"),
            missed_area=values.number("MISSED_AREA"),
            quality_raster=files["OUTPUT"],
            polygon_file=files["POLYGONS"],
            missed_file=files["MISSED"],
            repaired_mask=files["REPAIRED"],
            scores=files["SCORES"],
            report=files["REPORT"],
        )
        return self.imagery_job(task, folder, values, feedback)

    def _mask_source(
        self, values: Values, folder: Path, feedback: QgsProcessingFeedback
    ) -> LayerSource:
        if self._mask is not None:
            raster = write_layer(self._mask, folder, "mask", values, feedback)
            return replace(raster, class_names=self._labels)  # type: ignore[arg-type]
        source = values.features("MASK_POLYGONS")
        transforms = values.context.transformContext()
        keys = values.keys("MASK_POLYGONS")
        return write_features(source, keys, folder / "mask.gpkg", transforms, feedback)


def _quality_field(path: Optional[str]) -> str:
    """Return the field of the IoU in the engine's file: a mask may bring an ``iou`` of its own."""
    names = QgsVectorLayer(path, "polygons", "ogr").fields().names() if path else []
    return next((name for name in reversed(names) if re.fullmatch(r"iou(_\d+)?", name)), "iou")
