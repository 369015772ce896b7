"""The task of open-vocabulary segmentation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Dict, Optional, Tuple

from ..legend import LEGENDS, LegendClass, check_classes
from ..methods import read_methods
from ..parameters import Role, parameter
from ..polygons import PolygonOptions, class_polygon_file, class_raster_file, class_scores_file
from ..registry import IMAGERY, task, with_auto
from ..source import LayerSource


def _methods() -> Dict[str, str]:
    return with_auto({card.name: card.help.rstrip(".") for card in read_methods().cards})


@task("openvocabulary", uses=IMAGERY, methods=_methods)
@dataclass(frozen=True)
class OpenVocabularyTask:
    """Map classes that are named in words: class raster, polygons and scores.

    Attributes:
        classes: The classes, in the order of their numbers.
        threshold: Lowest winning probability; below it a pixel is unclassified (0).
        rivals: Whether generic land-cover words that are not named compete as background prompts;
            pixels that match these better stay unclassified.
        regions: Polygons or an integer raster, used as regions in place of those of SAM 2.
        points_per_side: SAM 2 grid a tile; None takes the preset's own.
        objects: Whether touching things of one class become polygons of their own.
        polygons: How polygons are made.
        class_raster: File to write, or None.
        polygon_file: GeoPackage to write, or None.
        scores: Per-class probability raster to write, or None.
    """

    classes: Tuple[LegendClass, ...] = parameter(
        "Classes",
        "Separate classes with semicolons or new lines, and synonyms with commas. Add =#rrggbb to "
        "set a colour: building, roof, house; road =#808080; water. Or give the name of a "
        f"published legend: {', '.join(LEGENDS)}.",
        name="CLASSES",
        role=Role.LINES,
        longest=254,
        suggestion="building, roof, house; road; tree, forest; water",
    )
    threshold: float = parameter(
        "Threshold",
        "Pixels whose best class is less probable than this stay unclassified. With 0 every pixel "
        "gets a class, unless the rest is left unclassified.",
        0.0,
        name="THRESHOLD",
        minimum=0.0,
        maximum=1.0,
    )
    rivals: bool = parameter(
        "Leave the rest unclassified",
        "Common land cover that you did not name is used as background prompts, and pixels that "
        "match these better stay unclassified. Switch it off when your classes cover "
        "everything in the image. Naming a class background has the same effect. A single class "
        "always keeps its background prompts.",
        True,
        name="RIVALS",
    )
    objects: bool = parameter(
        "Separate objects",
        "Things of one class that touch, such as houses in a row, become polygons of their own. "
        "SAM 2 or your regions tell them apart, which takes longer. The raster stays the same.",
        False,
        name="OBJECTS",
    )
    regions: Optional[LayerSource] = parameter(
        "Regions",
        "Polygons, for example parcels, or a raster of region numbers. Each region gets one class "
        "as a whole. The model finds regions itself when empty.",
        None,
        name="REGIONS",
        advanced=True,
    )
    points_per_side: Optional[int] = parameter(
        "Points per side",
        "How densely each tile is searched for regions. More points find smaller objects and take "
        "longer. The model's own number is used when empty.",
        None,
        name="POINTS_PER_SIDE",
        minimum=1,
        maximum=128,
        advanced=True,
    )
    polygons: PolygonOptions = field(default_factory=PolygonOptions)
    class_raster: Optional[str] = class_raster_file("imagery")
    polygon_file: Optional[str] = class_polygon_file()
    scores: Optional[str] = class_scores_file()

    def checked(self) -> OpenVocabularyTask:
        """Return the task with the classes of its options spelt as in the legend.

        Raises:
            JobError: ``INVALID_CLASSES``.
        """
        check_classes(self.classes)
        names = tuple(item.name for item in self.classes)
        return replace(self, polygons=self.polygons.for_classes(names))
