"""Results of a classification: the parameters that several tasks share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Tuple

from .errors import ErrorCode, JobError
from .parameters import Role, parameter

MAXIMUM_AREA = 1e12
"""Square metres; more than twice the largest country would be a slip of the keyboard."""


def class_raster_file(pixels: str) -> Any:
    """Return the field of a class raster to write.

    Args:
        pixels: What its pixels are those of.
    """
    return parameter(
        "Class raster",
        f"GeoTIFF with class numbers, names and colours, on the pixels of the {pixels}.",
        None,
        name="OUTPUT",
        role=Role.RASTER_FILE,
    )


def class_polygon_file() -> Any:
    """Return the field of class polygons to write."""
    return parameter(
        "Polygons",
        "One polygon for each connected area of a class, with the fields class, class_id, score "
        "(mean probability, 0 to 1), area_m2 and perimeter_m (on the ellipsoid), method and model. "
        "In a Shapefile perimeter_m is called perim_m.",
        None,
        name="POLYGONS",
        role=Role.POLYGON_FILE,
    )


def class_scores_file() -> Any:
    """Return the field of scores to write."""
    return parameter(
        "Scores",
        "GeoTIFF with one band of probabilities for each class, the input of Reclassify scores.",
        None,
        name="SCORES",
        role=Role.RASTER_FILE,
        by_default=False,
    )


@dataclass(frozen=True)
class PolygonOptions:
    """How class areas become polygons.

    Attributes:
        minimum_area: Smallest polygon kept, in square metres (square map units without a CRS).
        minimum_hole: Smallest hole kept, same unit.
        simplify: Tolerance of simplification in pixels of the result; 0 keeps pixel outlines.
        right_angles: Names of classes whose outlines are squared.
    """

    minimum_area: float = parameter(
        "Minimum area",
        "Smaller polygons are left out. Without a CRS the area is in square map units.",
        0.0,
        name="MINIMUM_AREA",
        minimum=0.0,
        maximum=MAXIMUM_AREA,
        unit="m²",
        advanced=True,
    )
    minimum_hole: float = parameter(
        "Minimum hole",
        "Smaller holes in polygons are filled.",
        0.0,
        name="MINIMUM_HOLE",
        minimum=0.0,
        maximum=MAXIMUM_AREA,
        unit="m²",
        advanced=True,
    )
    simplify: float = parameter(
        "Simplify",
        "How far outlines may move, in pixels of the result. 0 keeps the outlines of pixels.",
        1.0,
        name="SIMPLIFY",
        minimum=0.0,
        maximum=1000.0,
        unit="pixels",
        advanced=True,
    )
    right_angles: Tuple[str, ...] = parameter(
        "Classes with right angles",
        "Names of classes whose outlines are squared, for example buildings. Separate them with "
        "semicolons.",
        (),
        name="RIGHT_ANGLES",
        longest=254,
        advanced=True,
    )

    def for_classes(self, names: Tuple[str, ...]) -> PolygonOptions:
        """Return options that spell the classes with right angles as the legend does.

        Args:
            names: The classes.

        Raises:
            JobError: ``INVALID_CLASSES`` for a name that is not among them.
        """
        known = {name.lower(): name for name in names}
        for name in self.right_angles:
            if name.lower() not in known:
                raise JobError(
                    ErrorCode.INVALID_CLASSES,
                    f"Right angles are asked for {name!r}, which is not a class here.",
                    f"The classes are {', '.join(names)}.",
                )
        return replace(self, right_angles=tuple(known[name.lower()] for name in self.right_angles))
