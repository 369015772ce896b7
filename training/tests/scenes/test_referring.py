"""Sentences: what they select is checked again from the objects, by rules of their own."""

from __future__ import annotations

import numpy as np
import pytest

from training.scenes import KINDS, DrawnScene, SceneObject, generate_scene
from training.scenes.referring import NUMBERS, Expression, clearly_nearest, noun_groups, refer


@pytest.fixture(scope="module")
def scenes() -> list[DrawnScene]:
    """One scene of every kind."""
    return [generate_scene(30 + i, 192, 0.6, kind) for i, kind in enumerate(KINDS)]


@pytest.fixture(scope="module")
def spoken(scenes: list[DrawnScene]) -> list[tuple[DrawnScene, Expression]]:
    """Every sentence that the scenes allow."""
    return [(scene, e) for scene in scenes for e in refer(scene, 0, 10_000)]


def members(scene: DrawnScene, noun: str) -> list[SceneObject]:
    """Return the objects of a noun in singular or plural."""
    for group in noun_groups(scene):
        if noun in (group.noun, group.plural):
            return list(group.members)
    raise AssertionError(noun)


@pytest.mark.slow
def test_masks_are_the_instances(spoken: list[tuple[DrawnScene, Expression]]):
    assert len(spoken) > 300
    for scene, expression in spoken:
        assert expression.mask.any(), expression.text
        if expression.instances:
            assert np.array_equal(expression.mask, scene.mask(*expression.instances))


def test_a_sentence_has_one_meaning_in_a_scene(spoken: list[tuple[DrawnScene, Expression]]):
    meanings: dict[tuple[int, str], bytes] = {}
    for scene, expression in spoken:
        key = (id(scene), expression.text)
        assert meanings.setdefault(key, expression.mask.tobytes()) == expression.mask.tobytes()


def test_every_kind_of_sentence_occurs(spoken: list[tuple[DrawnScene, Expression]]):
    kinds = {expression.kind for _, expression in spoken}
    assert kinds == {"class", "attribute", "position", "extreme", "relation", "count"}


def test_largest_is_the_largest(spoken: list[tuple[DrawnScene, Expression]]):
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


def test_counts_count(spoken: list[tuple[DrawnScene, Expression]]):
    checked = 0
    for scene, expression in spoken:
        words = expression.text.split(" ", 2)
        if expression.kind == "count" and not words[2].startswith("largest"):
            assert NUMBERS.index(words[1]) == len(expression.instances)
            assert len(members(scene, words[2])) == len(expression.instances)
            checked += 1
    assert checked > 5


def test_halves_hold_everything_on_that_side(spoken: list[tuple[DrawnScene, Expression]]):
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


@pytest.mark.slow
def test_attributes_select_all_that_have_them(scenes: list[DrawnScene]):
    checked = 0
    for scene in scenes:
        for expression in refer(scene, 0, 10_000):
            if expression.text == "all red cars":
                red = [o.instance for o in scene.objects if (o.kind, o.colour) == ("car", "red")]
                assert list(expression.instances) == red
                checked += 1
    assert checked > 1


def scene_of(objects: list[SceneObject], instances: np.ndarray) -> DrawnScene:
    """A scene of which only the objects matter."""
    blank = np.zeros((*instances.shape, 3), np.uint8)
    return DrawnScene(blank, blank[..., 0], ("",), instances, tuple(objects), 1, "", 0)


def block(number: int, box: tuple[int, int, int, int], **known: str) -> SceneObject:
    """A building that fills a box of left, top, right, bottom."""
    left, top, right, bottom = box
    words = {"colour": "", "kind": "", "shape": "", "roof": "", "position": "", **known}
    centroid = ((left + right - 1) / 2, (top + bottom - 1) / 2)
    area = float((right - left) * (bottom - top))
    return SceneObject(number, "building", bounds=box, centroid=centroid, area=area, **words)


def blocks(*boxes: tuple[int, int, int, int], **known: str) -> DrawnScene:
    """A scene of 100 x 100 pixels with buildings."""
    instances = np.zeros((100, 100), np.int32)
    for number, (left, top, right, bottom) in enumerate(boxes, start=1):
        instances[top:bottom, left:right] = number
    return scene_of([block(n, box, **known) for n, box in enumerate(boxes, start=1)], instances)


