"""``geoseg:evaluate``: a result against a reference, to metrics, a table and a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Optional

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsProcessingFeedback,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsRasterLayer,
)

from ..layers.snapshot import CLASS_FIELD
from ..layers.source import class_labels
from ..protocol.errors import ErrorCode, JobError
from ..protocol.job import Job
from ..protocol.source import GridRequest, LayerSource, RasterSource
from ..protocol.tasks.evaluate import EvaluateTask, LengthUnit
from ..translation import tr
from . import outputs
from .base import GeoSegAlgorithm
from .imagery import protocol_extent
from .layer_inputs import FrozenLayer, freeze_layer, layer_types, write_layer
from .values import Values

NUMBERS = {
    "ACCURACY": "Overall accuracy: share of the pixels that are right",
    "KAPPA": "Cohen's kappa",
    "MEAN_IOU": "Mean IoU of the classes that occur",
    "FOREGROUND_IOU": "IoU of the only class, when the reference has one class and the rest",
    "MEAN_PRECISION": "Mean precision of the classes",
    "MEAN_RECALL": "Mean recall of the classes",
    "MEAN_F1": "Mean F1 of the classes",
    "BOUNDARY_PRECISION": "Mean share of the result's outlines that are near the reference's",
    "BOUNDARY_RECALL": "Mean share of the reference's outlines that are near the result's",
    "BOUNDARY_F1": "Mean boundary F1 of the classes",
    "OBJECT_PRECISION": "Mean share of the result's objects that are in the reference",
    "OBJECT_RECALL": "Mean share of the reference's objects that were found",
    "OBJECT_F1": "Mean object F1 of the classes",
    "COMPARED_PIXELS": "Number of pixels that were compared",
}


class EvaluateAlgorithm(GeoSegAlgorithm):
    """Compares classes with a reference."""

    NAME = "evaluate"
    TITLE = "Evaluate against a reference"
    GROUP = "Quality"
    GROUP_ID = "quality"
    TAGS = (
        "accuracy",
        "confusion matrix",
        "IoU",
        "F1",
        "kappa",
        "precision",
        "recall",
        "ground truth",
        "validation",
    )
    SUMMARY = """Compares a class raster or class polygons with a reference: confusion matrix, IoU,
        precision, recall and F1 of each class, kappa, how well outlines agree, and which objects
        were found.

        The reference may have another CRS, pixel size and extent: it is brought onto the pixels of
        the result, nearest pixel, and only pixels where both have data are compared. Classes are
        matched by name where both sides have names, else by number, or as MAPPING says. A number
        that is undefined, such as the foreground IoU of many classes, is left out of the
        outputs."""

    _layers: Dict[str, FrozenLayer]
    _labels: Dict[str, Dict[str, str]]
    _grid: GridRequest

    def declare(self) -> None:
        """Add parameters and outputs."""
        self._declare_layer(
            "RESULT",
            tr("Result"),
            "What is to be judged: a class raster or class polygons. In rasters 0 is unclassified.",
        )
        self._declare_layer(
            "REFERENCE",
            tr("Reference"),
            "What is true: a class raster or class polygons, in any CRS.",
        )
        self.add(
            QgsProcessingParameterString("MAPPING", tr("Mapping"), optional=True, multiLine=True),
            "Which classes belong together: values or names of the result, =, those of the "
            "reference. Commas part values of one class, semicolons part classes: building, house "
            "= 1; road = 2, 3. Values that are not mentioned count as no class. Empty matches by "
            "name where both sides have names, else by number.",
        )
        self.add(
            QgsProcessingParameterString("IGNORE", tr("Ignore"), optional=True),
            "Values or names of the reference that are left out, parted by commas; 0 stands for "
            "pixels without a class (0 in a raster, outside of polygons). Empty leaves out 255 "
            "and, in a raster of several classes, 0; none leaves out nothing. Nodata other than "
            "0 is always left out.",
        )
        self.add(
            QgsProcessingParameterExtent("EXTENT", tr("Extent"), optional=True),
            "Part to compare; all of the result when empty.",
        )
        self._declare_advanced()
        self._declare_outputs()

    def _declare_layer(self, name: str, title: str, text: str) -> None:
        self.add(QgsProcessingParameterMapLayer(name, title, types=layer_types()), text)
        self.add(
            QgsProcessingParameterField(
                f"{name}_FIELD",
                tr("{}: field of the class").format(title),
                parentLayerParameterName=name,
                optional=True,
            ),
            "Field of a polygon layer that holds the name or number of the class; empty when all "
            "its polygons are of one class. Rasters need none: for them a warning of QGIS that no "
            "field can be loaded means nothing.",
        )

    def _declare_advanced(self) -> None:
        decimal = QgsProcessingParameterNumber.Type.Double
        self.add(
            QgsProcessingParameterNumber(
                "RESOLUTION",
                tr("Resolution (map units per pixel)"),
                decimal,
                optional=True,
                minValue=0.0,
            ),
            "Size of the pixels that are compared; those of the raster when empty. Needed when "
            "result and reference are both polygons.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                "BOUNDARY_TOLERANCE", tr("Boundary tolerance"), decimal, 2.0, minValue=0.0
            ),
            "How far apart two outlines may lie and still agree.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterEnum(
                "BOUNDARY_UNIT",
                tr("Unit of the boundary tolerance"),
                options=[unit.value for unit in LengthUnit],
                defaultValue=LengthUnit.PIXELS.value,
                usesStaticStrings=True,
            ),
            "Write one of the words: pixels of the result, or metres on the ground.",
            advanced=True,
        )

    def _declare_outputs(self) -> None:
        self.add(
            QgsProcessingParameterFileDestination(
                "REPORT", tr("Report"), "HTML (*.html)", optional=True, createByDefault=True
            ),
            "A page with all scores and the confusion matrix; it needs no network.",
        )
        self.add(
            QgsProcessingParameterFileDestination(
                "TABLE", tr("Table"), "CSV (*.csv)", optional=True, createByDefault=True
            ),
            "All scores and the confusion matrix, one row for each class and one over all.",
        )
        for name, text in NUMBERS.items():
            self.declare_number(name, text)

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work."""
        self._freeze(values)

    def prepare(self, values: Values, _feedback: QgsProcessingFeedback) -> None:
        """Freeze both layers."""
        self._freeze(values)

    def process(self, values: Values, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """Run the job and return its numbers and files."""
        with outputs.work_folder() as folder:
            asked = {name: values.file(name) for name in ("REPORT", "TABLE")}
            task_files = dict(asked)
            if not any(asked.values()):
                task_files["TABLE"] = str(folder / "table.csv")
            job = self._job(values, folder, task_files, feedback)
            result = self.run_job(job, feedback)
        files = {name: path for name, path in asked.items() if path is not None}
        numbers = {name: value for name, value in result.numbers.items() if name in NUMBERS}
        return {**files, **numbers}

    def _freeze(self, values: Values) -> None:
        found = {name: _layer(values, name) for name in ("RESULT", "REFERENCE")}
        self._labels = {
            name: class_labels(layer) if isinstance(layer, QgsRasterLayer) else {}
            for name, layer in found.items()
        }
        self._layers = {
            name: freeze_layer(layer, values.text(f"{name}_FIELD")) for name, layer in found.items()
        }
        rasters = [layer for layer in found.values() if isinstance(layer, QgsRasterLayer)]
        resolution = values.optional_number("RESOLUTION")
        if not rasters and not resolution:
            raise JobError(
                ErrorCode.RESOLUTION_UNUSABLE,
                tr("Result and reference are both polygons: no raster gives the pixel size."),
                tr("Give RESOLUTION, the size of a pixel in map units of the result."),
            )
        crs: QgsCoordinateReferenceSystem = (rasters or [found["RESULT"]])[0].crs()
        extent = protocol_extent(values.extent("EXTENT", crs))
        self._grid = GridRequest(extent, resolution or None)

    def _job(
        self,
        values: Values,
        folder: Path,
        files: Dict[str, Optional[str]],
        feedback: QgsProcessingFeedback,
    ) -> Job:
        result, reference = (
            write_layer(self._layers[name], folder, name.lower(), values, feedback)
            for name in ("RESULT", "REFERENCE")
        )
        task = EvaluateTask(
            result=self._named(result, "RESULT"),
            reference=self._named(reference, "REFERENCE"),
            reference_field=CLASS_FIELD if values.text("REFERENCE_FIELD") else "",
            result_field=CLASS_FIELD if values.text("RESULT_FIELD") else "",
            mapping=values.text("MAPPING"),
            ignore=values.text("IGNORE"),
            boundary_tolerance=values.number("BOUNDARY_TOLERANCE"),
            boundary_unit=LengthUnit(values.choice("BOUNDARY_UNIT")),
            table=files["TABLE"],
            report=files["REPORT"],
        )
        return Job(None, task, self._grid)

    def _named(self, source: LayerSource, name: str) -> LayerSource:
        if isinstance(source, RasterSource):
            return replace(source, class_names=self._labels[name])
        return source


def _layer(values: Values, name: str) -> QgsMapLayer:
    layer = values.layer(name)
    if layer is None:
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            tr("{} cannot be read as a layer.").format(values.parameters.get(name)),
            tr("Check that the file exists and that QGIS shows it as a layer."),
        )
    return layer
