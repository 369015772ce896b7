"""``geoseg:evaluate``: a result against a reference, to metrics, a table and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from qgis.core import QgsProcessingFeedback

from ..layers.source import FrozenRaster
from ..protocol.errors import ErrorCode, JobError
from ..protocol.result import Result
from ..translation import tr
from .job_algorithm import JobAlgorithm
from .values import Values


class EvaluateAlgorithm(JobAlgorithm):
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

        The reference may have another CRS, pixel size and extent. It is resampled to the pixels of
        the result (nearest pixel), and only pixels where both have data are compared. When both
        are polygons, a resolution is needed. Classes are matched by name where both sides have
        names, and by number otherwise; a mapping overrides this. Undefined numbers, such as the
        foreground IoU of many classes, are missing from the outputs."""
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

    @property
    def needs_output(self) -> bool:
        """Whether a run that writes no file is refused: the numbers may be all that is wanted."""
        return False

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work."""
        super().check(values)
        has_raster = any(isinstance(one.frozen, FrozenRaster) for one in self.inputs.values())
        if not has_raster and not values.is_given("RESOLUTION"):
            raise JobError(
                ErrorCode.RESOLUTION_UNUSABLE,
                tr("Result and reference are both polygons: no raster gives the pixel size."),
                tr("Give a resolution, the size of a pixel in map units of the result."),
            )

    def files(self, values: Values, folder: Path) -> Dict[str, str]:
        """Return the files to write, a table when nothing else is."""
        return super().files(values, folder) or {"TABLE": str(folder / "table.csv")}

    def deliver(
        self,
        values: Values,
        files: Dict[str, str],
        result: Result,
        feedback: QgsProcessingFeedback,
    ) -> Dict[str, Any]:
        """Return the numbers, and the files that were asked for."""
        asked = {name: path for name, path in files.items() if values.is_given(name)}
        return super().deliver(values, asked, result, feedback)
