"""The task of finding every object of a raster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Optional

from ..parameters import Role, parameter
from ..polygons import PolygonOptions
from ..registry import IMAGERY, task


def _methods() -> Dict[str, str]:
    return {"sam2": "SAM 2, asked at every point of a grid"}


@task("everything", uses=IMAGERY, methods=_methods)
@dataclass(frozen=True)
class EverythingTask:
    """Outline every object of a raster, whatever it is.

    Attributes:
        points_per_side: Points along one side of a tile.
        polygons: How outlines are made.
        polygon_file: GeoPackage to write, or None.
        region_raster: Raster of object numbers to write, or None.
    """

    points_per_side: int = parameter(
        "Points per side",
        "How densely each tile is searched for objects. More points find smaller objects and take "
        "longer: the time grows with the square.",
        20,
        name="POINTS_PER_SIDE",
        minimum=1,
        maximum=128,
    )
    polygons: PolygonOptions = field(default_factory=PolygonOptions)
    polygon_file: Optional[str] = parameter(
        "Polygons",
        "One polygon for each object. object_id is its number in the region raster, predicted_iou "
        "and stability are what the model thinks of its outline (0 to 1), and area_m2 is measured "
        "on the ellipsoid.",
        None,
        name="POLYGONS",
        role=Role.POLYGON_FILE,
    )
    region_raster: Optional[str] = parameter(
        "Region raster",
        "GeoTIFF with the number of the object of each pixel and 0 where there is none. It can be "
        "the regions of an open-vocabulary segmentation.",
        None,
        name="OUTPUT",
        role=Role.RASTER_FILE,
    )
