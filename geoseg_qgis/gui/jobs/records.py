"""The list of runs, in plain Python: what each is, how far it is, and how it ended."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from ...processing.time_left import TimeLeft

MOST_ENDED = 50
"""Older runs leave the list."""


class State(str, Enum):
    """What a run does, or how it ended."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more."""
        return self not in (State.RUNNING, State.CANCELLING)


@dataclass
class JobRecord:
    """One run.

    Attributes:
        number: Counts from 1.
        title: Name for people.
        algorithm: Id of the algorithm.
        parameters: Those of the run, as a later run needs them.
        python_command: The run as a line of Python.
        started: Seconds of the clock of the list.
        state: See `State`.
        fraction: What is done, 0..1.
        phase: What is being done.
        log: Level (``info``, ``warning`` or ``error``) and text of each line.
        outputs: Results by name.
        ended: Seconds of the clock, None while it runs.
    """

    number: int
    title: str
    algorithm: str
    parameters: Dict[str, Any]
    python_command: str
    started: float
    state: State = State.RUNNING
    fraction: float = 0.0
    phase: str = ""
    log: List[Tuple[str, str]] = field(default_factory=list)
    outputs: Dict[str, Any] = field(default_factory=dict)
    ended: Optional[float] = None

    @property
    def error(self) -> str:
        """The last error, empty for none."""
        errors = [text for level, text in self.log if level == "error"]
        return errors[-1] if errors else ""

    @property
    def warnings(self) -> Tuple[str, ...]:
        """What the user must see."""
        return tuple(text for level, text in self.log if level == "warning")

    @property
    def folder(self) -> Optional[Path]:
        """The folder of the first result that is a file on the disk, None without one."""
        for value in self.outputs.values():
            if isinstance(value, str) and value:
                path = Path(value.split("|", maxsplit=1)[0])
                if path.is_absolute() and path.is_file():
                    return path.parent
        return None


def _ignore(record: JobRecord) -> None:
    """Do nothing about a change."""


class JobList:
    """All runs, the newest first.

    Args:
        clock: Returns seconds.
        changed: Called with the record of a run whenever it changes.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        changed: Callable[[JobRecord], None] = lambda _record: None,
    ) -> None:
        self._clock = clock
        self._changed = changed
        self._records: List[JobRecord] = []
        self._times: Dict[int, TimeLeft] = {}
        self._count = 0

    def __iter__(self) -> Iterator[JobRecord]:
        """Yield the runs, the newest first."""
        return iter(tuple(self._records))

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self._records)

    @property
    def running(self) -> Tuple[JobRecord, ...]:
        """The runs that have not ended."""
        return tuple(record for record in self._records if not record.state.ended)

    def add(
        self, title: str, algorithm: str, parameters: Mapping[str, Any], python_command: str
    ) -> JobRecord:
        """Add a run that begins now, and drop the oldest ones that have ended."""
        self._count += 1
        now = self._clock()
        record = JobRecord(self._count, title, algorithm, dict(parameters), python_command, now)
        self._times[record.number] = TimeLeft(now)
        self._records.insert(0, record)
        for old in [one for one in self._records if one.state.ended][MOST_ENDED:]:
            self.remove(old.number)
        self._changed(record)
        return record

    def get(self, number: int) -> Optional[JobRecord]:
        """Return a run, None when it has left the list."""
        return next((record for record in self._records if record.number == number), None)

    def remove(self, number: int) -> None:
        """Take a run that has ended off the list."""
        self._records = [
            record for record in self._records if record.number != number or not record.state.ended
        ]
        if self.get(number) is None:
            self._times.pop(number, None)

    def progress(self, number: int, fraction: float) -> None:
        """Set the finished fraction in 0..1."""
        record = self.get(number)
        if record is not None and not record.state.ended:
            record.fraction = min(1.0, max(0.0, fraction))
            self._times[number].update(self._clock(), record.fraction)
            self._changed(record)

    def phase(self, number: int, text: str) -> None:
        """Set what is being done."""
        record = self.get(number)
        if record is not None and not record.state.ended:
            record.phase = text
            self._changed(record)

    def line(self, number: int, level: str, text: str) -> None:
        """Add a line to the log."""
        record = self.get(number)
        if record is not None:
            record.log.append((level, text))
            self._changed(record)

    def cancelling(self, number: int) -> None:
        """Say that the user cancelled."""
        record = self.get(number)
        if record is not None and record.state is State.RUNNING:
            record.state = State.CANCELLING
            self._changed(record)

    def end(self, number: int, successful: bool, outputs: Mapping[str, Any]) -> None:
        """Say how a run ended; one that failed after a cancel was cancelled."""
        record = self.get(number)
        if record is None or record.state.ended:
            return
        was_cancelled = record.state is State.CANCELLING
        record.ended = self._clock()
        record.outputs = dict(outputs)
        if successful:
            record.state, record.fraction = State.FINISHED, 1.0
        else:
            record.state = State.CANCELLED if was_cancelled else State.FAILED
        self._changed(record)

    def time_left(self, number: int) -> Optional[float]:
        """Return the seconds that a run still takes, None when nobody can know."""
        record = self.get(number)
        if record is None or record.state is not State.RUNNING:
            return None
        return self._times[number].seconds(self._clock())

    def elapsed(self, number: int) -> float:
        """Return the seconds that a run has taken so far."""
        record = self.get(number)
        if record is None:
            return 0.0
        return (self._clock() if record.ended is None else record.ended) - record.started


def process_command(algorithm: str, parameters: Mapping[str, Any]) -> str:
    """Return the line for a shell that repeats a run with ``qgis_process``.

    Args:
        algorithm: Id of the algorithm.
        parameters: Texts, numbers, truth values and lists of these; None is left out.
    """
    words = ["qgis_process", "run", algorithm, "--"]
    for name, value in parameters.items():
        items = value if isinstance(value, (list, tuple)) else [value]
        words += [f"{name}={_plain(item)}" for item in items if item is not None]
    return " ".join(shlex.quote(word) for word in words)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
