"""The task of assessing a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

from ..parameters import Choice, Role, parameter
from ..polygons import MAXIMUM_AREA
from ..registry import IMAGERY, task
from ..source import LayerSource


class AssessVariant(Choice):
    """Whether quality classes must agree with the mask.

    ``RAW`` is the network's own output as the paper scores it.
    """

    CONSTRAINED = "constrained", "pixels inside of the mask are TP or FP, those outside TN or FN"
    RAW = "raw", "the network's own output, as published"


class Orientations(Choice):
    """In how many orientations each tile is read; the results are averaged."""

    ONE = "one", "each tile once"
    FLIPS = "flips", "mirrored as well, four times as long"
    ALL = "all", "turned as well, eight times as long"


def _methods() -> Dict[str, str]:
    return {"segassess": "a network that reads the mask together with the image"}


@task("assess", uses=IMAGERY, methods=_methods)
@dataclass(frozen=True)
class AssessTask:
    """Show where a mask is right and where it is wrong, without ground truth.

    A mask of several classes is assessed one class at a time; a pixel of the quality raster then
    belongs to the class that the mask gives it, and a pixel without a class is FN when any class
    misses it.

    Attributes:
        mask: Mask raster, where 0 is no object, or polygons.
        class_field: Field that holds the class of each polygon; empty when all are of one.
        classes: Values or names to assess; empty for all of them.
        variant: See `AssessVariant`.
        shifted: Whether three more runs move the network's patches by half of their size; it
            reads only the middle of each patch.
        orientations: See `Orientations`.
        minimum_area: Polygons below it count as too small to judge, in square metres; 0 leaves it
            to the network's own limit.
        missed_area: Smallest likely missed object that is reported, in square metres.
        quality_raster: File to write (1 TP, 2 FP, 3 TN, 4 FN, 0 nodata), or None.
        polygon_file: GeoPackage of the assessed polygons to write, or None.
        missed_file: GeoPackage of likely missed objects to write, or None.
        repaired_mask: Raster with the mask as the network would have it, or None.
        scores: Raster of the four probabilities to write, or None.
        report: HTML to write, or None.
    """

    mask: LayerSource = parameter(
        "Mask",
        "Mask or class raster to be assessed, where 0 is no object, or polygons. Its CRS, pixels "
        "and extent may differ from those of the imagery.",
        name="MASK",
        polygons="MASK_POLYGONS",
    )
    class_field: str = parameter(
        "Field of the class",
        "Field of the polygons that holds their class. Each class is assessed by itself. All "
        "polygons are of one class when empty.",
        "",
        name="CLASS_FIELD",
        role=Role.FIELD,
        layer="MASK_POLYGONS",
    )
    classes: Tuple[str, ...] = parameter(
        "Classes",
        "Values or names of the classes to assess, separated by commas. All classes are assessed "
        "when empty.",
        (),
        name="CLASSES",
        longest=254,
        advanced=True,
    )
    variant: AssessVariant = parameter(
        "Variant",
        "Whether the result must agree with the mask.",
        AssessVariant.CONSTRAINED,
        name="VARIANT",
    )
    shifted: bool = parameter(
        "Shifted runs",
        "Run three more times with the network's patches moved by half of their size. This takes "
        "four times as long, is steadier, and gives polygons a spread.",
        False,
        name="SHIFTED",
        advanced=True,
    )
    orientations: Orientations = parameter(
        "Orientations",
        "In how many orientations each tile is read.",
        Orientations.ONE,
        name="ORIENTATIONS",
        advanced=True,
    )
    minimum_area: float = parameter(
        "Minimum area",
        "Smaller polygons are too small to be assessed. The network has its own limit when 0.",
        0.0,
        name="MINIMUM_AREA",
        minimum=0.0,
        maximum=MAXIMUM_AREA,
        unit="m²",
        advanced=True,
    )
    missed_area: float = parameter(
        "Minimum area of missed objects",
        "Smaller likely misses are not reported.",
        0.0,
        name="MISSED_AREA",
        minimum=0.0,
        maximum=MAXIMUM_AREA,
        unit="m²",
        advanced=True,
    )
    quality_raster: Optional[str] = parameter(
        "Quality raster",
        "GeoTIFF on the pixels of the imagery: 1 TP, 2 FP, 3 TN, 4 FN, 0 nodata.",
        None,
        name="OUTPUT",
        role=Role.RASTER_FILE,
    )
    polygon_file: Optional[str] = parameter(
        "Assessed polygons",
        "The polygons with their attributes and precision, recall, iou, f1, confidence, problem "
        "and fix_rank. The worst polygon has rank 1.",
        None,
        name="POLYGONS",
        role=Role.POLYGON_FILE,
    )
    missed_file: Optional[str] = parameter(
        "Missed objects",
        "Objects that the mask likely misses, the largest first.",
        None,
        name="MISSED",
        role=Role.POLYGON_FILE,
    )
    report: Optional[str] = parameter(
        "Report",
        "A page with the numbers, their intervals, plots and the worst places. It can be read "
        "offline.",
        None,
        name="REPORT",
        role=Role.HTML_FILE,
    )
    repaired_mask: Optional[str] = parameter(
        "Repaired mask",
        "The mask as the network would have it: a proposal.",
        None,
        name="REPAIRED",
        role=Role.RASTER_FILE,
        by_default=False,
    )
    scores: Optional[str] = parameter(
        "Probabilities",
        "GeoTIFF with the probabilities of TP, FP, TN and FN.",
        None,
        name="SCORES",
        role=Role.RASTER_FILE,
        by_default=False,
    )
