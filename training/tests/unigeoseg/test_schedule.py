"""The order in which tasks train."""

from __future__ import annotations

from collections import Counter

import pytest

from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.unigeoseg.schedule import ScheduledSampler, TaskSchedule


def test_schedule_moves_from_interactive_to_reasoning() -> None:
    schedule = TaskSchedule()
    assert set(schedule.weights(0.0).values()) == {1.0}
    assert schedule.weights(0.5)[Task.INTERACTIVE] == pytest.approx(0.85)
    end = schedule.weights(1.0)
    assert end[Task.INTERACTIVE] == pytest.approx(0.7)
    assert end[Task.REFERRING] == 1.0
    assert end[Task.REASONING] == pytest.approx(1.5)


def test_sampler_follows_the_schedule_and_covers_every_sample() -> None:
    tasks = [Task.INTERACTIVE] * 30 + [Task.REASONING] * 10
    drawn = list(ScheduledSampler(tasks, TaskSchedule(0.0, 1.0, 3.0), 4000, seed=5).draw())
    early = Counter(tasks[index] for index in drawn[:1000])
    late = Counter(tasks[index] for index in drawn[-1000:])
    assert 620 < early[Task.INTERACTIVE] < 780
    assert late[Task.INTERACTIVE] < 330
    counts = Counter(index for index in drawn if index >= 30)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_processes_share_one_order_that_can_be_resumed() -> None:
    tasks = [Task.REFERRING, Task.REASONING, Task.INTERACTIVE] * 5
    sampler = ScheduledSampler(tasks, TaskSchedule(), 60, seed=2)
    whole = list(sampler.draw())
    assert len(whole) == len(sampler) == 60
    assert list(sampler.draw(rank=0, processes=2)) == whole[::2]
    assert list(sampler.draw(rank=1, processes=2)) == whole[1::2]
    assert list(sampler.draw(start=40)) == whole[40:]
