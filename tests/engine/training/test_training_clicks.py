import numpy as np
import torch

from geoseg_qgis.engine.training.clicks import deepest_point, examples
from geoseg_qgis.engine.training.datasets import Scene
from geoseg_qgis.engine.training.surfaces import BIT


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