def texts(scene: DrawnScene) -> set[str]:
    """Everything that can be said of a scene's objects."""
    return {e.text for e in refer(scene, 0, 10_000)}


def test_shapes_are_named_where_all_of_the_object_shows():
    apart = [(10, 10, 30, 30), (60, 60, 80, 80)]
    assert "all L-shaped buildings" not in texts(blocks(*apart, shape="L-shaped"))
    alone = blocks(apart[0], shape="L-shaped")
    assert "the L-shaped building" in texts(alone)
    assert "the L-shaped building" not in texts(blocks((0, 10, 30, 30), shape="L-shaped"))
    assert "the building with a flat roof" in texts(blocks(apart[0], roof="flat"))
    assert "the building with a flat roof" not in texts(blocks((10, 10, 17, 17), roof="flat"))


@pytest.mark.parametrize(
    ("colours", "named"),
    [
        (("silver", "white", "red"), {"red"}),
        (("grey", "white", "red"), {"grey", "white", "red"}),
        (("orange", "brown", "red"), {"red"}),
        (("orange", "white", "red"), {"orange", "white", "red"}),
    ],
)
def test_colours_that_light_confuses_are_not_told_apart(colours: tuple[str, ...], named: set[str]):
    boxes = [(10 + 30 * n, 10, 30 + 30 * n, 30) for n in range(3)]
    scene = blocks(*boxes)
    objects = [block(n + 1, box, colour=colours[n]) for n, box in enumerate(boxes)]
    said = texts(scene_of(objects, scene.instances))
    article = {name: "an" if name == "orange" else "a" for name in colours}
    for name in colours:
        sentence = f"the building with {article[name]} {name} roof"
        assert (sentence in said) == (name in named), sentence


def test_outermost_and_smallest_hold_for_edges_as_for_centres():
    # The wide building reaches farther left, though its centre does not.
    assert "the leftmost building" not in texts(blocks((10, 10, 20, 20), (5, 50, 80, 60)))
    assert "the leftmost building" in texts(blocks((5, 10, 15, 20), (10, 50, 80, 60)))
    assert "the smallest building" in texts(blocks((5, 10, 15, 20), (10, 50, 80, 60)))
    # Of a building on the border nobody knows how large it is.
    assert "the smallest building" not in texts(blocks((0, 10, 15, 20), (10, 50, 80, 60)))


def test_nearest_by_its_centre_is_nearest_by_its_edge():
    target = np.zeros((100, 100), np.bool_)
    target[50, 0] = True
    long_and_small = blocks((10, 45, 95, 55), (38, 80, 42, 84))
    assert clearly_nearest(long_and_small, long_and_small.objects, target) is None
    small_and_far = blocks((10, 45, 20, 55), (60, 45, 70, 55))
    nearest = clearly_nearest(small_and_far, small_and_far.objects, target)
    assert nearest is not None
    assert nearest.instance == 1


def test_nearest_needs_a_clear_margin():
    target = np.zeros((100, 100), np.bool_)
    target[50, 0] = True
    apart = blocks((8, 48, 12, 52), (38, 48, 42, 52))
    near = clearly_nearest(apart, apart.objects, target)
    assert near is not None
    assert near.instance == 1
    close = blocks((8, 48, 12, 50), (8, 51, 13, 53))
    assert clearly_nearest(close, close.objects, target) is None


@pytest.mark.slow
def test_sentences_follow_the_seed(scenes: list[DrawnScene]):
    assert [e.text for e in refer(scenes[0], 1)] == [e.text for e in refer(scenes[0], 1)]
    assert [e.text for e in refer(scenes[0], 1)] != [e.text for e in refer(scenes[0], 2)]
    assert len(refer(scenes[1], 1, 5)) == 5


@pytest.mark.slow
def test_grey_pictures_have_no_colour_words():
    grey = [
        scene
        for seed in range(60)
        if (scene := generate_scene(seed, 32, 0.5, "suburb")) and np.ptp(scene.image, 2).max() == 0
    ]
    assert grey
    assert not any(o.colour for scene in grey for o in scene.objects)


def test_ninths_hold_one_and_nearly_no_other(spoken: list[tuple[DrawnScene, Expression]]):
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
