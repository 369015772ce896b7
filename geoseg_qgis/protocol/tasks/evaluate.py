"""The task of evaluation against a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..parameters import Choice, Role, parameter
from ..registry import GRID, task
from ..source import LayerSource


class LengthUnit(Choice):
    """What a length is given in."""

    PIXELS = "pixels", "pixels of the result"
    METRES = "metres", "metres on the ground"


_FIELD_HELP = (
    "Field of a polygon layer that holds the name or number of the class. All polygons are of one "
    "class when empty. Rasters need no field: ignore the warning of QGIS that no field can be "
    "loaded."
)


@task("evaluate", uses=GRID)
@dataclass(frozen=True)
class EvaluateTask:
    """Compare a class raster or class polygons with a reference: metrics, table and report.

    Everything is compared on the pixels of the result raster; with a polygon result on those of
    the reference raster; with two polygon layers on square pixels of the job's resolution.

    Attributes:
        result: What is evaluated.
        reference: What is true.
        result_field: Field that holds the class of each polygon; empty when all are of one.
        reference_field: As `result_field`.
        mapping: ``result, result = reference, reference; ...``: values or names of one class on
            each side; empty matches by name where both sides have names, else by number.
        ignore: Reference values or names to leave out, separated by commas; empty leaves out 255
            and, in a raster of several classes, 0; ``none`` leaves out nothing.
        boundary_tolerance: How far outlines may lie apart.
        boundary_unit: Unit of the tolerance.
        table: CSV to write, or None.
        report: HTML to write, or None.
    """

    result: LayerSource = parameter(
        "Result",
        "What is evaluated: a class raster or class polygons. In rasters 0 is unclassified.",
        name="RESULT",
        flag="--input",
    )
    reference: LayerSource = parameter(
        "Reference",
        "What is true: a class raster or class polygons, in any CRS.",
        name="REFERENCE",
    )
    result_field: str = parameter(
        "Result: field of the class",
        _FIELD_HELP,
        "",
        name="RESULT_FIELD",
        flag="--input-field",
        role=Role.FIELD,
        layer="RESULT",
    )
    reference_field: str = parameter(
        "Reference: field of the class",
        _FIELD_HELP,
        "",
        name="REFERENCE_FIELD",
        role=Role.FIELD,
        layer="REFERENCE",
    )
    mapping: str = parameter(
        "Mapping",
        "Which classes belong together: values or names of the result, =, those of the reference. "
        "Separate values of one class with commas and classes with semicolons: building, house = "
        "1; road = 2, 3. Values that are not mentioned count as no class. When empty, classes are "
        "matched by name where both sides have names, and by number otherwise.",
        "",
        name="MAPPING",
        role=Role.LINES,
        longest=100_000,
    )
    ignore: str = parameter(
        "Ignore",
        "Values or names of the reference that are left out, separated by commas. 0 stands for "
        "pixels without a class (0 in a raster, outside of polygons). When empty, 255 is left out "
        "and, in a raster of several classes, 0. Write none to leave out nothing. Nodata other "
        "than 0 is always left out.",
        "",
        name="IGNORE",
        longest=10_000,
    )
    boundary_tolerance: float = parameter(
        "Boundary tolerance",
        "How far two outlines may lie apart and still agree.",
        2.0,
        name="BOUNDARY_TOLERANCE",
        minimum=0.0,
        maximum=1e6,
        advanced=True,
    )
    boundary_unit: LengthUnit = parameter(
        "Unit of the boundary tolerance",
        "What the boundary tolerance is given in.",
        LengthUnit.PIXELS,
        name="BOUNDARY_UNIT",
        advanced=True,
    )
    report: Optional[str] = parameter(
        "Report",
        "A page with all scores and the confusion matrix. It can be read offline.",
        None,
        name="REPORT",
        role=Role.HTML_FILE,
    )
    table: Optional[str] = parameter(
        "Table",
        "All scores and the confusion matrix, with one row for each class and one for all.",
        None,
        name="TABLE",
        role=Role.CSV_FILE,
    )
