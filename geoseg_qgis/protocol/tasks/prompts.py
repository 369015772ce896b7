"""The task of segmentation by prompts on the map."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Optional

from ..parameters import Role, parameter
from ..polygons import PolygonOptions
from ..registry import IMAGERY, task, with_auto
from ..source import VectorSource


def _methods() -> Dict[str, str]:
    return with_auto(
        {
            "sam2": "SAM 2, for any number of points, boxes and polygons",
            "unigeoseg": "UniGeoSeg, for one to three positive points or a box",
        }
    )


@task("prompts", uses=IMAGERY, methods=_methods)
@dataclass(frozen=True)
class PromptsTask:
    """Outline the objects that points, lines, boxes or polygons of a layer mark.

    Attributes:
        prompts: Layer of the prompts, in any CRS.
        label_field: Field that is 1 for positive and 0 for negative points; empty when all are
            positive.
        group_field: Field whose equal values make points one object; empty makes every feature
            one object.
        threshold: Probability above which a pixel belongs to the object, 0..1.
        minimum_score: Objects with a lower score are left out, 0..1.
        polygons: How outlines are made.
        polygon_file: GeoPackage to write, or None.
        mask_raster: Raster to write, 1 inside of any outline, or None.
    """

    prompts: VectorSource = parameter(
        "Prompts",
        "Points, lines or polygons in any CRS. Each feature gives one outline.",
        name="PROMPTS",
    )
    label_field: str = parameter(
        "Field of the label",
        "Field that is 1 for points on the object and 0 for points beside it. All points are on "
        "their object when empty.",
        "",
        name="LABEL_FIELD",
        role=Role.FIELD,
        layer="PROMPTS",
    )
    group_field: str = parameter(
        "Field of the object",
        "Features with the same value mark one object together. Each feature is an object of its "
        "own when empty.",
        "",
        name="GROUP_FIELD",
        role=Role.FIELD,
        layer="PROMPTS",
    )
    threshold: float = parameter(
        "Threshold",
        "Pixels less probable than this do not belong to the object.",
        0.5,
        name="THRESHOLD",
        minimum=0.0,
        maximum=1.0,
        advanced=True,
    )
    minimum_score: float = parameter(
        "Minimum score",
        "Outlines with a lower score are left out. The score is the model's confidence in an "
        "outline.",
        0.0,
        name="MINIMUM_SCORE",
        minimum=0.0,
        maximum=1.0,
        advanced=True,
    )
    polygons: PolygonOptions = field(default_factory=PolygonOptions)
    polygon_file: Optional[str] = parameter(
        "Polygons",
        "One outline for each object, with the attributes of its first feature, score (the "
        "model's confidence, 0 to 1) and area_m2 (on the ellipsoid). source_id is the number of "
        "that feature in its layer; a field of yours called fid becomes fid_1.",
        None,
        name="POLYGONS",
        role=Role.POLYGON_FILE,
    )
    mask_raster: Optional[str] = parameter(
        "Mask raster",
        "GeoTIFF on the pixels of the imagery: 1 inside of any outline, 0 elsewhere.",
        None,
        name="OUTPUT",
        role=Role.RASTER_FILE,
        by_default=False,
    )
