"""The one job that every door makes: toolbox, dock, canvas, batch, command line, cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Dict, Optional, Tuple, Type

from .codec import from_json, to_json
from .errors import ErrorCode, JobError
from .source import GridRequest, RasterSource, VectorSource


class JobKind(str, Enum):
    """Names of jobs; each has its own task dataclass."""

    OPEN_VOCABULARY = "openvocabulary"
    RECLASSIFY = "reclassify"
    EVALUATE = "evaluate"


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


TASKS: Dict[JobKind, Type[Any]] = {
    JobKind.OPEN_VOCABULARY: OpenVocabularyTask,
    JobKind.RECLASSIFY: ReclassifyTask,
    JobKind.EVALUATE: EvaluateTask,
}


@dataclass(frozen=True)
class Job:
    """Everything the engine needs to do one piece of work, and to do it again.

    Attributes:
        kind: Which job; decides the class of ``task``.
        source: The raster to read.
        task: The job's own parameters, one of the classes in `TASKS`.
        grid: Part and pixel size to process.
        method: Static method name, for example ``gumix``; empty where a job has only one.
        model: Preset name or folder; empty for the default of the method.
        device: ``auto``, ``cuda``, ``cuda:1``, ``mps`` or ``cpu``.
    """

    kind: JobKind
    source: RasterSource
    task: Any
    grid: GridRequest = field(default_factory=GridRequest)
    method: str = ""
    model: str = ""
    device: str = "auto"

    def to_json(self) -> Dict[str, Any]:
        """Return the JSON form."""
        form: Dict[str, Any] = to_json(self)
        return form

    @classmethod
    def from_json(cls, data: Any) -> Job:
        """Build a job from its JSON form.

        Raises:
            JobError: ``INVALID_JOB`` naming the member that does not fit.
        """
        if not isinstance(data, dict):
            raise JobError(
                ErrorCode.INVALID_JOB,
                "The job is not a JSON object.",
                "Write a job with geoseg's own tools and change that.",
            )
        try:
            task_class = TASKS[JobKind(data.get("kind"))]
        except ValueError as error:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"There is no job called {data.get('kind')!r}.",
                f"Use one of {', '.join(kind.value for kind in TASKS)}.",
            ) from error
        task = from_json(task_class, data.get("task"), "Job.task")
        job = from_json(cls, {**data, "task": None})
        return Job(job.kind, job.source, task, job.grid, job.method, job.model, job.device)
