import pytest
import torch

from training.datasets import LabelledImage
from training.evaluate import class_map, confusion, score, slide
from training.land_cover import BIT, all_but, partial_label


def test_scores_of_a_small_map():
    labels = torch.tensor([[BIT["road"], BIT["road"], BIT["water"], 0]])
    prediction = torch.tensor([[0, 1, 1, 0]])
    histogram = confusion(prediction, labels, [BIT["road"], BIT["water"]])
    assert histogram.tolist() == [[1, 1], [0, 1]]
    result = score(histogram, ["road", "water"])
    assert result.iou == (0.5, 0.5)
    assert result.mean == 0.5


def test_pixels_of_several_possible_classes_do_not_count():
    labels = torch.tensor([[partial_label("tree", "grass"), all_but("building")]])
    histogram = confusion(
        torch.zeros(1, 2, dtype=torch.int64), labels, [BIT["tree"], BIT["grass"], BIT["building"]]
    )
    assert histogram.sum() == 0


def colour_network(pixels: torch.Tensor) -> torch.Tensor:
    """Red against blue at a quarter of the size."""
    return torch.nn.functional.avg_pool2d(pixels[:, [0, 2]], 4)


def test_windows_join_without_a_shift():
    pixels = torch.rand(3, 100, 150, generator=torch.Generator().manual_seed(0))
    pixels = torch.nn.functional.avg_pool2d(pixels[None], 9, 1, 4)[0]
    logits = slide(colour_network, pixels, 64, 40)
    assert logits.shape == (2, 100, 150)
    assert (logits - pixels[[0, 2]]).abs().mean() < 0.02


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
def test_class_map_lies_on_its_scene(zoom):
    pixels = torch.zeros(3, 120, 180, dtype=torch.uint8)
    pixels[0, :70, :50] = 255
    pixels[2] = 255 - pixels[0]
    truth = (pixels[0] == 0).long()
    labels = torch.where(truth == 0, BIT["building"], BIT["water"]).int()
    scene = LabelledImage("dubai_landcover", "corner", pixels, labels, (1, 1))
    prediction = class_map(colour_network, scene, zoom, 64, 40)
    assert (prediction == truth).float().mean() > 0.97
