"""Training tiles from partly labelled scenes, and a short run on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg_qgis.engine.models.segassess import SegAssess, load_segassess, save_segassess
from training.datasets import LabelledImage, load_images
from training.land_cover import ANY, BIT, all_but, partial_label
from training.scenes.corruptions import corrupt
from training.segassess.lookalikes import Lookalikes
from training.segassess.mask_tiles import (
    CODES,
    KINDS,
    CorruptedShapes,
    MaskTiles,
    split_labels,
    truth_of_kind,
    with_maps,
)
from training.segassess.train_preset import BUILT_IN, PresetNetwork, PresetObjective
from training.segassess.whole_images import cases, judge

DATA = Path(__file__).parents[4].parent / "shared" / "data"


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


def scene(label: int) -> LabelledImage:
    labels = torch.full((300, 300), all_but("building"), dtype=torch.int32)
    labels[100:200, 100:220] = label
    pixels = (labels == label).to(torch.uint8).mul(150).add(50).expand(3, -1, -1).contiguous()
    return LabelledImage("oam_buildings", "made", pixels, labels, (0.9, 1.1))


@pytest.mark.slow
def test_tiles_show_their_object() -> None:
    batch = MaskTiles([scene(BIT["building"])], 128, 4, ("building",)).batch(6)
    assert batch.images.shape == (6, 3, 128, 128)
    share = batch.truth.mean((1, 2, 3))
    assert (share >= 0.02).all()
    assert (share <= 0.95).all()
    assert (batch.truth <= batch.valid).all()
    assert (batch.valid.mean((1, 2, 3)) >= 0.5).all()
    bright = batch.images.mean(1, keepdim=True)
    assert bright[batch.truth > 0].mean() > bright[batch.truth == 0].mean() + 0.1
    assert not torch.equal(batch.masks, batch.truth)
    again = MaskTiles([scene(BIT["building"])], 128, 4, ("building",)).batch(6)
    assert torch.equal(again.masks, batch.masks)
    with pytest.raises(ValueError, match="show too little"):
        MaskTiles([scene(ANY)], 128, 4, ("building",)).batch(2)


def test_built_in_size(tmp_path: Path) -> None:
    model = SegAssess(BUILT_IN)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 2_000_000 < count < 5_000_000
    save_segassess(model, tmp_path / "model.safetensors")
    assert load_segassess(tmp_path / "model.safetensors").configuration == BUILT_IN


def test_maps_of_other_networks_come_along() -> None:
    made = scene(BIT["building"])
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


def test_lookalikes_follow_colours() -> None:
    """A mask made from colours takes in what looks like the object."""
    generator = torch.Generator().manual_seed(3)
    image = torch.full((3, 128, 128), 0.2) + 0.01 * torch.randn(3, 128, 128, generator=generator)
    image[:, 16:64, 16:64] += 0.6
    image[:, 80:112, 64:120] += 0.6
    truth = torch.zeros(1, 1, 128, 128)
    truth[..., 16:64, 16:64] = 1
    masks = Lookalikes(5)(image[None].expand(8, -1, -1, -1), truth.expand(8, -1, -1, -1))
    assert ((masks == 0) | (masks == 1)).all()
    same, other = masks[..., 20:60, 20:60].mean(), masks[..., 84:108, 68:116].mean()
    assert same > 0.6
    assert other > 0.5
    assert masks[..., 110:, :60].mean() < 0.1


def test_faulty_shapes_and_their_seed() -> None:
    truth = torch.zeros(4, 1, 64, 64)
    truth[..., 20:44, 20:44] = 1
    first, again = (CorruptedShapes(2)(truth, truth) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == truth.shape
    assert 0 < (first != truth).float().mean() < 0.5


def overfitted(steps: int) -> list[float]:
    """Return the losses of steps on one and the same batch of a made scene."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tiles = MaskTiles([scene(BIT["building"])], 96, 5, ("building",))
    batch = tiles.batch(2)
    tiles.batch = lambda count: batch  # type: ignore[method-assign]  # noqa: ARG005
    network = PresetNetwork(SegAssess(BUILT_IN))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    objective = PresetObjective(network, tiles.batch, 2)
    totals = []
    for step in range(steps):
        losses = objective(step)
        optimizer.zero_grad()
        losses["total"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        totals.append(float(losses["total"].detach()))
    return totals


@pytest.mark.slow
def test_steps_on_one_batch_lower_the_loss() -> None:
    totals = overfitted(12)
    assert np.isfinite(totals).all()
    assert np.mean(totals[-3:]) < 0.8 * np.mean(totals[:3])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is absent")
def test_judging_a_real_image() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    one = load_images(DATA, "validation", ("spacenet_linz_buildings",))[0]
    found = {case.kind: case for case in cases(one)}
    case = found["building"]
    assert case.pixels.shape[1:] == case.truth.shape
    assert (case.truth <= case.valid).all()
    mask = corrupt(case.truth, 4, "shift", 1.0)
    judgement, probabilities = judge(SegAssess(BUILT_IN).eval(), case, mask)
    assert probabilities.shape == (4, *case.truth.shape)
    assert torch.allclose(probabilities.sum(0), torch.ones(case.truth.shape), atol=1e-4)
    counts = judgement.constrained.matrix
    assert counts.sum() == judgement.raw.matrix.sum() == case.valid.sum()
    assert counts[:2, 2:].sum() == counts[2:, :2].sum() == 0
    assert counts[0].sum() == (mask & case.truth).sum()
    assert len(judgement.predicted) == len(judgement.actual) > 0
    assert 0 <= np.nanmin(judgement.actual) <= np.nanmax(judgement.actual) <= 1
