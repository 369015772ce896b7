"""The kinds of jobs: each is a file in ``protocol/tasks`` that registers its task.

A new kind needs three files: its task here, ``engine/jobs/<kind>.py`` with a function
``run(job, context)``, and ``processing/<kind>.py`` with its algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Type, TypeVar

from .methods import AUTO
from .parameters import Parameter

T = TypeVar("T")
GRID = ("grid.extent", "grid.resolution")
IMAGERY = (
    "source",
    "method",
    "model",
    *GRID,
    "source.bands",
    "source.nodata",
    "source.stretch.kind",
    "device",
)
AUTO_HELP = "the method that the model is recommended for"


def _no_methods() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class TaskKind:
    """One kind of job.

    Attributes:
        name: Kind of the job, file name of its task, command and algorithm.
        task: Dataclass of the job's own parameters.
        uses: Dotted members of `Job` that are its parameters as well.
        methods: Returns method name to help, the default first.
        source: Declaration of the job's source, where that is not imagery.
        needs_output: Whether a job that writes no file is pointless.
    """

    name: str
    task: Type[Any]
    uses: Tuple[str, ...]
    methods: Callable[[], Mapping[str, str]]
    source: Optional[Parameter]
    needs_output: bool

    @property
    def summary(self) -> str:
        """What it does, in one sentence."""
        return (self.task.__doc__ or self.name).strip().splitlines()[0]


KINDS: Dict[str, TaskKind] = {}
"""Name to kind, filled by importing `geoseg_qgis.protocol.tasks`."""


def task(
    name: str,
    uses: Tuple[str, ...] = (),
    methods: Callable[[], Mapping[str, str]] = _no_methods,
    source: Optional[Parameter] = None,
    needs_output: bool = True,
) -> Callable[[Type[T]], Type[T]]:
    """Register a dataclass as the task of a kind; see `TaskKind`."""

    def register(cls: Type[T]) -> Type[T]:
        KINDS[name] = TaskKind(name, cls, uses, methods, source, needs_output)
        return cls

    return register


def with_auto(methods: Mapping[str, str]) -> Dict[str, str]:
    """Return methods behind ``auto``."""
    return {AUTO: AUTO_HELP, **methods}
