"""The task of classification with a learnt model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from ..parameters import Role, parameter
from ..polygons import PolygonOptions, class_polygon_file, class_raster_file, class_scores_file
from ..registry import GRID, task
from ..source import LayerSource


@task(
    "classify",
    uses=("source", *GRID, "source.bands", "source.nodata", "device"),
)
@dataclass(frozen=True)
class ClassifyTask:
    """Map the classes of a learnt model: class raster, polygons, scores and uncertainty.

    Attributes:
        learnt: Folder of the learnt model.
        threshold: Lowest winning probability; below it a pixel is unclassified (0).
        regions: Polygons or an integer raster whose pixels vote for one class.
        polygons: How polygons are made.
        class_raster: File to write, or None.
        polygon_file: GeoPackage to write, or None.
        scores: Per-class probability raster to write, or None.
        uncertainty: Raster of the uncertainty to write, or None.
    """

    learnt: str = parameter(
        "Learnt model",
        "Folder that Learn from labels has written.",
        name="MODEL",
        role=Role.FOLDER,
        longest=4096,
    )
    threshold: float = parameter(
        "Threshold",
        "Pixels whose best class is less probable than this stay unclassified. With 0 every pixel "
        "gets a class, unless the model has learnt everything else as well.",
        0.0,
        name="THRESHOLD",
        minimum=0.0,
        maximum=1.0,
    )
    regions: Optional[LayerSource] = parameter(
        "Regions",
        "Polygons, for example parcels, or a raster of region numbers. Each region gets one class "
        "as a whole, by the votes of its pixels.",
        None,
        name="REGIONS",
        advanced=True,
    )
    polygons: PolygonOptions = field(default_factory=PolygonOptions)
    class_raster: Optional[str] = class_raster_file("imagery")
    polygon_file: Optional[str] = class_polygon_file()
    scores: Optional[str] = class_scores_file()
    uncertainty: Optional[str] = parameter(
        "Uncertainty",
        "GeoTIFF that is 1 where two classes are equally probable and 0 where one class is "
        "certain. The next labels help most where it is high.",
        None,
        name="UNCERTAINTY",
        role=Role.RASTER_FILE,
        by_default=False,
    )
