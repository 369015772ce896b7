"""Generated scenes: the same everywhere, and what is asked is what is painted."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.training.unigeoseg.samples import Sample
from geoseg_qgis.engine.training.unigeoseg.scenes import (
    ANSWERS,
    KINDS,
    PLURALS,
    QUESTIONS,
    ROOFS,
    draw_scene,
    generated_scenes,
)

SIDE = 96


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [scene.read() for scene in generated_scenes(90, seed=4, side=SIDE)]


def test_scenes_are_drawn_from_their_number_alone() -> None:
    first, second = generated_scenes(2, seed=1, side=SIDE)
    again = generated_scenes(2, seed=1, side=SIDE)[0].read()
    other = generated_scenes(1, seed=2, side=SIDE)[0].read()
    assert np.array_equal(first.read().image, again.image)
    assert first.read().instruction == again.instruction
    assert not np.array_equal(again.image, other.image)
    assert not np.array_equal(again.image, second.read().image)


def test_tasks_take_turns(samples: list[Sample]) -> None:
    tasks = [sample.task for sample in samples]
    assert tasks[:3] == [Task.REFERRING, Task.INTERACTIVE, Task.REASONING]
    assert [tasks.count(task) for task in Task] == [30, 30, 30]


def test_points_and_boxes_lie_on_what_they_ask_for(samples: list[Sample]) -> None:
    boxes = 0
    for sample in samples:
        coordinates = parse_coordinates(sample.instruction)
        assert (coordinates is not None) == (sample.task is Task.INTERACTIVE)
        if coordinates is None:
            continue
        if coordinates.shape[1] == 2:
            columns, rows = (coordinates * SIDE).long().clamp(0, SIDE - 1).T.tolist()
            assert sample.mask[rows, columns].all()
            continue
        boxes += 1
        rows, columns = np.nonzero(sample.mask)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(coordinates[0].numpy() * SIDE - edges).max() < 0.06
    assert 5 < boxes < 25


def test_coloured_buildings_have_their_colour(samples: list[Sample]) -> None:
    checked = 0
    for sample in samples:
        words = sample.instruction.split()
        if sample.task is Task.REFERRING and len(words) == 3 and words[1] in ROOFS:
            colour = sample.image[sample.mask.astype(bool)].mean(axis=0)
            paint = np.array(ROOFS[words[1]], dtype=float)
            similarity = colour @ paint / np.linalg.norm(colour) / np.linalg.norm(paint)
            assert similarity > 0.99
            checked += 1
    assert checked >= 3


def test_things_do_not_overlap_and_buildings_are_there() -> None:
    for seed in range(10):
        image, things = draw_scene(np.random.default_rng(seed), SIDE)
        assert image.shape == (SIDE, SIDE, 3)
        assert image.dtype == np.uint8
        assert np.sum([thing.region for thing in things], axis=0).max() == 1
        assert {thing.kind for thing in things} <= set(KINDS)
        assert any(thing.kind == "building" for thing in things)


def test_questions_name_no_object(samples: list[Sample]) -> None:
    for sample in samples:
        if sample.task is Task.REASONING:
            assert sample.instruction.endswith("?")
            assert (sample.answer == "There is none.") == (not sample.mask.any())
    for kind in KINDS:
        assert kind in ANSWERS
        for question in QUESTIONS[kind]:
            assert kind not in question.lower()
            assert PLURALS[kind] not in question.lower()
