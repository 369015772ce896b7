"""Where training computes: the option, every model's run on another device, and back."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from elsewhere import sending
from training_runs import RUNS, one_step

from training.device import add_device_option, device_of, half_precision
from training.trainer import Plan, Trainer

HERE = torch.device("cpu")


def read(*arguments: str) -> torch.device:
    parser = argparse.ArgumentParser()
    add_device_option(parser)
    device: torch.device = parser.parse_args(arguments).device
    return device


def test_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert read("--device", "cpu") == HERE
    assert read().type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(SystemExit):
        read("--device", "abacus")
    assert "There is no device called 'abacus'. Use auto," in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="There is an NVIDIA card on this machine.")
def test_a_missing_card_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("--device", "cuda")
    assert "The device cuda cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("able", "dtype"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)],
)
def test_products_are_computed_in_half_where_that_is_fast(
    able: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    module = torch.nn.Linear(2, 2)
    with half_precision(device_of(module)):
        assert module(torch.ones(1, 2)).dtype is dtype


def moments(trainer: Trainer) -> set[torch.device]:
    states = [state for one in trainer.optimizers for state in one.state.values()]
    return {value.device for state in states for name, value in state.items() if name != "step"}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_elsewhere_and_comes_back(name: str, tmp_path: Path) -> None:
    """Each model takes a step elsewhere as it does here, and goes on from the other's state."""
    torch.set_num_threads(1)
    with sending() as there:
        _, wanted = one_step(name, tmp_path / "here", HERE)
        away, found = one_step(name, tmp_path / "there", there)
        assert found == pytest.approx(wanted, rel=1e-3, abs=1e-4)
        away, _ = RUNS[name](Plan(tmp_path / "here", 1, device=there))
        assert device_of(away.model) == there
        assert {value.device for value in away.average.values()} == moments(away) == {there}
        _, wanted = one_step(name, tmp_path / "here", HERE)
        back, found = one_step(name, tmp_path / "there", HERE)
    assert found == pytest.approx(wanted, rel=0.02, abs=1e-3)
    assert {value.device for value in back.average.values()} == moments(back) == {HERE}
    assert (away.step, back.step) == (1, 2)
