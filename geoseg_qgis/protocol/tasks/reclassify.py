"""The task of reclassification."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from ..parameters import Parameter, Role, parameter
from ..polygons import PolygonOptions, class_polygon_file, class_raster_file
from ..registry import task

_SCORES = Parameter(
    "Scores",
    "The scores raster of a segmentation, with one band for each class.",
    name="SCORES",
    flag="--input",
)


@task("reclassify", uses=("source",), source=_SCORES)
@dataclass(frozen=True)
class ReclassifyTask:
    """Apply new thresholds to a scores raster, without any model.

    Attributes:
        thresholds: One number for all classes, or ``class: number`` pairs separated by semicolons;
            empty for the threshold of the run that wrote the scores.
        polygons: How polygons are made.
        class_raster: File to write, or None.
        polygon_file: GeoPackage to write, or None.
    """

    thresholds: str = parameter(
        "Thresholds",
        "One number from 0 to 1 for all classes, or one for each class, separated by semicolons: "
        "building: 0.4; road: 0.55. Classes that are not named keep 0. The threshold of the run "
        "that wrote the scores is used when empty.",
        "",
        name="THRESHOLDS",
        role=Role.LINES,
        longest=100_000,
    )
    polygons: PolygonOptions = field(default_factory=PolygonOptions)
    class_raster: Optional[str] = class_raster_file("scores")
    polygon_file: Optional[str] = class_polygon_file()
