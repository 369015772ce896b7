"""Scenes: the same seed gives the same place, and labels, objects and picture agree."""

from __future__ import annotations

import numpy as np
import pytest

from training.scenes import KINDS, RARE_KINDS, DrawnScene, generate_scene
from training.scenes.drawn_scene import position_word

SIZE = 160


@pytest.fixture(scope="module")
def scenes() -> list[DrawnScene]:
    """Two scenes of every kind."""
    return [
        generate_scene(seed, SIZE, 0.7, kind)
        for index, kind in enumerate([*KINDS, *RARE_KINDS])
        for seed in (2 * index, 2 * index + 1)
    ]


def test_same_seed_same_pixels():
    first, second = (generate_scene(11, 128, 0.4, "suburb") for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.classes, second.classes)
    assert np.array_equal(first.instances, second.instances)
    assert first.objects == second.objects


def test_other_seed_other_place():
    first, second = (generate_scene(seed, 128, 0.4, "suburb") for seed in (1, 2))
    assert (first.classes != second.classes).mean() > 0.2


@pytest.mark.slow
def test_drawn_kinds_and_pixel_sizes_vary():
    scenes = [generate_scene(seed, 32) for seed in range(24)]
    assert len({scene.kind for scene in scenes}) > 6
    sizes = [scene.pixel_size for scene in scenes]
    assert min(sizes) < 0.25
    assert max(sizes) > 0.6
    assert all(0.1 <= size <= 1.0 for size in sizes)


@pytest.mark.slow
def test_rare_kinds_are_drawn_by_name_alone():
    assert {generate_scene(seed, 32).kind for seed in range(60)} <= set(KINDS)
    estate = generate_scene(3, 320, 0.5, "desert estate")
    assert estate.kind == "desert estate"
    assert estate.class_mask("building").mean() > 0.05
    assert estate.class_mask("sand").mean() > 0.1


@pytest.mark.slow
def test_every_class_appears(scenes: list[DrawnScene]):
    seen = set().union(*(np.unique(scene.classes).tolist() for scene in scenes))
    names = {scenes[0].class_names[index] for index in seen}
    assert names == set(scenes[0].class_names) - {"unlabelled"}


def test_arrays_have_the_shape_asked_for():
    scene = generate_scene(5, (96, 130), 0.5)
    assert scene.image.shape == (96, 130, 3)
    assert scene.image.dtype == np.uint8
    assert scene.classes.shape == scene.instances.shape == (96, 130)


@pytest.mark.slow
def test_instances_agree_with_objects_and_classes(scenes: list[DrawnScene]):
    for scene in scenes:
        numbers = np.unique(scene.instances)
        assert numbers[numbers > 0].tolist() == [o.instance for o in scene.objects]
        for item in scene.objects:
            mask = scene.mask(item.instance)
            assert set(scene.classes[mask]) == {scene.class_names.index(item.class_name)}
            rows, columns = np.nonzero(mask)
            assert item.bounds == (
                columns.min(),
                rows.min(),
                columns.max() + 1,
                rows.max() + 1,
            )
            assert item.area == pytest.approx(mask.sum() * scene.pixel_size**2)
            assert item.centroid == pytest.approx((columns.mean(), rows.mean()))


@pytest.mark.parametrize("name", ["building", "car", "lake", "field"])
def test_countable_classes_belong_to_objects(scenes: list[DrawnScene], name: str):
    """Slivers of fewer than nine pixels keep their class and lose their number."""
    masks = [(scene.instances, scene.class_mask(name)) for scene in scenes]
    pixels = sum(int(mask.sum()) for _, mask in masks)
    without = sum(int((numbers[mask] == 0).sum()) for numbers, mask in masks)
    assert pixels > 1000
    assert without < 0.05 * pixels


@pytest.mark.slow
def test_surfaces_look_like_themselves():
    """Mean colours over scenes: plants are green, water is dark, sand is bright."""
    scenes = [generate_scene(seed, 160, 0.5, "coast") for seed in range(4)]
    pixels = np.concatenate([scene.image.reshape(-1, 3) for scene in scenes]).astype(float)
    classes = np.concatenate([scene.classes.ravel() for scene in scenes])
    names = scenes[0].class_names
    grass = pixels[classes == names.index("grass")].mean(0)
    water = pixels[classes == names.index("sea")].mean(0)
    sand = pixels[classes == names.index("sand")].mean(0)
    assert grass[1] > grass[2] + 15
    assert water.mean() < grass.mean() < sand.mean()


def test_no_flat_surfaces(scenes: list[DrawnScene]):
    for scene in scenes:
        grey = scene.image.astype(float).mean(2)
        for index in np.unique(scene.classes):
            mask = scene.classes == index
            if mask.sum() > 200:
                assert grey[mask].std() > 1.0, scene.class_names[index]


def test_transform_is_metric_and_upright():
    scene = generate_scene(3, 64, 0.25, "village")
    assert scene.crs == "EPSG:32633"
    transform = scene.transform
    assert (transform.a, transform.e, transform.b, transform.d) == (0.25, -0.25, 0.0, 0.0)
    assert 300_000 <= transform.c < 700_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seed": -1}, "negative"),
        ({"seed": 1, "size": 8}, "too small"),
        ({"seed": 1, "pixel_size": 9.0}, "out of range"),
        ({"seed": 1, "kind": "moon"}, "no scene kind"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], words: str):
    with pytest.raises(ValueError, match=words):
        generate_scene(**arguments)  # type: ignore[arg-type]


def test_position_words():
    assert position_word((5, 5), (90, 90)) == "top left"
    assert position_word((45, 45), (90, 90)) == "centre"
    assert position_word((85, 45), (90, 90)) == "right"
    assert position_word((45, 85), (90, 90)) == "bottom"
