"""The built-in network and its losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import one_building

from geoseg_qgis.engine.models.segassess import SegAssess, load_segassess, save_segassess
from training.segassess.built_in import BUILT_IN
from training.segassess.mask_tiles import MaskTiles
from training.segassess.train import PresetNetwork, PresetObjective


def test_built_in_size(tmp_path: Path) -> None:
    model = SegAssess(BUILT_IN)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 2_000_000 < count < 5_000_000
    save_segassess(model, tmp_path / "model.safetensors")
    assert load_segassess(tmp_path / "model.safetensors").configuration == BUILT_IN


def overfitted(steps: int) -> list[float]:
    """Return the losses of steps on one and the same batch."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    batch = MaskTiles([one_building()], 96, 5, ("building",)).batch(2)
    network = PresetNetwork(SegAssess(BUILT_IN))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    objective = PresetObjective(network, lambda _: batch, 2)
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
