from pathlib import Path

import numpy as np
import pytest
import torch

from training.datasets import TrainingDataError, load_images, with_weak_labels
from training.land_cover import BIT, all_but, partial_label

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(
    not (DATA / "splits.json").is_file(), reason="the folder of labelled images is not here"
)


def test_colours_narrow_only_what_the_labels_leave_open():
    green, red, grey = (60, 120, 50), (170, 110, 80), (120, 120, 122)
    pixels = np.array([[green, red, grey]] * 4, np.uint8).transpose(2, 0, 1)
    labels = np.array([[all_but("building")], [all_but("car")], [BIT["building"]], [0]], np.int32)
    narrowed = with_weak_labels(pixels, np.repeat(labels, 3, axis=1))
    plants, earth = partial_label("tree", "grass", "field"), partial_label("land", "road", "other")
    assert narrowed[0].tolist() == [plants, earth, all_but("building")]
    # A red pixel that may be a roof stays open.
    assert narrowed[1].tolist() == [plants, all_but("car"), all_but("car")]
    assert narrowed[2].tolist() == [BIT["building"]] * 3
    assert narrowed[3].tolist() == [0] * 3


def share(labels: torch.Tensor, mask: int) -> float:
    return float((labels == mask).float().mean())


@needs_data
def test_dubai_classes_become_surfaces():
    scenes = load_images(DATA, "validation", ("dubai_landcover",))
    first = scenes[0]
    assert [scene.name for scene in scenes] == [f"t1_p00{n}" for n in range(1, 10)]
    assert first.pixels.shape == (3, 644, 797)
    assert share(first.labels, BIT["land"]) == pytest.approx(0.757, abs=1e-3)
    assert share(first.labels, BIT["water"]) == pytest.approx(0.0712, abs=1e-3)
    assert share(first.labels, partial_label("tree", "grass", "field")) == pytest.approx(
        0.0085, abs=1e-3
    )


@needs_data
def test_korean_bands_are_read_as_red_green_blue():
    scene = load_images(DATA, "validation", ("s2_korea_10m",))[0]
    forest = scene.labels == BIT["tree"]
    red, green, blue = (float(band[forest].float().mean()) for band in scene.pixels)
    assert share(scene.labels, BIT["field"]) == pytest.approx(0.1651, abs=1e-3)
    assert green > red
    assert green > blue


@pytest.mark.slow
@needs_data
def test_boxes_and_footprints_are_partial_labels():
    scenes = {
        scene.name: scene
        for scene in load_images(
            DATA, "train", ("aerial_cars", "neon_tree_boxes", "spacenet_linz_buildings")
        )
    }
    cars = scenes["kit_street_MOS155"].labels
    assert 0.001 < share(cars, BIT["car"]) < 0.05
    assert share(cars, all_but("car")) > 0.5
    earth = partial_label("land", "road", "other")
    assert not any(share(scene.labels, earth) for scene in scenes.values() if "kit" in scene.name)
    trees = scenes["TEAK_043"].labels
    assert share(trees, BIT["tree"]) > 0.05
    atlanta = scenes["spacenet4_atlanta_pan16"]
    assert 0.005 < share(atlanta.labels, BIT["building"]) < 0.5
    assert atlanta.pixels.float().std() > 20


@needs_data
def test_training_and_validation_share_no_scene():
    train = {(s.dataset, s.name) for s in load_images(DATA, "train")}
    validation = {(s.dataset, s.name) for s in load_images(DATA, "validation")}
    assert len(train) == 107
    assert not train & validation


def test_a_folder_without_a_split_is_refused(tmp_path):
    with pytest.raises(TrainingDataError, match=r"Point --data"):
        load_images(tmp_path, "train")
