"""The task of learning from the user's own labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..parameters import Role, parameter
from ..registry import GRID, task
from ..source import LayerSource


@task(
    "learn",
    uses=(
        "source",
        "model",
        *GRID,
        "source.bands",
        "source.nodata",
        "source.stretch.kind",
        "device",
    ),
)
@dataclass(frozen=True)
class LearnTask:
    """Learn classes from labels on imagery: a model of these classes, with its accuracy.

    Attributes:
        labels: Points, lines, polygons or a class raster.
        class_field: Field that holds the class of each feature.
        area: Where everything is labelled; what has no label there is everything else.
        seed: Makes every random choice of a run the same again.
        model_folder: Folder of the learnt model to write, or None.
        report: HTML to write, or None.
    """

    labels: LayerSource = parameter(
        "Labels",
        "Points, lines or polygons on places whose class you know, or a class raster in which 0 "
        "is not labelled. Any CRS will do. Spread some twenty places of each class over the image.",
        name="LABELS",
        any_geometry=True,
    )
    class_field: str = parameter(
        "Field of the class",
        "Field of a vector layer that holds the name or number of the class. Rasters need no "
        "field: ignore the warning of QGIS that no field can be loaded.",
        "",
        name="CLASS_FIELD",
        role=Role.FIELD,
        layer="LABELS",
    )
    area: Optional[LayerSource] = parameter(
        "Area that is fully labelled",
        "Polygons, or a raster that is not 0 there, in which you labelled everything that you "
        "look for. What has no label there is learnt as everything else and stays unclassified, "
        "so that a single class is enough.",
        None,
        name="AREA",
    )
    seed: int = parameter(
        "Seed",
        "Number that random choices start from. The same seed gives the same model.",
        0,
        name="SEED",
        minimum=0,
        maximum=2**31 - 1,
        advanced=True,
    )
    model_folder: Optional[str] = parameter(
        "Learnt model",
        "New folder of the model, the input of Classify with a learnt model. A learnt model that "
        "is there already is replaced.",
        None,
        name="MODEL_FOLDER",
        role=Role.NEW_FOLDER,
    )
    report: Optional[str] = parameter(
        "Report",
        "A page with the accuracy of each class on places that were held back, and which classes "
        "are mistaken for each other. It can be read offline.",
        None,
        name="REPORT",
        role=Role.HTML_FILE,
    )
