"""The one job that every door makes: toolbox, dock, canvas, batch, command line, cluster."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

from . import tasks  # noqa: F401  its import fills the registry
from .codec import from_json, to_json
from .errors import ErrorCode, JobError
from .limits import checked
from .parameters import Members, Parameter, declared, parameter
from .registry import KINDS, TaskKind
from .source import GridRequest, LayerSource, RasterSource, VectorSource

DEVICES = {
    "auto": "the fastest device, or the one chosen in the GeoSeg options",
    "cuda": "an NVIDIA card",
    "cuda:all": "all NVIDIA cards, which share the tiles",
    "mps": "an Apple chip",
    "cpu": "the processor",
}


@dataclass(frozen=True)
class Job:
    """Everything the engine needs to do one piece of work, and to do it again.

    Attributes:
        source: The raster to read, None for jobs that name what they read in their task.
        task: The job's own parameters, a class of `geoseg_qgis.protocol.tasks`.
        grid: Extent and pixel size to process.
        method: Static method name, for example ``gumix``; empty or ``auto`` for the one that the
            model is recommended for.
        model: Preset name or folder; empty for the default of the method.
        device: ``auto``, ``cuda``, ``cuda:1``, ``cuda:all``, ``mps`` or ``cpu``.
    """

    source: Optional[RasterSource] = parameter(
        "Imagery",
        "Any raster layer: orthophoto, satellite scene, virtual raster or web map. GeoSeg takes a "
        "picture of web maps and other layers without a file first; give them an extent.",
        name="INPUT",
    )
    task: Any  # type: ignore[misc]  # mypy takes a parameter for a default
    grid: GridRequest = field(default_factory=GridRequest)
    method: str = parameter("Method", "How the job is done.", "", name="METHOD")
    model: str = parameter(
        "Model",
        "Name of a model, or a folder with a card.json and its weights. offline-small comes with "
        "the plugin. When empty, it is used if it serves the method.",
        "",
        name="MODEL",
        suggestion="offline-small",
        longest=4096,
    )
    device: str = parameter(
        "Device",
        "Where the model runs.",
        "auto",
        name="DEVICE",
        choices=DEVICES,
        pattern=r"cuda:\d{1,3}",
        advanced=True,
    )

    @property
    def kind(self) -> str:
        """Name of the kind of job."""
        return _kind(self).name

    @property
    def raster(self) -> RasterSource:
        """The raster to read.

        Raises:
            JobError: ``INVALID_JOB`` when the job names none.
        """
        if self.source is None:
            raise JobError(
                ErrorCode.INVALID_JOB,
                "The job names no raster.",
                "Give the job a source with a uri.",
            )
        return self.source

    @property
    def layers(self) -> Tuple[LayerSource, ...]:
        """Every layer that the job reads, its source first."""
        members = [getattr(self.task, item.name) for item in dataclasses.fields(self.task)]
        return tuple(
            member
            for member in (self.source, *members)
            if isinstance(member, (RasterSource, VectorSource))
        )

    @property
    def outputs(self) -> Dict[str, str]:
        """Output name to path of the files to write."""
        return {
            item.name: getattr(self.task, item.path[-1])
            for item in declared(type(self.task))
            if item.is_output and getattr(self.task, item.path[-1]) is not None
        }

    def to_json(self) -> Dict[str, Any]:
        """Return the JSON form."""
        return {"kind": self.kind, **to_json(self)}

    @classmethod
    def from_json(cls, data: Any) -> Job:
        """Build a job from its JSON form.

        Raises:
            JobError: ``INVALID_JOB`` naming what does not fit, see `validate`.
        """
        if not isinstance(data, dict):
            raise JobError(
                ErrorCode.INVALID_JOB,
                "The job is not a JSON object.",
                "Make a job with --print-job and change that.",
            )
        kind = kind_called(data.get("kind"))
        task = from_json(kind.task, data.get("task"), "Job.task")
        members = {name: value for name, value in data.items() if name != "kind"}
        job: Job = from_json(Job, {**members, "task": None})
        return validate(dataclasses.replace(job, task=task))


def validate(job: Job) -> Job:
    """Check every value of a job and return the job in its normal form.

    Everything that makes or takes jobs does this. Numbers must be finite and within their limits,
    texts and lists must not be too long, and words must be among their choices.

    Raises:
        JobError: ``INVALID_JOB`` with the label of the parameter that does not fit, or
            ``INVALID_CLASSES``.
    """
    for item in parameters_of(job.kind):
        if item.path == ("source",) and job.source is None:
            raise item.missing()
        if item.path == ("method",):
            job = dataclasses.replace(job, method=job.method or item.suggestion)
            item.check(job.method)
    return checked(job)


def make_job(kind: str, values: Mapping[Members, Any]) -> Job:
    """Return the job of the values that a user gave.

    Args:
        kind: Name of the kind of job.
        values: Members that lead to a parameter, and its value in its JSON form or as a dataclass;
            what is left out gets its default.

    Raises:
        JobError: ``INVALID_JOB`` or ``INVALID_CLASSES``, see `validate`.
    """
    form: Dict[str, Any] = {"task": {}}
    for path, value in values.items():
        place = form
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = to_json(value)
    return Job.from_json({"kind": kind, "source": None, **form})


def kind_called(name: Any) -> TaskKind:
    """Return a kind of job.

    Raises:
        JobError: ``INVALID_JOB`` when there is none of this name.
    """
    found = KINDS.get(name) if isinstance(name, str) else None
    if found is None:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"There is no job called {name!r}.",
            f"Use one of {', '.join(KINDS)}.",
        )
    return found


def parameters_of(kind: str) -> Tuple[Parameter, ...]:
    """Return all parameters of a kind of job in the order of dialogs, advanced ones last."""
    found = KINDS[kind]
    whole = {".".join(item.path): item for item in _job_parameters(found)}
    shared = [whole[name] for name in found.uses]
    own = list(declared(found.task, ("task",)))
    first = [item for item in shared if item.path == ("source",)]
    rest = [item for item in (*own, *shared) if item not in first]
    return tuple(sorted([*first, *rest], key=lambda item: (item.is_output, item.advanced)))


def _job_parameters(kind: TaskKind) -> Iterator[Parameter]:
    for item in (*declared(Job), *declared(RasterSource, ("source",))):
        if item.path == ("source",) and kind.source is not None:
            yield dataclasses.replace(
                kind.source, path=item.path, annotation=item.annotation, default=item.default
            )
        elif item.path == ("method",):
            methods = kind.methods()
            yield dataclasses.replace(item, choices=methods, suggestion=next(iter(methods), ""))
        else:
            yield item


def _kind(job: Job) -> TaskKind:
    for kind in KINDS.values():
        if isinstance(job.task, kind.task):
            return kind
    raise TypeError(f"{type(job.task).__name__} is no registered task.")
