from dataclasses import replace

import numpy as np
import torch

from training.crops import CropSampler, vary_colour
from training.datasets import LabelledImage
from training.land_cover import BIT
from training.train_sam2 import CLOSEST, zoomed_in


def two_halves() -> LabelledImage:
    """Red buildings left of a diagonal, blue water right of it."""
    rows, columns = np.mgrid[:300, :360]
    left = torch.from_numpy(columns + 0.4 * rows < 240)
    pixels = torch.zeros(3, 300, 360, dtype=torch.uint8)
    pixels[0][left] = 200
    pixels[2][~left] = 200
    labels = torch.where(left, BIT["building"], BIT["water"]).int()
    return LabelledImage("dubai_landcover", "halves", pixels, labels, (0.5, 2.0))


def test_pixels_and_labels_move_together():
    batch = CropSampler([two_halves()], 96, seed=5).batch(24)
    red = batch.clean[:, 0] > batch.clean[:, 2]
    known = batch.labels != 0
    agree = red == (batch.labels == BIT["building"])
    assert batch.clean.shape == (24, 3, 96, 96)
    assert set(batch.labels.unique().tolist()) <= {0, BIT["building"], BIT["water"]}
    assert agree[known].float().mean() > 0.985
    assert known.float().mean() > 0.8
    assert 0.1 < red.float().mean() < 0.9


def test_a_seed_gives_the_same_crops_again():
    scene = two_halves()
    first, second = (CropSampler([scene], 64, seed=9).batch(3) for _ in range(2))
    other = CropSampler([scene], 64, seed=10).batch(3)
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.labels, second.labels)
    assert not torch.equal(first.pixels, other.pixels)


def test_colours_vary_inside_their_range():
    pixels = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    random = np.random.default_rng(0)
    results = torch.stack([vary_colour(pixels, random) for _ in range(30)])
    assert results.min() >= 0
    assert results.max() <= 1
    assert results.mean((1, 2, 3)).std() > 0.03


def test_some_crops_keep_their_colours():
    batch = CropSampler([two_halves()], 32, seed=4).batch(60)
    kept = (batch.pixels == batch.clean).flatten(1).all(dim=1)
    assert 0.25 < kept.float().mean() < 0.55


def test_single_objects_are_zoomed_in_but_not_too_close():
    scene = two_halves()
    ranges = [(0.5, 1.0), (0.5, 2.0), (1.0, 4.0)]
    seen = [zoomed_in(replace(scene, zoom=zoom)).zoom for zoom in ranges]
    assert seen == [(0.5, 1.8), (0.5, CLOSEST), (1.0, 4.0)]
