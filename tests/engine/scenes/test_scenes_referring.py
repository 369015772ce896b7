"""Sentences: what they select is checked again from the objects, by rules of their own."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg_qgis.engine.training.scenes import KINDS, Scene, SceneObject, generate_scene
from geoseg_qgis.engine.training.scenes.referring import (
    NUMBERS,
    Expression,
    clearly_nearest,
    noun_groups,
    refer,
)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """One scene of every kind."""
    return [generate_scene(30 + i, 192, 0.6, kind) for i, kind in enumerate(KINDS)]


@pytest.fixture(scope="module")
def spoken(scenes: list[Scene]) -> list[tuple[Scene, Expression]]:
    """Every sentence that the scenes allow."""
    return [(scene, e) for scene in scenes for e in refer(scene, 0, 10_000)]


def members(scene: Scene, noun: str) -> list[SceneObject]:
    """Return the objects of a noun in singular or plural."""
    for group in noun_groups(scene):
        if noun in (group.noun, group.plural):
            return list(group.members)
    raise AssertionError(noun)


def test_masks_are_the_instances(spoken: list[tuple[Scene, Expression]]):
    assert len(spoken) > 300
    for scene, expression in spoken:
        assert expression.mask.any(), expression.text
        if expression.instances:
            assert np.array_equal(expression.mask, scene.mask(*expression.instances))


def test_a_sentence_has_one_meaning_in_a_scene(spoken: list[tuple[Scene, Expression]]):
    meanings: dict[tuple[int, str], bytes] = {}
    for scene, expression in spoken:
        key = (id(scene), expression.text)
        assert meanings.setdefault(key, expression.mask.tobytes()) == expression.mask.tobytes()


def test_every_kind_of_sentence_occurs(spoken: list[tuple[Scene, Expression]]):
    kinds = {expression.kind for _, expression in spoken}
    assert kinds == {"class", "attribute", "position", "extreme", "relation", "count"}


def test_largest_is_the_largest(spoken: list[tuple[Scene, Expression]]):
    checked = 0
    for scene, expression in spoken:
        if expression.text.startswith("the largest "):
            noun = expression.text.removeprefix("the largest ")
            areas = {o.instance: o.area for o in members(scene, noun)}
            (instance,) = expression.instances
            others = [area for number, area in areas.items() if number != instance]
            assert areas[instance] > 1.3 * max(others)
            checked += 1
    assert checked > 10


def test_counts_count(spoken: list[tuple[Scene, Expression]]):
    checked = 0
    for scene, expression in spoken:
        words = expression.text.split(" ", 2)
        if expression.kind == "count" and not words[2].startswith("largest"):
            assert NUMBERS.index(words[1]) == len(expression.instances)
            assert len(members(scene, words[2])) == len(expression.instances)
            checked += 1
    assert checked > 5


def test_halves_hold_everything_on_that_side(spoken: list[tuple[Scene, Expression]]):
    checked = 0
    for scene, expression in spoken:
        if expression.text.endswith(" in the left half of the image"):
            noun = expression.text.removeprefix("the ").removesuffix(
                " in the left half of the image"
            )
            middle = scene.instances.shape[1] / 2
            left = sorted(o.instance for o in members(scene, noun) if o.centroid[0] < middle)
            assert list(expression.instances) == left
            checked += 1
    assert checked > 3


def test_attributes_select_all_that_have_them(scenes: list[Scene]):
    checked = 0
    for scene in scenes:
        for expression in refer(scene, 0, 10_000):
            if expression.text == "all red cars":
                red = [o.instance for o in scene.objects if (o.kind, o.colour) == ("car", "red")]
                assert list(expression.instances) == red
                checked += 1
    assert checked > 1


def test_nearest_needs_a_clear_margin():
    def at(number: int, x: float) -> SceneObject:
        return SceneObject(
            number, "building", "", "", "", "", "", (0, 0, 1, 1), (x, 50.0), 10.0
        )

    instances = np.zeros((100, 100), np.int32)
    scene = Scene(
        np.zeros((100, 100, 3), np.uint8),
        instances.astype(np.uint8),
        ("",),
        instances,
        (),
        1,
        "",
        0,
    )
    target = np.zeros((100, 100), np.bool_)
    target[50, 0] = True
    near = clearly_nearest(scene, [at(1, 10), at(2, 40)], target)
    assert near is not None
    assert near.instance == 1
    assert clearly_nearest(scene, [at(1, 10), at(2, 11)], target) is None


def test_sentences_follow_the_seed(scenes: list[Scene]):
    assert [e.text for e in refer(scenes[0], 1)] == [e.text for e in refer(scenes[0], 1)]
    assert [e.text for e in refer(scenes[0], 1)] != [e.text for e in refer(scenes[0], 2)]
    assert len(refer(scenes[1], 1, 5)) == 5


def test_grey_pictures_have_no_colour_words():
    grey = [
        scene
        for seed in range(60)
        if (scene := generate_scene(seed, 32, 0.5, "suburb")) and np.ptp(scene.image, 2).max() == 0
    ]
    assert grey
    assert not any(o.colour for scene in grey for o in scene.objects)


def test_ninths_hold_one_and_nearly_no_other(spoken: list[tuple[Scene, Expression]]):
    """No other object of the noun has its centre in the top left third, nor close to it."""
    ending = " at the top left of the image"
    checked = 0
    for scene, expression in spoken:
        if expression.text.endswith(ending):
            noun = expression.text.removeprefix("the ").removesuffix(ending)
            limit = 192 / 3 + 0.035 * 192
            inside = [o.instance for o in members(scene, noun) if max(o.centroid) < limit]
            assert tuple(inside) == expression.instances
            checked += 1
    assert checked > 3
