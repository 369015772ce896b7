"""Scenes between black bars, and which sentences stay true of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from geoseg_qgis.engine.methods.referring.unigeoseg.letterbox import Letterbox
from training.scenes.legend import CLASS_ID
from training.unigeoseg import batches as lessons
from training.unigeoseg.batches import Teacher
from training.unigeoseg.letterbox_augmentation import Band, between_bars, draw_band
from training.unigeoseg.queries import Asker
from training.unigeoseg.stored_scenes import SIDE, StoredScene, Thing, Wish, stored_scenes
from training.unigeoseg.train_preset import build_tokenizer

WHOLE, CUT, GONE, LAKE = 1, 2, 3, 4


@pytest.fixture
def scene() -> StoredScene:
    """A square of 100 pixels with three buildings and a lake; rows 25 to 74 are to stay."""
    classes = np.full((100, 100), CLASS_ID["grass"], np.uint8)
    instances = np.zeros((100, 100), np.uint16)
    things = []
    for number, name, rows, columns in (
        (WHOLE, "building", slice(30, 50), slice(10, 30)),
        (CUT, "building", slice(60, 80), slice(40, 60)),
        (GONE, "building", slice(80, 95), slice(80, 95)),
        (LAKE, "lake", slice(40, 60), slice(70, 90)),
    ):
        classes[rows, columns] = CLASS_ID[name]
        instances[rows, columns] = number
        middle = ((columns.start + columns.stop - 1) / 2, (rows.start + rows.stop - 1) / 2)
        things.append(Thing(number, name, "red", "", "", "flat", middle, 400.0))
    image = np.full((100, 100, 3), 90, np.uint8)
    return StoredScene(image, classes, instances, tuple(things), ())


def kept(scene: StoredScene, band: Band, *wishes: Wish) -> list[str]:
    asked = dataclasses.replace(scene, wishes=wishes)
    return [wish.text for wish in between_bars(asked, band).wishes]


@pytest.mark.parametrize("of_rows", [True, False])
@pytest.mark.parametrize("count", [30, 51])
def test_bars_lie_where_the_letterbox_leaves_them(count: int, of_rows: bool) -> None:
    shape = (count, 100) if of_rows else (100, count)
    box = Letterbox(*shape, 100)
    white = np.full((*shape, 3), 255, np.uint8)
    assert np.array_equal(Band(count, of_rows).outside(100), box.place_image(white)[..., 0] == 0)


def test_nothing_is_left_in_the_bars(scene: StoredScene) -> None:
    band = Band(50)
    bars = band.outside(100)
    seen = between_bars(scene, band)
    assert not seen.image[bars].any()
    assert not seen.classes[bars].any()
    assert not seen.instances[bars].any()
    assert np.array_equal(seen.classes[~bars], scene.classes[~bars])
    assert scene.image.all()
    # Of the cut building rows 60 to 74 are left, so its centre moves.
    assert seen.things[CUT - 1].centroid == (49.5, 67.0)
    for other in (WHOLE, GONE, LAKE):
        assert seen.things[other - 1] == scene.things[other - 1]
    assert "building" not in Asker(between_bars(scene, Band(50)))._absent


def test_sentences_that_stay_true_are_kept(scene: StoredScene) -> None:
    largest = Wish("the largest building", "extreme", (WHOLE,), ())
    smallest = Wish("the smallest building", "extreme", (WHOLE,), ())
    cut = Wish("the largest building", "extreme", (CUT,), ())
    assert kept(scene, Band(50), largest, smallest, cut) == ["the largest building"]
    two = Wish("the two largest buildings", "count", (WHOLE, CUT), ())
    assert kept(scene, Band(50), two) == []
    assert kept(scene, Band(60), two) == [two.text]
    classes = Wish("all buildings", "class", (), (CLASS_ID["building"],))
    question = Wish("Which building is exposed?", "reasoning", (WHOLE,), ())
    assert kept(scene, Band(50), classes, question) == ["all buildings"]


@pytest.mark.parametrize(
    "wish",
    [
        Wish("the leftmost building", "extreme", (WHOLE,), ()),
        Wish("the building closest to the lake", "relation", (WHOLE,), ()),
        Wish("the buildings in the left half of the image", "position", (WHOLE,), ()),
        Wish("the building with a flat roof", "attribute", (WHOLE,), ()),
    ],
)
def test_centres_and_shapes_are_told_where_nothing_of_the_kind_is_cut(
    wish: Wish, scene: StoredScene
) -> None:
    assert kept(scene, Band(50), wish) == []
    assert kept(scene, Band(60), wish) == [wish.text]


def test_a_landmark_shows_as_a_whole(scene: StoredScene) -> None:
    wish = Wish("the building closest to the lake", "relation", (WHOLE,), ())
    assert kept(scene, Band(60), wish) == [wish.text]
    scene.instances[10:40, 70:90] = LAKE
    assert kept(scene, Band(60), wish) == []
    assert kept(scene, Band(90), wish) == [wish.text]


def test_positions_hold_along_the_band_alone(scene: StoredScene) -> None:
    halves = [
        Wish(f"the buildings in the {side} half of the image", "position", (WHOLE, CUT), ())
        for side in ("left", "top")
    ]
    ninth = Wish("the building at the top left of the image", "position", (WHOLE,), ())
    assert kept(scene, Band(60), *halves, ninth) == [halves[0].text]
    assert kept(scene, Band(60, of_rows=False), *halves, ninth) == []
    assert kept(scene, Band(90, of_rows=False), *halves, ninth) == [halves[1].text]


def test_colours_of_things_that_show_are_kept(scene: StoredScene) -> None:
    several = Wish("all red buildings", "attribute", (WHOLE, CUT, GONE), ())
    one = Wish("the red building", "attribute", (CUT,), ())
    assert kept(scene, Band(50), several, one) == [several.text, one.text]
    assert kept(scene, Band(46), several, one) == [several.text]


def test_lessons_have_bars_and_never_ask_for_them(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("scenes")
    scenes = stored_scenes(folder, (5, 6))
    monkeypatch.setattr(lessons, "BARRED_SHARE", 1.0)
    teacher = Teacher(scenes, [], build_tokenizer(folder, scenes), SIDE, 2)
    darkest = float(teacher._as_input(np.zeros((SIDE, SIDE, 3), np.uint8))[0, 0, 0, 0])
    for _ in range(4):
        lesson = teacher.lesson(1, 12, 1.0)
        dark = (lesson.pixels[0, 0] == darkest).numpy()
        bars = np.zeros_like(dark)
        bars[dark.all(axis=1)] = True
        bars[:, dark.all(axis=0)] = True
        # Cells that lie in a bar as a whole.
        inner = bars.reshape(SIDE // 4, 4, SIDE // 4, 4).all(axis=(1, 3))
        assert 0.03 < inner.mean() < 0.72
        assert not lesson.answers[0][:, inner].any()
        assert not lesson.objects[0][inner].any()
        assert not lesson.facts.facts["class_name"][0][inner].any()
        assert lesson.facts.centres[0][inner].isnan().all()


def test_bands_are_drawn_both_ways_and_wide_enough() -> None:
    random = np.random.default_rng(3)
    bands = [draw_band(256, random) for _ in range(60)]
    assert {band.of_rows for band in bands} == {True, False}
    assert min(band.breadth for band in bands) >= 77
    assert max(band.breadth for band in bands) <= 243
