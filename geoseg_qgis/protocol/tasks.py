"""What each kind of job needs to know beyond the imagery: one dataclass a kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Dict, Optional, Tuple

from .source import RasterSource, VectorSource


class LengthUnit(str, Enum):
    """What a length is given in."""

    PIXELS = "pixels"
    METRES = "metres"


@dataclass(frozen=True)
class PolygonOptions:
    """How class areas become polygons.

    Attributes:
        minimum_area: Smallest polygon kept, in square metres (square map units without a CRS).
        minimum_hole: Smallest hole kept, same unit.
        simplify: Tolerance of simplification in pixels of the result; 0 keeps pixel outlines.
        right_angles: Names of classes whose outlines are squared.
    """

    minimum_area: float = 0.0
    minimum_hole: float = 0.0
    simplify: float = 1.0
    right_angles: Tuple[str, ...] = ()


@dataclass(frozen=True)
class OpenVocabularyTask:
    """Classes as text to a class raster, polygons and scores.

    Attributes:
        classes: Class text, see `legend.parse_classes`.
        threshold: Lowest winning probability; below it a pixel is unclassified (0).
        rivals: Whether generic land-cover words that are not named compete unseen; pixels that
            look more like these stay unclassified.
        regions: Polygon layer used as region map in place of SAM 2.
        region_raster: Integer raster used as region map in place of SAM 2.
        points_per_side: SAM 2 grid a tile; None takes the preset's own.
        polygons: How polygons are made.
        class_raster: File to write, or None.
        polygon_file: GeoPackage to write, or None.
        scores: Per-class probability raster to write, or None.
    """

    classes: str
    threshold: float = 0.0
    rivals: bool = True
    regions: Optional[VectorSource] = None
    region_raster: Optional[RasterSource] = None
    points_per_side: Optional[int] = None
    polygons: PolygonOptions = field(default_factory=PolygonOptions)
    class_raster: Optional[str] = None
    polygon_file: Optional[str] = None
    scores: Optional[str] = None


@dataclass(frozen=True)
class ReclassifyTask:
    """New thresholds on a scores raster: class raster and polygons without any model.

    Attributes:
        thresholds: One number for all classes, or ``class: number`` pairs parted by semicolons.
        polygons: How polygons are made.
        class_raster: File to write, or None.
        polygon_file: GeoPackage to write, or None.
    """

    thresholds: str
    polygons: PolygonOptions = field(default_factory=PolygonOptions)
    class_raster: Optional[str] = None
    polygon_file: Optional[str] = None


@dataclass(frozen=True)
class EvaluateTask:
    """A class raster or class polygons against a reference: metrics, table and report.

    The result is the job's source unless `result_polygons` takes its place. Everything is compared
    on the pixels of the result raster; with a polygon result on those of the reference raster;
    with two polygon layers on square pixels of the job's resolution.

    Attributes:
        reference: Reference raster, or None.
        reference_polygons: Reference polygons, or None; one of the two must be given.
        reference_name: What people call the reference polygons.
        reference_field: Field that holds the class of each polygon; empty when all are of one.
        reference_names: Value to class name, as the map layer shows it; goes before names in files.
        result_polygons: Polygons in place of the job's source, or None.
        result_field: As `reference_field`.
        result_names: As `reference_names`.
        mapping: ``result, result = reference, reference; ...``: values or names of one class on
            each side; empty matches by name where both sides have names, else by number.
        ignore: Reference values or names to leave out, parted by commas; empty leaves out 255
            and, in a raster of several classes, 0; ``none`` leaves out nothing.
        boundary_tolerance: How far outlines may lie apart.
        boundary_unit: Unit of the tolerance.
        table: CSV to write, or None.
        report: HTML to write, or None.
    """

    reference: Optional[RasterSource] = None
    reference_polygons: Optional[VectorSource] = None
    reference_name: str = ""
    reference_field: str = ""
    reference_names: Dict[str, str] = field(default_factory=dict)
    result_polygons: Optional[VectorSource] = None
    result_field: str = ""
    result_names: Dict[str, str] = field(default_factory=dict)
    mapping: str = ""
    ignore: str = ""
    boundary_tolerance: float = 2.0
    boundary_unit: LengthUnit = LengthUnit.PIXELS
    table: Optional[str] = None
    report: Optional[str] = None


class AssessVariant(str, Enum):
    """Whether quality classes must agree with the mask: TP and FP inside of it, TN and FN outside.

    ``RAW`` is the network's own answer as the paper scores it.
    """

    CONSTRAINED = "constrained"
    RAW = "raw"


class Orientations(str, Enum):
    """Turned and mirrored looks at each tile, averaged: one, four or eight."""

    ONE = "one"
    FLIPS = "flips"
    ALL = "all"


@dataclass(frozen=True)
class AssessTask:
    """Imagery and a mask of it to a map of where the mask is right and wrong.

    A mask of several classes is assessed one class at a time; a pixel of the quality raster then
    tells about the class that the mask gives it, and a pixel without a class is FN when any class
    misses it.

    Attributes:
        mask: Mask raster, 0 is no object, or None.
        mask_polygons: Polygons under test, or None; one of the two must be given.
        mask_name: What people call the mask.
        class_field: Field that holds the class of each polygon; empty when all are of one.
        class_names: Value to class name, as the map layer shows it.
        classes: Values or names to assess, parted by commas; empty for all of them.
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

    mask: Optional[RasterSource] = None
    mask_polygons: Optional[VectorSource] = None
    mask_name: str = ""
    class_field: str = ""
    class_names: Dict[str, str] = field(default_factory=dict)
    classes: str = ""
    variant: AssessVariant = AssessVariant.CONSTRAINED
    shifted: bool = False
    orientations: Orientations = Orientations.ONE
    minimum_area: float = 0.0
    missed_area: float = 0.0
    quality_raster: Optional[str] = None
    polygon_file: Optional[str] = None
    missed_file: Optional[str] = None
    repaired_mask: Optional[str] = None
    scores: Optional[str] = None
    report: Optional[str] = None


