import numpy as np
import torch

from geoseg_qgis.engine.methods.prompted.sam2_answers import sam2_answerer
from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.training.clicks import Example, click_scores, deepest_point, examples
from geoseg_qgis.engine.training.datasets import Scene
from geoseg_qgis.engine.training.surfaces import BIT
from geoseg_qgis.engine.zoo.registry import open_preset


def test_the_deepest_point_is_far_from_borders():
    mask = np.zeros((40, 60), bool)
    mask[5:16, 20:51] = True
    x, y = deepest_point(mask)
    assert y == 10
    assert 25 <= x <= 45


def test_objects_come_largest_first_in_their_window():
    labels = torch.zeros(200, 300, dtype=torch.int32)
    labels[10:40, 10:40] = BIT["building"]
    labels[100:150, 200:290] = BIT["building"]
    labels[180:185, 5:10] = BIT["building"]
    pixels = torch.arange(300).expand(3, 200, 300).to(torch.uint8)
    scene = Scene("oam_buildings", "houses", pixels, labels, (1, 1))
    found = list(examples([scene], BIT["building"], 128, 5))
    assert [int(example.mask.sum()) for example in found] == [50 * 90, 30 * 30]
    assert found[1].mask[10:40, 10:40].all()
    assert found[0].pixels.shape == (3, 128, 128)
    assert int(found[0].pixels[0, 0, 0]) == 172


def test_a_window_larger_than_the_image_is_mirrored_beyond_it():
    labels = torch.zeros(100, 90, dtype=torch.int32)
    labels[20:60, 20:60] = BIT["building"]
    scene = Scene(
        "oam_buildings", "house", torch.full((3, 100, 90), 9).to(torch.uint8), labels, (1, 1)
    )
    (found,) = examples([scene], BIT["building"], 128, 1)
    assert found.mask.shape == (128, 128)
    assert found.mask.sum() == 40 * 40
    assert (found.pixels == 9).all()
    assert found.valid.sum() == 100 * 90


def test_a_click_on_a_plain_roof_outlines_it_and_nothing_apart_from_it():
    pixels = torch.full((3, 512, 512), 90, dtype=torch.uint8)
    mask = np.zeros((512, 512), bool)
    mask[200:280, 200:300] = True
    pixels[:, 200:280, 200:300] = torch.tensor([190, 90, 70], dtype=torch.uint8)[:, None, None]
    pixels[:, 20:60, 20:60] = torch.tensor([190, 90, 70], dtype=torch.uint8)[:, None, None]
    answerer = sam2_answerer(LoadedPreset(open_preset("offline-small"), choose_device("cpu")))
    scores = click_scores(answerer, Example(pixels, mask, np.ones_like(mask)), 2)
    assert len(scores) == 2
    assert scores[0] > 0.6
