"""The task of segmentation by an instruction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Optional

from ..errors import ErrorCode, JobError
from ..parameters import Choice, Role, parameter
from ..polygons import PolygonOptions
from ..registry import IMAGERY, task, with_auto


class InstructionTask(Choice):
    """What an instruction asks for."""

    AUTO = "auto", "reasoning if it ends with a question mark, otherwise referring"
    REFERRING = "referring", "a description of what can be seen"
    REASONING = "reasoning", "a question whose answer must be inferred"


class View(Choice):
    """How an instruction is run on the extent."""

    AUTO = "auto", "the overview, unless its pixels would be too coarse for the model"
    WHOLE = "whole", "one overview of the extent, best for positions and comparisons"
    TILES = "tiles", "tiles at full detail, best for small objects"


class Keep(Choice):
    """Which of the areas that match an instruction are kept."""

    ALL = "all", "every area that matches"
    BEST = "best", "only the area with the most evidence"


def _methods() -> Dict[str, str]:
    return with_auto({"unigeoseg": "a network that reads the instruction together with the image"})


@task("refer", uses=IMAGERY, methods=_methods)
@dataclass(frozen=True)
class ReferTask:
    """Map what an instruction describes: mask, polygons and probabilities.

    Attributes:
        instruction: A description or a question in words.
        task: See `InstructionTask`.
        view: See `View`.
        keep: See `Keep`.
        threshold: Probability above which a pixel belongs to the result, 0..1.
        objects: Whether touching things become polygons of their own.
        polygons: How outlines are made.
        mask_raster: Raster to write, 1 inside of the result, or None.
        polygon_file: GeoPackage to write, or None.
        scores: Raster of the probability to write, or None.
    """

    instruction: str = parameter(
        "Instruction",
        "What you are looking for, in English, for example: the building next to the pool; all "
        "buildings with a red roof; where could a boat float.",
        name="INSTRUCTION",
        role=Role.LINES,
        longest=10_000,
    )
    task: InstructionTask = parameter(
        "Task", "How the instruction is meant.", InstructionTask.AUTO, name="TASK"
    )
    view: View = parameter("View", "How the model sees the extent.", View.AUTO, name="VIEW")
    keep: Keep = parameter("Keep", "Which of the areas that match are kept.", Keep.ALL, name="KEEP")
    threshold: float = parameter(
        "Threshold",
        "Pixels less probable than this do not belong to the result.",
        0.5,
        name="THRESHOLD",
        minimum=0.0,
        maximum=1.0,
    )
    objects: bool = parameter(
        "Separate objects",
        "Things that touch, such as houses in a row, become polygons of their own. "
        "SAM 2 tells them apart, which takes longer. The raster stays the same.",
        False,
        name="OBJECTS",
    )
    polygons: PolygonOptions = field(default_factory=PolygonOptions)
    mask_raster: Optional[str] = parameter(
        "Mask raster",
        "GeoTIFF on the pixels of the imagery: 1 inside of the result, 0 elsewhere.",
        None,
        name="OUTPUT",
        role=Role.RASTER_FILE,
    )
    polygon_file: Optional[str] = parameter(
        "Polygons",
        "One polygon for each connected area of the result, with its score and area_m2.",
        None,
        name="POLYGONS",
        role=Role.POLYGON_FILE,
    )
    scores: Optional[str] = parameter(
        "Scores",
        "GeoTIFF with the probability of each pixel, the input of Reclassify scores.",
        None,
        name="SCORES",
        role=Role.RASTER_FILE,
        by_default=False,
    )

    def checked(self) -> ReferTask:
        """Return itself.

        Raises:
            JobError: ``INVALID_JOB`` when the instruction is blank.
        """
        if not self.instruction.strip():
            raise JobError(
                ErrorCode.INVALID_JOB,
                "The instruction is empty.",
                "Write what you are looking for, for example: the largest building.",
            )
        return self