@dataclass(frozen=True)
class PromptsTask:
    """Points, lines, boxes or polygons on the map to one outline each.

    Attributes:
        prompts: Layer of the prompts, in any CRS.
        prompts_name: What people call the layer.
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

    prompts: VectorSource
    prompts_name: str = ""
    label_field: str = ""
    group_field: str = ""
    threshold: float = 0.5
    minimum_score: float = 0.0
    polygons: PolygonOptions = field(default_factory=PolygonOptions)
    polygon_file: Optional[str] = None
    mask_raster: Optional[str] = None


class InstructionTask(str, Enum):
    """How an instruction is read; ``AUTO`` takes a question mark at its end for reasoning."""

    AUTO = "auto"
    REFERRING = "referring"
    REASONING = "reasoning"


class View(str, Enum):
    """How an instruction is run on the extent.

    ``WHOLE`` runs it on one overview of the extent, ``TILES`` on tiles at full detail; ``AUTO``
    takes the overview unless its pixels would be too coarse for the model.
    """

    AUTO = "auto"
    WHOLE = "whole"
    TILES = "tiles"


class Keep(str, Enum):
    """Which of the areas that match an instruction are kept: all, or the one with most evidence."""

    ALL = "all"
    BEST = "best"


@dataclass(frozen=True)
class ReferTask:
    """One instruction to the mask of what it speaks of.

    Attributes:
        instruction: A description or a question in words.
        task: See `InstructionTask`.
        view: See `View`.
        keep: See `Keep`.
        threshold: Probability above which a pixel belongs to the answer, 0..1.
        polygons: How outlines are made.
        mask_raster: Raster to write, 1 where the answer is, or None.
        polygon_file: GeoPackage to write, or None.
        scores: Raster of the probability to write, or None.
    """

    instruction: str
    task: InstructionTask = InstructionTask.AUTO
    view: View = View.AUTO
    keep: Keep = Keep.ALL
    threshold: float = 0.5
    polygons: PolygonOptions = field(default_factory=PolygonOptions)
    mask_raster: Optional[str] = None
    polygon_file: Optional[str] = None
    scores: Optional[str] = None


class ModelAction(str, Enum):
    """What is to be done with models."""

    LIST = "list"
    DOWNLOAD = "download"
    VERIFY = "verify"
    REMOVE = "remove"


@dataclass(frozen=True)
class ModelsTask:
    """List, fetch, verify or remove presets.

    Attributes:
        action: See `ModelAction`.
        models: Names of presets; empty means all of them for ``LIST`` and ``VERIFY``.
        folder: Model folder; empty for the user's own.
        adopt_from: Folder with files that were downloaded by hand; used in place of the network.
        offline: Whether the network may not be used.
        table: CSV to write, or None.
    """

    action: ModelAction = ModelAction.LIST
    models: Tuple[str, ...] = ()
    folder: str = ""
    adopt_from: str = ""
    offline: bool = False
    table: Optional[str] = None
