"""Training tiles from partly labelled scenes, and a short run on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg_qgis.engine.models.segassess import SegAssess, load_segassess, save_segassess
from geoseg_qgis.engine.training.datasets import Scene, load_scenes
from geoseg_qgis.engine.training.segassess.scenes import KINDS, SceneTiles, truth_of_kind
from geoseg_qgis.engine.training.segassess.train_preset import (
    BUILT_IN,
    PresetObjective,
    evaluate_preset,
    numbers_of,
)
from geoseg_qgis.engine.training.surfaces import ANY, BIT, all_but, partial_label

DATA = Path(__file__).parents[3].parent / "shared" / "data"


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


def scene(label: int) -> Scene:
    labels = torch.full((300, 300), all_but("building"), dtype=torch.int32)
    labels[100:200, 100:220] = label
    pixels = (labels == label).to(torch.uint8).mul(150).add(50).expand(3, -1, -1).contiguous()
    return Scene("oam_buildings", "made", pixels, labels, (0.9, 1.1))


def test_tiles_show_their_object() -> None:
    batch = SceneTiles([scene(BIT["building"])], 128, 4, ("building",)).batch(6)
    assert batch.images.shape == (6, 3, 128, 128)
    share = batch.truth.mean((1, 2, 3))
    assert (share >= 0.02).all()
    assert (share <= 0.95).all()
    assert (batch.truth <= batch.valid).all()
    assert (batch.valid.mean((1, 2, 3)) >= 0.5).all()
    bright = batch.images.mean(1, keepdim=True)
    assert bright[batch.truth > 0].mean() > bright[batch.truth == 0].mean() + 0.1
    assert not torch.equal(batch.masks, batch.truth)
    again = SceneTiles([scene(BIT["building"])], 128, 4, ("building",)).batch(6)
    assert torch.equal(again.masks, batch.masks)
    with pytest.raises(ValueError, match="show too little"):
        SceneTiles([scene(ANY)], 128, 4, ("building",)).batch(2)


def test_built_in_size(tmp_path: Path) -> None:
    model = SegAssess(BUILT_IN)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 2_000_000 < count < 5_000_000
    save_segassess(model, tmp_path / "model.safetensors")
    assert load_segassess(tmp_path / "model.safetensors").configuration == BUILT_IN


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is absent")
def test_steps_on_real_images() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scenes = load_scenes(DATA, "train", ("spacenet_linz_buildings",))
    tiles = SceneTiles(scenes, 128, 5, ("building", "road"))
    model = SegAssess(BUILT_IN)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    objective = PresetObjective(model, tiles, 2)
    totals = []
    for step in range(8):
        losses = objective(step)
        optimizer.zero_grad()
        losses["total"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        totals.append(float(losses["total"].detach()))
    assert np.isfinite(totals).all()
    assert np.mean(totals[-3:]) < np.mean(totals[:3])
    counts, calibration = evaluate_preset(model.eval(), tiles, 1, 3)
    numbers = numbers_of(counts, calibration)
    assert 0 <= numbers["TN_iou"] <= 1
    assert counts.matrix.sum() <= 3 * 128 * 128
    assert counts.matrix[:2, 2:].sum() == counts.matrix[2:, :2].sum() == 0
