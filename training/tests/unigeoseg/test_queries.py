"""Requests about drawn scenes mean what they say, mirrored or not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.scenes.drawn_scene import SceneObject
from training.scenes.legend import CLASS_ID
from training.unigeoseg.queries import (
    MIN_PIXELS,
    SENTENCE_KINDS,
    Mirror,
    RequestSampler,
    SceneRequest,
    draw_requests,
    reword,
)
from training.unigeoseg.stored_scenes import SIDE, Query, StoredScene


def test_a_mirror_exchanges_words_and_pixels() -> None:
    text = "the leftmost building at the top right of the image"
    across, down = Mirror(across=True), Mirror(down=True)
    assert across.reword(text) == "the rightmost building at the top left of the image"
    assert down.reword(text) == "the leftmost building at the bottom right of the image"
    array = np.arange(4, dtype=np.uint8).reshape(2, 2)
    assert across.turn(array).tolist() == [[1, 0], [3, 2]]
    assert down.turn(array).tolist() == [[2, 3], [0, 1]]


def test_a_mirrored_scene_is_asked_the_same(scenes: list[StoredScene]) -> None:
    sampler, mirror = RequestSampler(scenes[1]), Mirror(across=True, down=True)
    for task in (Task.REFERRING, Task.REASONING):
        plain = sampler.draw(task, np.random.default_rng(4))
        turned = sampler.draw(task, np.random.default_rng(4), mirror=mirror)
        assert plain is not None
        assert turned is not None
        assert turned.text == mirror.reword(plain.text)
        assert np.array_equal(turned.mask, plain.mask[::-1, ::-1])


def test_only_sides_change_sides_in_a_mirror(scenes: list[StoredScene]) -> None:
    question = Query("where can many vehicles be left?", "reasoning", (), (1,))
    sampler = RequestSampler(dataclasses.replace(scenes[1], queries=(question,)))
    turned = sampler.draw(Task.REASONING, np.random.default_rng(0), mirror=Mirror(across=True))
    assert turned is not None
    assert turned.text == question.text


def test_wording_does_not_show_whether_a_class_is_there(scenes: list[StoredScene]) -> None:
    lake = Query("the lake", "class", (), (CLASS_ID["lake"],))
    with_lake = dataclasses.replace(
        scenes[1], queries=(lake,), classes=np.full((SIDE, SIDE), CLASS_ID["lake"], np.uint8)
    )
    random = np.random.default_rng(0)
    there = {wording(RequestSampler(with_lake), random) for _ in range(40)}
    empty = dataclasses.replace(scenes[1], classes=np.full_like(scenes[1].classes, 1))
    requests = [RequestSampler(empty).draw_absent(random) for _ in range(600)]
    absent = {one.text for one in requests if one is not None}
    assert there == {"the lake", "all lakes"} <= absent
    assert {"the grass", "all grass", "all bare soil"} <= absent


def wording(sampler: RequestSampler, random: np.random.Generator) -> str:
    """Return the wording of the only request that a scene allows."""
    request = sampler.draw(Task.REFERRING, random)
    assert request is not None
    return request.text


def test_requests_have_masks_worth_finding(scenes: list[StoredScene]) -> None:
    requests = draw_requests(RequestSampler(scenes[1]), 150, 1.0, np.random.default_rng(0))
    kinds = {one.kind for one in requests}
    assert {"class", "attribute", "position", "reasoning", "points", "box", "absent"} <= kinds
    for one in requests:
        assert one.mask.sum() == 0 if one.kind == "absent" else one.mask.sum() >= MIN_PIXELS


def test_training_starts_with_classes(scenes: list[StoredScene]) -> None:
    def share(progress: float) -> float:
        requests = draw_requests(RequestSampler(scenes[1]), 300, progress, np.random.default_rng(0))
        sentences = [one.kind for one in requests if one.kind in SENTENCE_KINDS]
        return sentences.count("class") / len(sentences)

    assert share(0.0) == pytest.approx(0.5, abs=0.1)
    assert share(1.0) == pytest.approx(1 / 6, abs=0.08)


def test_points_and_boxes_lie_on_the_mirrored_mask(scenes: list[StoredScene]) -> None:
    sampler, random = RequestSampler(scenes[1]), np.random.default_rng(1)
    for _ in range(30):
        one = sampler.draw(Task.INTERACTIVE, random, mirror=Mirror(across=True))
        assert one is not None
        found = parse_coordinates(one.text)
        assert found is not None
        if one.kind == "points":
            columns, rows = (found * SIDE).long().T.tolist()
            assert one.mask[rows, columns].all()
        else:
            rows, columns = np.nonzero(one.mask)
            bounds = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert (found[0] * SIDE).tolist() == pytest.approx(bounds, abs=0.2)


def test_relations_have_a_landmark_where_only_one_object_has_its_name() -> None:
    instances = np.zeros((SIDE, SIDE), np.uint16)
    for number, (row, column) in enumerate(((20, 20), (60, 20), (200, 30), (40, 220)), start=1):
        instances[row : row + 12, column : column + 12] = number
    names = ("unlabelled", "swimming pool", "tree", "car", "tree")
    classes = np.array([CLASS_ID[name] for name in names], np.uint8)[instances]
    objects = tuple(
        SceneObject(
            number, name, "", "van" if name == "car" else "", "", "", "", (0, 0, 0, 0), (0, 0), 144
        )
        for number, name in enumerate(names[1:], start=1)
    )
    image = np.zeros((SIDE, SIDE, 3), np.uint8)

    across = Mirror(across=True)

    def ask(text: str, kind: str = "relation") -> SceneRequest:
        scene = StoredScene(image, classes, instances, objects, (Query(text, kind, (2,), ()),))
        request = RequestSampler(scene).draw(
            Task.REFERRING, np.random.default_rng(0), mirror=across
        )
        assert request is not None
        return request

    for landmark, instance in (("swimming pool", 1), ("vehicle", 3), ("van", 3)):
        request = ask(f"the tree closest to the {landmark}")
        assert request.landmark is not None
        assert np.array_equal(request.landmark, across.turn(instances == instance))
    assert ask("the tree closest to the tree").landmark is None
    assert ask("the tree closest to the swimming pool", kind="extreme").landmark is None


def test_rewording_keeps_the_meaning() -> None:
    random = np.random.default_rng(0)
    said = {reword("all red buildings", random) for _ in range(200)}
    assert {"all red buildings", "the red buildings", "red buildings"} <= said
    assert all(text.endswith("red buildings") for text in said)
    point = "Please segment the target at the point [0.5,0.25]."
    assert {reword(point, random) for _ in range(20)} == {point}
    assert {reword("what could carry solar panels?", random) for _ in range(50)} == {
        "what could carry solar panels?",
        "what could carry solar panels",
    }
