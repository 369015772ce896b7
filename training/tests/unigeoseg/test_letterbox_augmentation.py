"""Scenes between black bars, and which sentences stay true of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from geoseg_qgis.engine.methods.referring.unigeoseg.letterbox import Letterbox
from training.scenes.drawn_scene import SceneObject
from training.scenes.legend import CLASS_ID
from training.unigeoseg.letterbox_augmentation import Bars, draw_bars, with_bars
from training.unigeoseg.queries import RequestSampler
from training.unigeoseg.stored_scenes import Query, StoredScene

WHOLE, CUT, GONE, LAKE = 1, 2, 3, 4


@pytest.fixture
def scene() -> StoredScene:
    """A square of 100 pixels with three buildings and a lake; rows 25 to 74 are to stay."""
    classes = np.full((100, 100), CLASS_ID["grass"], np.uint8)
    instances = np.zeros((100, 100), np.uint16)
    objects = []
    for number, name, rows, columns in (
        (WHOLE, "building", slice(30, 50), slice(10, 30)),
        (CUT, "building", slice(60, 80), slice(40, 60)),
        (GONE, "building", slice(80, 95), slice(80, 95)),
        (LAKE, "lake", slice(40, 60), slice(70, 90)),
    ):
        classes[rows, columns] = CLASS_ID[name]
        instances[rows, columns] = number
        middle = ((columns.start + columns.stop - 1) / 2, (rows.start + rows.stop - 1) / 2)
        bounds = (columns.start, rows.start, columns.stop, rows.stop)
        objects.append(SceneObject(number, name, "red", "", "", "flat", "", bounds, middle, 400.0))
    image = np.full((100, 100, 3), 90, np.uint8)
    return StoredScene(image, classes, instances, tuple(objects), ())


def kept(scene: StoredScene, bars: Bars, *queries: Query) -> list[str]:
    changed = dataclasses.replace(scene, queries=queries)
    return [query.text for query in with_bars(changed, bars).queries]


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("count", [30, 51])
def test_bars_lie_where_the_letterbox_leaves_them(count: int, rows: bool) -> None:
    shape = (count, 100) if rows else (100, count)
    box = Letterbox(*shape, 100)
    white = np.full((*shape, 3), 255, np.uint8)
    assert np.array_equal(Bars(count, rows).mask(100), box.place_image(white)[..., 0] == 0)


def test_nothing_is_left_in_the_bars(scene: StoredScene) -> None:
    covered = Bars(50).mask(100)
    seen = with_bars(scene, Bars(50))
    assert not seen.image[covered].any()
    assert not seen.classes[covered].any()
    assert not seen.instances[covered].any()
    assert np.array_equal(seen.classes[~covered], scene.classes[~covered])
    assert scene.image.all()
    # Of the cut building rows 60 to 74 are left, so its centre moves.
    assert seen.objects[CUT - 1].centroid == (49.5, 67.0)
    for other in (WHOLE, GONE, LAKE):
        assert seen.objects[other - 1] == scene.objects[other - 1]
    assert "building" not in RequestSampler(with_bars(scene, Bars(50))).absent_classes


def test_sentences_that_stay_true_are_kept(scene: StoredScene) -> None:
    largest = Query("the largest building", "extreme", (WHOLE,), ())
    smallest = Query("the smallest building", "extreme", (WHOLE,), ())
    cut = Query("the largest building", "extreme", (CUT,), ())
    assert kept(scene, Bars(50), largest, smallest, cut) == ["the largest building"]
    two = Query("the two largest buildings", "count", (WHOLE, CUT), ())
    assert kept(scene, Bars(50), two) == []
    assert kept(scene, Bars(60), two) == [two.text]
    classes = Query("all buildings", "class", (), (CLASS_ID["building"],))
    question = Query("Which building is exposed?", "reasoning", (WHOLE,), ())
    assert kept(scene, Bars(50), classes, question) == ["all buildings"]


@pytest.mark.parametrize(
    "query",
    [
        Query("the leftmost building", "extreme", (WHOLE,), ()),
        Query("the building closest to the lake", "relation", (WHOLE,), ()),
        Query("the buildings in the left half of the image", "position", (WHOLE,), ()),
        Query("the building with a flat roof", "attribute", (WHOLE,), ()),
    ],
)
def test_centres_and_shapes_count_where_nothing_of_the_kind_is_cut(
    query: Query, scene: StoredScene
) -> None:
    assert kept(scene, Bars(50), query) == []
    assert kept(scene, Bars(60), query) == [query.text]


def test_a_landmark_shows_as_a_whole(scene: StoredScene) -> None:
    query = Query("the building closest to the lake", "relation", (WHOLE,), ())
    assert kept(scene, Bars(60), query) == [query.text]
    scene.instances[10:40, 70:90] = LAKE
    assert kept(scene, Bars(60), query) == []
    assert kept(scene, Bars(90), query) == [query.text]


def test_positions_hold_along_the_bars_alone(scene: StoredScene) -> None:
    halves = [
        Query(f"the buildings in the {side} half of the image", "position", (WHOLE, CUT), ())
        for side in ("left", "top")
    ]
    ninth = Query("the building at the top left of the image", "position", (WHOLE,), ())
    assert kept(scene, Bars(60), *halves, ninth) == [halves[0].text]
    assert kept(scene, Bars(60, rows=False), *halves, ninth) == []
    assert kept(scene, Bars(90, rows=False), *halves, ninth) == [halves[1].text]


def test_colours_of_objects_that_show_are_kept(scene: StoredScene) -> None:
    several = Query("all red buildings", "attribute", (WHOLE, CUT, GONE), ())
    one = Query("the red building", "attribute", (CUT,), ())
    assert kept(scene, Bars(50), several, one) == [several.text, one.text]
    assert kept(scene, Bars(46), several, one) == [several.text]


def test_bars_are_drawn_both_ways_and_leave_enough() -> None:
    random = np.random.default_rng(3)
    drawn = [draw_bars(256, random) for _ in range(60)]
    assert {bars.rows for bars in drawn} == {True, False}
    assert min(bars.kept for bars in drawn) >= 77
    assert max(bars.kept for bars in drawn) <= 243
