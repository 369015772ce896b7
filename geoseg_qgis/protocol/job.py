"""The one job that every door makes: toolbox, dock, canvas, batch, command line, cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Dict, Optional, Type

from .codec import from_json, to_json
from .errors import ErrorCode, JobError
from .source import GridRequest, RasterSource
from .tasks import (
    AssessTask,
    EvaluateTask,
    ModelsTask,
    OpenVocabularyTask,
    PromptsTask,
    ReclassifyTask,
    ReferTask,
)


class JobKind(str, Enum):
    """Names of jobs; each has its own task dataclass."""

    OPEN_VOCABULARY = "openvocabulary"
    REFER = "refer"
    PROMPTS = "prompts"
    ASSESS = "assess"
    RECLASSIFY = "reclassify"
    EVALUATE = "evaluate"
    MODELS = "models"


TASKS: Dict[JobKind, Type[Any]] = {
    JobKind.OPEN_VOCABULARY: OpenVocabularyTask,
    JobKind.REFER: ReferTask,
    JobKind.PROMPTS: PromptsTask,
    JobKind.ASSESS: AssessTask,
    JobKind.RECLASSIFY: ReclassifyTask,
    JobKind.EVALUATE: EvaluateTask,
    JobKind.MODELS: ModelsTask,
}


@dataclass(frozen=True)
class Job:
    """Everything the engine needs to do one piece of work, and to do it again.

    Attributes:
        kind: Which job; decides the class of ``task``.
        source: The raster to read, None for jobs about models.
        task: The job's own parameters, one of the classes in `TASKS`.
        grid: Part and pixel size to process.
        method: Static method name, for example ``gumix``; empty where a job has only one.
        model: Preset name or folder; empty for the default of the method.
        device: ``auto``, ``cuda``, ``cuda:1``, ``cuda:all``, ``mps`` or ``cpu``.
    """

    kind: JobKind
    source: Optional[RasterSource]
    task: Any
    grid: GridRequest = field(default_factory=GridRequest)
    method: str = ""
    model: str = ""
    device: str = "auto"

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
