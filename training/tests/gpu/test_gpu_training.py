"""Training on a graphics card: every model's steps against the processor's, and going on there."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from training_runs import RUNS, one_step

from training.device import device_of, training_device

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="There is no NVIDIA card on this machine."
)

PROCESSOR = torch.device("cpu")


@pytest.mark.parametrize("name", RUNS)
def test_steps_are_those_of_the_processor(name: str, tmp_path: Path) -> None:
    card = training_device("auto")
    assert card.type == "cuda"
    # Products are rounded to eight bits on both, in another order.
    for step, tolerance in ((1, 0.1), (2, 0.25)):
        _, wanted = one_step(name, tmp_path / "processor", PROCESSOR)
        there, found = one_step(name, tmp_path / "card", card)
        assert there.step == step
        assert device_of(there.model).type == "cuda"
        assert {value.device.type for value in there.average.values()} == {"cuda"}
        assert found["total"] == pytest.approx(wanted["total"], rel=tolerance)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_changes_between_card_and_processor(name: str, tmp_path: Path) -> None:
    devices = (torch.device("cuda"), PROCESSOR, torch.device("cuda"))
    for step, device in enumerate(devices, start=1):
        trainer, losses = one_step(name, tmp_path, device)
        assert trainer.step == step
        assert all(math.isfinite(value) for value in losses.values())
