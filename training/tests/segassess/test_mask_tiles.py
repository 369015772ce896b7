"""Tiles from partly labelled images, with masks to judge."""

from __future__ import annotations

import pytest
import torch
from training_runs import one_building

from training.land_cover import ANY, BIT, all_but, partial_label
from training.segassess.mask_tiles import (
    CODES,
    KINDS,
    CorruptedShapes,
    MaskTiles,
    split_labels,
    truth_of_kind,
    with_maps,
)


def test_truth_from_partial_labels() -> None:
    labels = torch.tensor(
        [0, BIT["building"], BIT["road"], all_but("building"), ANY, partial_label("road", "car")]
    )
    is_object, known = truth_of_kind(labels, KINDS["building"])
    assert is_object.tolist() == [False, True, False, False, False, False]
    assert known.tolist() == [False, True, True, True, False, True]
    is_object, known = truth_of_kind(labels, KINDS["road"])
    assert is_object.tolist() == [False, False, True, False, False, True]
    assert known.tolist() == [False, True, True, False, False, True]


@pytest.mark.slow
def test_tiles_show_their_object() -> None:
    batch = MaskTiles([one_building()], 128, 4, ("building",)).batch(6)
    assert batch.images.shape == (6, 3, 128, 128)
    share = batch.truth.mean((1, 2, 3))
    assert (share >= 0.02).all()
    assert (share <= 0.95).all()
    assert (batch.truth <= batch.valid).all()
    assert (batch.valid.mean((1, 2, 3)) >= 0.5).all()
    bright = batch.images.mean(1, keepdim=True)
    assert bright[batch.truth > 0].mean() > bright[batch.truth == 0].mean() + 0.1
    assert not torch.equal(batch.masks, batch.truth)
    again = MaskTiles([one_building()], 128, 4, ("building",)).batch(6)
    assert torch.equal(again.masks, batch.masks)
    with pytest.raises(ValueError, match="show too little"):
        MaskTiles([one_building(ANY)], 128, 4, ("building",)).batch(2)


def test_maps_of_other_networks_come_along() -> None:
    made = one_building()
    codes = torch.full((3, 300, 300), CODES["land"], dtype=torch.uint8)
    codes[:, 120:180, 120:200] = CODES["building"]
    labels, maps = split_labels(with_maps(made, codes).labels)
    assert torch.equal(labels, made.labels)
    assert all(torch.equal(one, codes[0].int()) for one in maps)
    assert len(maps) == 3
    tiles = MaskTiles([made], 128, 6, ("building",), [codes]).batch(24)
    true_share, mask_share = tiles.truth.mean((1, 2, 3)), tiles.masks.mean((1, 2, 3))
    inside = (tiles.masks <= tiles.truth).all((1, 2, 3))
    foreign = inside & (mask_share < 0.45 * true_share) & (mask_share > 0.35 * true_share)
    assert foreign.sum() >= 3


def test_faulty_shapes_and_their_seed() -> None:
    truth = torch.zeros(4, 1, 64, 64)
    truth[..., 20:44, 20:44] = 1
    first, again = (CorruptedShapes(2)(truth, truth) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == truth.shape
    assert 0 < (first != truth).float().mean() < 0.5
