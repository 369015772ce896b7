import numpy as np
import torch

from training.clickable_objects import (
    STRIDE,
    colour_regions,
    label_components,
    with_labelled_objects,
)
from training.datasets import CROWN_EDGE, VEGETATION, LabelledImage
from training.land_cover import BIT, all_but
from training.regions import random_regions, region_affinity
from training.simulated_prompts import (
    BOTTOM_RIGHT,
    NEGATIVE,
    PADDING,
    POSITIVE,
    TOP_LEFT,
    PromptSampler,
)


def two_houses() -> torch.Tensor:
    labels = torch.full((128, 128), all_but("building"))
    labels[10:40, 20:60] = BIT["building"]
    labels[80:120, 70:100] = BIT["building"]
    labels[:, 126:] = 0
    return labels


def test_components_are_the_objects_of_named_classes():
    components = label_components(two_houses(), np.random.default_rng(0))
    assert [int(c.mask.sum()) for c in components] == [15 * 20, 20 * 15]
    assert not components[0].known[:, -1].any()


def test_cells_favour_no_side():
    labels = torch.full((64, 64), all_but("building"))
    labels[21:43, 20:42] = BIT["building"]
    random = np.random.default_rng(1)
    middles = []
    for _ in range(200):
        (house,) = label_components(labels, random)
        rows, columns = np.nonzero(house.mask)
        middles.append([(rows.mean() + 0.5) * STRIDE, (columns.mean() + 0.5) * STRIDE])
    np.testing.assert_allclose(np.mean(middles, axis=0), [32, 31], atol=0.15)


def test_edges_of_crowns_are_not_known_and_guessed_vegetation_is_no_object():
    labels = torch.full((64, 64), all_but("building"))
    labels[8:40, 8:40] = CROWN_EDGE
    labels[12:36, 12:36] = BIT["tree"]
    labels[44:60, 44:60] = VEGETATION
    random = np.random.default_rng(0)
    pixels = torch.zeros(3, 64, 64, dtype=torch.uint8)
    for dataset, count in (("dubai_landcover", 2), ("oam_buildings", 1)):
        scene = with_labelled_objects(LabelledImage(dataset, "x", pixels, labels, (1, 1)))
        found = label_components(scene.labels, random)
        assert [int(one.mask.sum()) for one in found] == [144, 64][:count]
        assert not found[0].known[4:6, 4:20].any()
        assert found[0].known[24:28, 24:28].all()


def test_colour_regions_follow_colours():
    pixels = torch.zeros(3, 128, 128)
    pixels[0, :, :64] = 0.9
    pixels[2, :, 64:] = 0.9
    regions = colour_regions(pixels, np.random.default_rng(3))
    sides = {bool(region.mask[:, :24].any()) for region in regions}
    assert sides == {True, False}
    for region in regions:
        left, right = region.mask[:, :28].sum(), region.mask[:, 36:].sum()
        assert min(left, right) == 0


def test_prompts_lie_where_their_marks_say():
    components = label_components(two_houses(), np.random.default_rng(0))
    sampler = PromptSampler(np.random.default_rng(0))
    prompts = sampler.prompts([(n % 2, components[n % 2]) for n in range(200)])
    seen = set()
    for row in range(200):
        mask = prompts.masks[row].bool()
        for (x, y), mark in zip(prompts.points[row].tolist(), prompts.marks[row].tolist()):
            seen.add(mark)
            if mark in (POSITIVE, NEGATIVE):
                inside = bool(mask[int((y + 0.5) / STRIDE), int((x + 0.5) / STRIDE)])
                assert inside == (mark == POSITIVE)
    assert seen == {PADDING, NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT}
    assert prompts.image.tolist()[:4] == [0, 1, 0, 1]


def test_boxes_surround_their_object():
    components = label_components(two_houses(), np.random.default_rng(0))
    prompts = PromptSampler(np.random.default_rng(0)).prompts([(0, components[0])] * 100)
    boxes = prompts.points[prompts.marks[:, 0] == TOP_LEFT]
    assert len(boxes) > 5
    middle = boxes[:, :2].mean(0)
    torch.testing.assert_close(middle, torch.tensor([[20.0, 10.0], [60.0, 40.0]]), atol=3.0, rtol=0)


def test_random_regions_cover_a_grid_and_mix_inside_themselves():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, 64, 64, generator=generator)
    labels = torch.full((2, 64, 64), BIT["road"])
    regions = random_regions(pixels, labels, 8, 5, generator)
    assert regions.shape == (2, 64)
    assert int(regions.max()) < 5
    affinity = region_affinity(regions, torch.rand(2, 64, 3), 2.0)
    torch.testing.assert_close(affinity.sum(-1), torch.ones(2, 64))
    outside = regions[:, :, None] != regions[:, None]
    assert affinity[outside].abs().sum() == 0
