"""Progressive task scheduling (PTS): which task the next sample trains.

Interactive requests are easiest and dominate at first; their share falls linearly to 0.7 of its
start while reasoning grows and referring stays. The paper gives the interactive end point alone;
the growth of reasoning is this project's choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.models.unigeoseg.tasks import Task


@dataclasses.dataclass(frozen=True)
class TaskSchedule:
    """Sampling multipliers at the end of training; all start at one and change linearly."""

    interactive_end: float = 0.7
    referring_end: float = 1.0
    reasoning_end: float = 1.5

    def weights(self, progress: float) -> dict[Task, float]:
        """Return the multiplier of each task at a progress of 0..1."""
        ends = {
            Task.REFERRING: self.referring_end,
            Task.REASONING: self.reasoning_end,
            Task.INTERACTIVE: self.interactive_end,
        }
        reached = min(max(progress, 0.0), 1.0)
        return {task: 1.0 + (end - 1.0) * reached for task, end in ends.items()}


class ScheduledSampler:
    """Draws sample indices so that tasks follow a schedule, each task without repeats.

    Every process builds the same sequence and takes its own share of it, so the order is the same
    for any number of processes and can be resumed anywhere.

    Args:
        tasks: Task of every sample.
        schedule: Multipliers over the run.
        length: Draws in the whole run.
        seed: Seed of the order.
    """

    def __init__(
        self, tasks: Sequence[Task], schedule: TaskSchedule, length: int, seed: int = 0
    ) -> None:
        if not tasks:
            raise ValueError("There are no samples to draw from.")
        self._members = {
            task: np.array([index for index, own in enumerate(tasks) if own is task])
            for task in Task
            if task in tasks
        }
        self._schedule = schedule
        self._length = length
        self._seed = seed

    def __len__(self) -> int:
        """Draws in the whole run."""
        return self._length

    def draw(self, start: int = 0, rank: int = 0, processes: int = 1) -> Iterator[int]:
        """Yield the indices of one process from draw ``start`` on.

        Args:
            start: First draw, counted over all processes.
            rank: This process.
            processes: Number of processes.
        """
        generator = np.random.default_rng(self._seed)
        queues = {task: _endless(members, generator) for task, members in self._members.items()}
        names = list(queues)
        sizes = np.array([len(self._members[task]) for task in names], dtype=float)
        for step in range(self._length):
            weights = self._schedule.weights(step / max(self._length - 1, 1))
            shares = sizes * np.array([weights[task] for task in names])
            task = names[int(generator.choice(len(names), p=shares / shares.sum()))]
            index = next(queues[task])
            if step >= start and step % processes == rank:
                yield index


def _endless(members: NDArray[np.int64], generator: np.random.Generator) -> Iterator[int]:
    while True:
        yield from generator.permutation(members).tolist()
