"""``geoseg:refer``: one instruction in words to a mask and polygons."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Dict

from qgis.core import (
    QgsProcessingFeedback,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
)

from ..layers.styling import outline_renderer
from ..protocol.errors import ErrorCode, JobError
from ..protocol.job import Job
from ..protocol.tasks.refer import InstructionTask, ReferTask
from ..translation import tr
from . import outputs, polygons
from .imagery import ImageryAlgorithm
from .sinks import copy_features
from .values import Values

NUMBERS = {
    "OBJECT_COUNT": "Number of polygons",
    "SCORE": "Mean probability of the answer's pixels, 0 to 1",
    "AREA": "Area of the answer in square metres",
}
_COLOR = "#ffb000"


class ReferAlgorithm(ImageryAlgorithm):
    """Segments what an instruction speaks of."""

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
    SUMMARY = """Finds what one instruction speaks of: a description such as all buildings or
        the largest building, or a question such as where can people swim.

        Positions and comparisons (left, largest, next to) refer to the extent of the run. Words
        that mean one thing (the red car) get one connected part; use the plural for all. In the
        mask raster 1 is the answer and 0 all else."""
    METHODS = ("unigeoseg",)
    METHOD_HELP = """Write the word. unigeoseg: a network that reads the instruction together with
        the image."""

    def declare(self) -> None:
        """Add parameters and outputs."""
        self.declare_imagery()
        self.add(
            QgsProcessingParameterString("INSTRUCTION", tr("Instruction"), multiLine=True),
            "What you look for, in English, for example: the building next to the pool; all "
            "buildings with a red roof; where could a boat float.",
        )
        self.add(
            QgsProcessingParameterEnum(
                "TASK",
                tr("Task"),
                options=[task.value for task in InstructionTask],
                defaultValue=InstructionTask.AUTO.value,
                usesStaticStrings=True,
            ),
            "Write one of the words. referring: a description of what is seen; reasoning: a "
            "question whose answer must be thought out; auto: decided by the words.",
        )
        self.declare_method()
        self.declare_grid()
        threshold = QgsProcessingParameterNumber(
            "THRESHOLD",
            tr("Threshold"),
            QgsProcessingParameterNumber.Type.Double,
            0.5,
            minValue=0.0,
            maxValue=0.999,
        )
        threshold.setMetadata({"widget_wrapper": {"decimals": 3}})
        self.add(threshold, "Pixels less probable than this are not part of the answer.")
        polygons.declare_polygon_options(self)
        self.declare_reading()
        self._declare_outputs()

    def _declare_outputs(self) -> None:
        self.add(
            QgsProcessingParameterRasterDestination(
                "OUTPUT", tr("Mask raster"), optional=True, createByDefault=True
            ),
            "GeoTIFF on the pixels of the imagery: 1 is the answer, 0 all else.",
        )
        self.add(
            polygons.polygon_sink(),
            "One polygon for each connected area of the answer, with its score and area_m2.",
        )
        self.add(
            QgsProcessingParameterRasterDestination(
                "SCORES", tr("Scores"), optional=True, createByDefault=False
            ),
            "GeoTIFF with the probability of each pixel, the input of Reclassify scores.",
        )
        for name, text in NUMBERS.items():
            self.declare_number(name, text)

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work."""
        if not values.text("INSTRUCTION"):
            raise JobError(
                ErrorCode.INVALID_JOB,
                tr("There is no instruction."),
                tr("Write what you look for, for example: the largest building."),
            )
        polygons.polygon_options(values)
        outputs.check_destinations(values, ("OUTPUT", "POLYGONS", "SCORES"))
        self.check_imagery(values)

    def prepare(self, values: Values, feedback: QgsProcessingFeedback) -> None:
        """Freeze the imagery."""
        self.prepare_imagery(values, feedback)

    def process(self, values: Values, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """Run the job and bring its files home."""
        with outputs.work_folder() as folder:
            files = outputs.Destinations.of(values, folder)
            result = self.run_job(self._job(values, files, feedback), feedback)
            delivered: Dict[str, Any] = {
                name: value for name, value in result.numbers.items() if name in NUMBERS
            }
            rasters = {"OUTPUT": files.class_raster, "SCORES": files.scores}
            delivered.update({name: path for name, path in rasters.items() if path})
            if files.polygon_file:
                delivered["POLYGONS"], _ = copy_features(
                    values, "POLYGONS", Path(files.polygon_file), self.frozen.crs, feedback
                )
        layers = (
            outputs.OutputLayer("SCORES", tr("Scores"), hidden=True),
            outputs.OutputLayer("OUTPUT", tr("Mask"), hidden="POLYGONS" in delivered),
            outputs.OutputLayer("POLYGONS", _title(values), partial(outline_renderer, _COLOR)),
        )
        outputs.dress(values, delivered, layers, result, self.frozen.name)
        return delivered

    def _job(
        self, values: Values, files: outputs.Destinations, feedback: QgsProcessingFeedback
    ) -> Job:
        task = ReferTask(
            instruction=values.text("INSTRUCTION"),
            task=InstructionTask(values.choice("TASK")),
            threshold=values.number("THRESHOLD"),
            polygons=polygons.polygon_options(values),
            mask_raster=files.class_raster,
            polygon_file=files.polygon_file,
            scores=files.scores,
        )
        return self.imagery_job(task, files.folder, values, feedback)


def _title(values: Values) -> str:
    words = values.text("INSTRUCTION").split()
    return " ".join(words[:6]) + (" …" if len(words) > 6 else "")
