from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geoseg_qgis.engine.methods.prompted.sam2_predictor import sam2_predictor
from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.zoo.registry import open_preset
from training.clicks import Example, click_scores, deepest_point, examples
from training.datasets import CROWN_EDGE, LabelledImage
from training.land_cover import BIT, all_but, partial_label


def test_the_deepest_point_is_far_from_borders():
    mask = np.zeros((40, 60), bool)
    mask[5:16, 20:51] = True
    (x, y), depth = deepest_point(mask)
    assert (y, depth) == (10, 6.0)
    assert 25 <= x <= 45
    again, _ = deepest_point(mask, [(x, y)])
    assert again != (x, y)
    assert deepest_point(np.zeros((4, 4), bool))[1] == 0


def test_objects_come_largest_first_in_their_window():
    labels = torch.zeros(200, 300, dtype=torch.int32)
    labels[10:40, 10:40] = BIT["building"]
    labels[100:150, 200:290] = BIT["building"]
    labels[180:185, 5:10] = BIT["building"]
    pixels = torch.arange(300).expand(3, 200, 300).to(torch.uint8)
    scene = LabelledImage("oam_buildings", "houses", pixels, labels, (1, 1))
    found = list(examples([scene], BIT["building"], 128, 5))
    assert [int(example.mask.sum()) for example in found] == [50 * 90, 30 * 30]
    assert found[1].mask[10:40, 10:40].all()
    assert found[0].pixels.shape == (3, 128, 128)
    assert int(found[0].pixels[0, 0, 0]) == 172


def test_a_window_larger_than_the_image_is_mirrored_beyond_it():
    labels = torch.full((100, 90), all_but("building"), dtype=torch.int32)
    labels[20:60, 20:60] = BIT["building"]
    scene = LabelledImage(
        "oam_buildings", "house", torch.full((3, 100, 90), 9).to(torch.uint8), labels, (1, 1)
    )
    (found,) = examples([scene], BIT["building"], 128, 1)
    assert found.mask.shape == (128, 128)
    assert found.mask.sum() == 40 * 40
    assert (found.pixels == 9).all()
    assert found.valid.sum() == 100 * 90


def test_the_uncertain_edge_of_a_crown_does_not_count():
    labels = torch.full((100, 100), partial_label("tree", "grass", "land"), dtype=torch.int32)
    labels[30:70, 30:70] = CROWN_EDGE
    labels[40:60, 40:60] = BIT["tree"]
    labels[:, 95:] = 0
    scene = LabelledImage(
        "neon_tree_boxes", "crown", torch.zeros(3, 100, 100).byte(), labels, (1, 1)
    )
    (found,) = examples([scene], BIT["tree"], 128, 1)
    assert found.mask.sum() == 400
    assert not found.valid[30:40, 30:70].any()
    assert found.valid[:30, :95].all()
    assert not found.valid[:, 95:].any()


class Scripted:
    """Answers with one mask after another."""

    def __init__(self, masks):
        self.masks = list(masks)
        self.asked = []

    def encode(self, pixels):
        return pixels

    def predict(self, _tile, prompts):
        self.asked.append(prompts[0])
        logits = np.where(self.masks[len(self.asked) - 1], 5.0, -5.0).astype(np.float32)
        return [(prompts[0], SimpleNamespace(logits=logits))]


def test_the_next_click_lies_where_an_error_is_deepest_not_where_it_is_largest():
    mask = np.zeros((128, 128), bool)
    mask[10:110, 10:60] = True
    first = mask.copy()
    first[10:16, 10:60] = False
    first[50:70, 60:80] = True
    example = Example(torch.zeros(3, 128, 128).byte(), mask, np.ones_like(mask))
    answerer = Scripted([first, mask, mask])
    scores = click_scores(answerer, example, 4)
    assert scores[0] == pytest.approx(4700 / 5400)
    assert scores[1:] == [1.0, 1.0, 1.0]
    second = answerer.asked[1]
    assert second.on_object.tolist() == [True, False]
    assert second.points[1].tolist() == pytest.approx([70, 60], abs=2)
    assert len(answerer.asked) == 2


@pytest.mark.slow
def test_a_click_on_a_plain_roof_outlines_it_and_nothing_apart_from_it():
    pixels = torch.full((3, 512, 512), 90, dtype=torch.uint8)
    mask = np.zeros((512, 512), bool)
    mask[200:280, 200:300] = True
    pixels[:, 200:280, 200:300] = torch.tensor([190, 90, 70], dtype=torch.uint8)[:, None, None]
    pixels[:, 20:60, 20:60] = torch.tensor([190, 90, 70], dtype=torch.uint8)[:, None, None]
    answerer = sam2_predictor(LoadedPreset(open_preset("offline-small"), choose_device("cpu")))
    scores = click_scores(answerer, Example(pixels, mask, np.ones_like(mask)), 2)
    assert len(scores) == 2
    assert scores[0] > 0.6
