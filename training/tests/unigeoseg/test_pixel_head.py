"""Facts of cells, and the loss of the head that predicts them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.land_cover import BIT, partial_label
from training.scenes.legend import CLASS_ID, CLASS_NAMES
from training.unigeoseg.batches import Batch, Facts, join_batches
from training.unigeoseg.pixel_head import (
    CENTRE_FREQUENCIES,
    COLOURS,
    IGNORED,
    at_cells,
    partial_pixel_targets,
    pixel_loss,
    pixel_targets,
)
from training.unigeoseg.queries import Mirror, RequestSampler, draw_requests
from training.unigeoseg.query_head import unknown_query_targets
from training.unigeoseg.stored_scenes import SIDE, StoredScene
from training.unigeoseg.weak_labels import allowed_classes


def test_cells_are_read_at_their_centres() -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert at_cells(values, 8).tolist() == values.tolist()
    # Two cells of 4 pixels: centres between 1 and 2, and between 5 and 6.
    assert at_cells(values, 2).tolist() == [[9, 14], [49, 54]]
    # Three cells of 8/3 pixels: centres at 1.33, 4 (between 3 and 4) and 6.67.
    assert at_cells(values, 3)[1].tolist() == [33, 36, 38]


def test_scenes_of_other_colours_have_no_known_ones(scenes: list[StoredScene]) -> None:
    random = np.random.default_rng(0)
    requests = draw_requests(RequestSampler(scenes[1]), 150, 1.0, random, attributes=False)
    assert "attribute" not in {one.kind for one in requests}
    targets = pixel_targets(scenes[1], Mirror(), SIDE // 4, coloured=False)
    assert (targets.facts["colour"] == IGNORED).all()
    assert (targets.facts["roof"] != IGNORED).any()


def test_facts_of_a_scene(scenes: list[StoredScene]) -> None:
    scene = scenes[1]
    facts = pixel_targets(scene, Mirror(across=True), SIDE // 4)
    assert facts.facts["class_name"].shape == (1, SIDE // 4, SIDE // 4)
    row, column = 10, 20
    # Even rows and columns are read before their centre.
    pixel = 4 * row + 1, SIDE - 1 - (4 * column + 1)
    assert facts.facts["class_name"][0, row, column] == scene.classes[pixel]
    buildings = [t for t in scene.objects if t.class_name == "building" and t.colour in COLOURS]
    cells = at_cells(scene.instances[:, ::-1], SIDE // 4)
    largest = max(buildings, key=lambda item: int((cells == item.instance).sum()))
    inside = torch.from_numpy(cells == largest.instance)
    assert set(facts.facts["colour"][0][inside].tolist()) == {COLOURS.index(largest.colour)}
    centre = facts.centres[0][inside][0].tolist()
    assert centre[:2] == pytest.approx(
        [1 - (largest.centroid[0] + 0.5) / SIDE, (largest.centroid[1] + 0.5) / SIDE], abs=1e-5
    )
    assert (facts.facts["colour"][0][torch.from_numpy(cells == 0)] == IGNORED).all()


def test_cells_of_small_objects_weigh_more() -> None:
    centres = torch.full((1, 1, 4, 3), torch.nan)
    for column, share in enumerate((1 / 64, 1 / 256, 1 / 65536)):
        centres[0, 0, column] = torch.tensor([0.5, 0.5, math.log10(share) / 2])
    labels = torch.full((1, 4), BIT["water"])
    surely = partial_pixel_targets(allowed_classes(labels, 4)[:, :1])._replace(centres=centres)

    def loss(wrong: list[int]) -> float:
        classes = torch.full((1, len(CLASS_NAMES), 1, 4), -20.0)
        classes[:, CLASS_ID["lake"]] = 20.0
        classes[:, CLASS_ID["lake"], :, wrong] = -30.0
        silent = [torch.zeros(1, 1, 1, 4)] * 3
        waves = torch.zeros(1, 4 * CENTRE_FREQUENCIES + 1, 1, 4)
        return float(pixel_loss([classes, *silent, waves], surely))

    right = loss([])
    stuff = loss([3]) - right
    ratios = [(loss([column]) - right) / stuff for column in (0, 1, 2)]
    assert ratios == pytest.approx([1, 2, 4], rel=1e-3)


def test_loss_falls_to_zero_where_only_allowed_classes_are_predicted() -> None:
    labels = torch.full((8, 8), BIT["water"])
    labels[:4] = partial_label("tree", "grass")
    labels[0] = 0
    targets = partial_pixel_targets(allowed_classes(labels, 2))
    assert targets.allowed.shape == (1, len(CLASS_NAMES), 2, 2)
    classes = torch.full((1, len(CLASS_NAMES), 2, 2), -20.0)
    classes[:, CLASS_ID["lake"], 1] = 20.0
    classes[:, CLASS_ID["forest"], 0] = 20.0
    read = [classes, torch.zeros(1, 11, 2, 2), torch.zeros(1, 27, 2, 2), torch.zeros(1, 3, 2, 2)]
    read.append(torch.zeros(1, 4 * CENTRE_FREQUENCIES + 1, 2, 2))
    assert float(pixel_loss(read, targets)) == pytest.approx(0.0, abs=1e-5)
    classes[:, CLASS_ID["road"]] = 25.0
    assert float(pixel_loss(read, targets)) == pytest.approx(5.0, abs=0.1)
    twice = [torch.cat([values, values]) for values in read]
    facts = Facts(targets, targets, unknown_query_targets(1), torch.zeros(1, 2, 2))
    one = Batch(torch.zeros(1, 3, 8, 8), [[]], torch.zeros(1, 1, 2, 2), facts=facts)
    joined = join_batches([one, one]).facts
    assert joined is not None
    assert float(pixel_loss(twice, joined.fine)) == pytest.approx(5.0, abs=0.1)
