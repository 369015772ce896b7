"""Stored scenes: what is asked of them means what it says, however they are looked at."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.position_encoding import fourier_features
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.land_cover import BIT, partial_label
from training.scenes import generate_scene
from training.scenes.legend import CLASS_ID, CLASS_NAMES
from training.scenes.referring import refer
from training.unigeoseg.pixel_head import (
    CENTRE_FREQUENCIES,
    COLOURS,
    IGNORED,
    at_cells,
    dense_loss,
    join_targets,
    partial_targets,
    scene_targets,
)
from training.unigeoseg.queries import (
    FEWEST_PIXELS,
    SENTENCE_KINDS,
    Asked,
    Asker,
    Mirror,
    draw_requests,
    reword,
)
from training.unigeoseg.query_head import (
    NO_LANDMARK,
    Meaning,
    landmark_loss,
    meaning_loss,
    meaning_of,
    unknown_meaning,
)
from training.unigeoseg.stored_scenes import (
    SIDE,
    StoredScene,
    Thing,
    Wish,
    pixel_size_of,
    stored_scenes,
)
from training.unigeoseg.weak_labels import RealAsked, allowed_classes, ask_of_labels

SEEDS = (5, 6)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[StoredScene]:
    return stored_scenes(tmp_path_factory.mktemp("scenes"), SEEDS)


def test_a_stored_scene_is_the_generated_one(scenes: list[StoredScene], tmp_path: Path) -> None:
    scene = generate_scene(SEEDS[1], SIDE, pixel_size_of(SEEDS[1]))
    stored = scenes[1]
    assert np.array_equal(stored.image, scene.image)
    assert np.array_equal(stored.classes, scene.classes)
    assert np.array_equal(stored.instances, scene.instances)
    wishes = {wish.text: wish for wish in stored.wishes}
    for expression in refer(scene, 3, 40):
        assert np.array_equal(stored.mask(wishes[expression.text]), expression.mask)
    again = stored_scenes(tmp_path, SEEDS[1:])[0]
    assert again.wishes == stored.wishes
    assert not list(tmp_path.glob("*.part*"))


def test_a_mirror_exchanges_words_and_pixels() -> None:
    text = "the leftmost building at the top right of the image"
    across, down = Mirror(across=True), Mirror(down=True)
    assert across.reword(text) == "the rightmost building at the top left of the image"
    assert down.reword(text) == "the leftmost building at the bottom right of the image"
    array = np.arange(4, dtype=np.uint8).reshape(2, 2)
    assert across.turn(array).tolist() == [[1, 0], [3, 2]]
    assert down.turn(array).tolist() == [[2, 3], [0, 1]]


def test_a_mirrored_scene_is_asked_the_same(scenes: list[StoredScene]) -> None:
    asker, mirror = Asker(scenes[1]), Mirror(across=True, down=True)
    for task in (Task.REFERRING, Task.REASONING):
        plain = asker.ask(task, np.random.default_rng(4))
        turned = asker.ask(task, np.random.default_rng(4), mirror=mirror)
        assert plain is not None
        assert turned is not None
        assert turned.text == mirror.reword(plain.text)
        assert np.array_equal(turned.mask, plain.mask[::-1, ::-1])


def test_only_sides_change_sides_in_a_mirror(scenes: list[StoredScene]) -> None:
    question = Wish("where can many vehicles be left?", "reasoning", (), (1,))
    asker = Asker(dataclasses.replace(scenes[1], wishes=(question,)))
    turned = asker.ask(Task.REASONING, np.random.default_rng(0), mirror=Mirror(across=True))
    assert turned is not None
    assert turned.text == question.text


def test_wording_does_not_tell_whether_a_class_is_there(scenes: list[StoredScene]) -> None:
    lake = Wish("the lake", "class", (), (CLASS_ID["lake"],))
    with_lake = dataclasses.replace(
        scenes[1], wishes=(lake,), classes=np.full((SIDE, SIDE), CLASS_ID["lake"], np.uint8)
    )
    random = np.random.default_rng(0)
    there = {wording(Asker(with_lake), random) for _ in range(40)}
    empty = dataclasses.replace(scenes[1], classes=np.full_like(scenes[1].classes, 1))
    asked = [Asker(empty).ask_for_nothing(random) for _ in range(600)]
    absent = {one.text for one in asked if one is not None}
    assert there == {"the lake", "all lakes"} <= absent
    assert {"the grass", "all grass", "all bare soil"} <= absent


def wording(asker: Asker, random: np.random.Generator) -> str:
    """Return the wording of the only request that a scene allows."""
    asked = asker.ask(Task.REFERRING, random)
    assert asked is not None
    return asked.text


def test_varied_pictures_are_asked_for_no_colours(scenes: list[StoredScene]) -> None:
    random = np.random.default_rng(0)
    asked = draw_requests(Asker(scenes[1]), 150, 1.0, random, attributes=False)
    assert "attribute" not in {one.kind for one in asked}
    targets = scene_targets(scenes[1], Mirror(), SIDE // 4, coloured=False)
    assert (targets.facts["colour"] == IGNORED).all()
    assert (targets.facts["roof"] != IGNORED).any()


def test_requests_have_answers_worth_finding(scenes: list[StoredScene]) -> None:
    asked = draw_requests(Asker(scenes[1]), 150, 1.0, np.random.default_rng(0))
    kinds = {one.kind for one in asked}
    assert {"class", "attribute", "position", "reasoning", "points", "box", "absent"} <= kinds
    for one in asked:
        assert one.mask.sum() == 0 if one.kind == "absent" else one.mask.sum() >= FEWEST_PIXELS


def test_training_starts_with_classes(scenes: list[StoredScene]) -> None:
    def share(progress: float) -> float:
        asked = draw_requests(Asker(scenes[1]), 300, progress, np.random.default_rng(0))
        sentences = [one.kind for one in asked if one.kind in SENTENCE_KINDS]
        return sentences.count("class") / len(sentences)

    assert share(0.0) == pytest.approx(0.5, abs=0.1)
    assert share(1.0) == pytest.approx(1 / 6, abs=0.08)


def test_points_and_boxes_lie_on_the_mirrored_answer(scenes: list[StoredScene]) -> None:
    asker, random = Asker(scenes[1]), np.random.default_rng(1)
    for _ in range(30):
        one = asker.ask(Task.INTERACTIVE, random, mirror=Mirror(across=True))
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


def test_relations_name_their_landmark_where_only_one_thing_bears_its_name() -> None:
    instances = np.zeros((SIDE, SIDE), np.uint16)
    for number, (row, column) in enumerate(((20, 20), (60, 20), (200, 30), (40, 220)), start=1):
        instances[row : row + 12, column : column + 12] = number
    names = ("unlabelled", "swimming pool", "tree", "car", "tree")
    classes = np.array([CLASS_ID[name] for name in names], np.uint8)[instances]
    things = tuple(
        Thing(number, name, "", "van" if name == "car" else "", "", "", (0.0, 0.0), 144.0)
        for number, name in enumerate(names[1:], start=1)
    )
    image = np.zeros((SIDE, SIDE, 3), np.uint8)

    across = Mirror(across=True)

    def ask(text: str, kind: str = "relation") -> Asked:
        scene = StoredScene(image, classes, instances, things, (Wish(text, kind, (2,), ()),))
        asked = Asker(scene).ask(Task.REFERRING, np.random.default_rng(0), mirror=across)
        assert asked is not None
        return asked

    for landmark, instance in (("swimming pool", 1), ("vehicle", 3), ("van", 3)):
        asked = ask(f"the tree closest to the {landmark}")
        assert asked.landmark is not None
        assert np.array_equal(asked.landmark, across.turn(instances == instance))
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


def test_dense_facts_of_a_scene(scenes: list[StoredScene]) -> None:
    scene = scenes[1]
    facts = scene_targets(scene, Mirror(across=True), SIDE // 4)
    assert facts.facts["class_name"].shape == (1, SIDE // 4, SIDE // 4)
    row, column = 10, 20
    # Even rows and columns are read before their centre.
    pixel = 4 * row + 1, SIDE - 1 - (4 * column + 1)
    assert facts.facts["class_name"][0, row, column] == scene.classes[pixel]
    buildings = [t for t in scene.things if t.class_name == "building" and t.colour in COLOURS]
    cells = at_cells(scene.instances[:, ::-1], SIDE // 4)
    largest = max(buildings, key=lambda thing: int((cells == thing.instance).sum()))
    inside = torch.from_numpy(cells == largest.instance)
    assert set(facts.facts["colour"][0][inside].tolist()) == {COLOURS.index(largest.colour)}
    centre = facts.centres[0][inside][0].tolist()
    assert centre[:2] == pytest.approx(
        [1 - (largest.centroid[0] + 0.5) / SIDE, (largest.centroid[1] + 0.5) / SIDE], abs=1e-5
    )
    assert (facts.facts["colour"][0][torch.from_numpy(cells == 0)] == IGNORED).all()


def test_cells_of_small_objects_weigh_more_in_the_dense_loss() -> None:
    centres = torch.full((1, 1, 4, 3), torch.nan)
    for column, share in enumerate((1 / 64, 1 / 256, 1 / 65536)):
        centres[0, 0, column] = torch.tensor([0.5, 0.5, math.log10(share) / 2])
    labels = torch.full((1, 4), BIT["water"])
    surely = partial_targets(allowed_classes(labels, 4)[:, :1])._replace(centres=centres)

    def loss(wrong: list[int]) -> float:
        classes = torch.full((1, len(CLASS_NAMES), 1, 4), -20.0)
        classes[:, CLASS_ID["lake"]] = 20.0
        classes[:, CLASS_ID["lake"], :, wrong] = -30.0
        silent = [torch.zeros(1, 1, 1, 4)] * 3
        waves = torch.zeros(1, 4 * CENTRE_FREQUENCIES + 1, 1, 4)
        return float(dense_loss([classes, *silent, waves], surely))

    right = loss([])
    stuff = loss([3]) - right
    ratios = [(loss([column]) - right) / stuff for column in (0, 1, 2)]
    assert ratios == pytest.approx([1, 2, 4], rel=1e-3)


def test_dense_loss_falls_to_zero_where_only_allowed_classes_are_read() -> None:
    labels = torch.full((8, 8), BIT["water"])
    labels[:4] = partial_label("tree", "grass")
    labels[0] = 0
    targets = partial_targets(allowed_classes(labels, 2))
    assert targets.allowed.shape == (1, len(CLASS_NAMES), 2, 2)
    classes = torch.full((1, len(CLASS_NAMES), 2, 2), -20.0)
    classes[:, CLASS_ID["lake"], 1] = 20.0
    classes[:, CLASS_ID["forest"], 0] = 20.0
    read = [classes, torch.zeros(1, 11, 2, 2), torch.zeros(1, 27, 2, 2), torch.zeros(1, 3, 2, 2)]
    read.append(torch.zeros(1, 4 * CENTRE_FREQUENCIES + 1, 2, 2))
    assert float(dense_loss(read, targets)) == pytest.approx(0.0, abs=1e-5)
    classes[:, CLASS_ID["road"]] = 25.0
    assert float(dense_loss(read, targets)) == pytest.approx(5.0, abs=0.1)
    twice = [torch.cat([values, values]) for values in read]
    assert float(dense_loss(twice, join_targets([targets, targets]))) == pytest.approx(5.0, abs=0.1)


def test_real_labels_answer_only_what_they_are_certain_of() -> None:
    labels = torch.full((32, 32), partial_label("tree", "grass"))
    labels[:16] = BIT["building"]
    labels[-2:] = 0
    asked = ask_of_labels(labels, 60, np.random.default_rng(0))
    assert len(asked) == 60
    by_text = {re.sub(r"^(the|all) ", "", one.text): one for one in asked}
    buildings = by_text["buildings"]
    assert buildings.answer[:16].all()
    assert not buildings.answer[16:].any()
    assert buildings.known[:30].all()
    assert not buildings.known[30:].any()
    vegetation = by_text["vegetation"]
    assert vegetation.answer[16:30].all()
    assert "trees" not in by_text
    # What may be a tree is no picture without trees, but one without water.
    assert "water" in {one.text.removeprefix("all ") for one in ask_often(labels)}
    assert "trees" not in {one.text.removeprefix("all ") for one in ask_often(labels)}
    assert ask_of_labels(torch.zeros(32, 32, dtype=torch.long), 5, np.random.default_rng(0)) == []


def ask_often(labels: torch.Tensor) -> list[RealAsked]:
    """Ask so often that even what is absent is asked."""
    return ask_of_labels(labels, 400, np.random.default_rng(1))


def test_roads_of_real_pictures_may_carry_vehicles() -> None:
    labels = torch.full((40, 40), BIT["building"])
    labels[:20] = partial_label("road", "car")
    labels[30:] = BIT["car"]
    roads = next(one for one in ask_often(labels) if one.text == "all roads")
    assert roads.answer[:20].all()
    assert not roads.answer[20:].any()
    assert roads.known[:30].all()
    assert not roads.known[30:].any()
    labels[:20] = partial_label("road", "grass")
    assert "all roads" not in {one.text for one in ask_often(labels)}


def test_meaning_tells_classes_and_the_place_of_single_objects(scenes: list[StoredScene]) -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[64:128, 0:32] = True
    asked = [
        Asked("the field", Task.REFERRING, "extreme", mask, single=True),
        Asked("the point", Task.INTERACTIVE, "points", mask, single=True),
        Asked("all fields", Task.REFERRING, "class", mask),
        Asked("all seas", Task.REFERRING, "absent", np.zeros_like(mask)),
        Asked("the car closest to the field", Task.REFERRING, "relation", mask.T, True, mask),
    ]
    meaning = meaning_of(scenes[1], Mirror(), asked)
    assert meaning.classes.shape == (1, 5, len(CLASS_NAMES))
    shares = np.bincount(scenes[1].classes[mask], minlength=len(CLASS_NAMES)) / mask.sum()
    assert meaning.classes[0, 0].tolist() == pytest.approx(shares.tolist(), abs=1e-6)
    assert float(meaning.classes[0, 3].sum()) == 0.0
    place = [1 / 16, 3 / 8, 1 / 8, 1 / 4]
    assert meaning.places[0, 0].tolist() == pytest.approx(place)
    assert meaning.places[0, 2:4].isnan().all()
    assert meaning.places[0, 4].tolist() == pytest.approx([3 / 8, 1 / 16, 1 / 4, 1 / 8])
    assert meaning.told.tolist() == [[False, True, False, False, False]]
    assert meaning.landmarks[0, :4].isnan().all()
    assert meaning.landmarks[0, 4].tolist() == pytest.approx(place)
    assert meaning.landmark_classes.tolist() == [[NO_LANDMARK] * 4 + [int(shares.argmax())]]


def test_meaning_loss_is_zero_for_what_is_meant() -> None:
    place = torch.tensor([[0.25, 0.5, 0.1, 0.2]])
    classes = nn.functional.one_hot(torch.tensor([[3]]), len(CLASS_NAMES)).float()
    unnamed = torch.full((1, 1, 4), torch.nan)
    nothing = torch.tensor([[NO_LANDMARK]])
    meaning = Meaning(classes, place[None], torch.tensor([[True]]), unnamed, nothing)
    waves = [fourier_features(place[:, axis], CENTRE_FREQUENCIES) for axis in (0, 1)]
    right = torch.cat([50.0 * classes[0], *waves, place[:, 2:]], dim=1)[None]
    assert float(meaning_loss([right, right], meaning)) == pytest.approx(0.0, abs=1e-6)
    wrong = right.clone()
    wrong[..., -1] += 1.0
    expected = 5.0 / (4 * CENTRE_FREQUENCIES + 2)
    assert float(meaning_loss([right, wrong], meaning)) == pytest.approx(expected)
    untold = meaning._replace(told=torch.tensor([[False]]))
    assert float(meaning_loss([wrong, right], untold)) == pytest.approx(0.0, abs=1e-6)
    assert float(meaning_loss([right, right], unknown_meaning(1))) == 0.0
    places = slice(len(CLASS_NAMES), None)
    kinds = 50.0 * classes
    assert float(landmark_loss(kinds, wrong[..., places], meaning)) == 0.0
    named = meaning._replace(landmarks=place[None], landmark_classes=torch.tensor([[3]]))
    assert float(landmark_loss(kinds, right[..., places], named)) == pytest.approx(0.0, abs=1e-6)
    assert float(landmark_loss(kinds, wrong[..., places], named)) == pytest.approx(expected)
    other = named._replace(landmark_classes=torch.tensor([[4]]))
    assert float(landmark_loss(kinds, right[..., places], other)) == pytest.approx(50.0)
