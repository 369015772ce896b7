"""Processes that train together keep the same weights, and learn from all of their batches."""

from __future__ import annotations

import json
from pathlib import Path

import process_groups
import pytest
import torch
from process_groups import run_two
from torch import nn

from training.distributed import SINGLE_PROCESS, process_group
from training.trainer import CPU, read_checkpoint


def found_by_two(name: str, folder: Path) -> list[dict[str, object]]:
    """Return what both processes of a script wrote."""
    finished = run_two(process_groups.__file__, name, folder)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_gradients_are_averaged_over_processes(tmp_path: Path) -> None:
    first, second = found_by_two("average", tmp_path)
    assert first == second == {"gradients": [[2.0, 2.0], [4.0, 4.0, 4.0], None], "agreed": 5.0}


@pytest.mark.slow
def test_a_group_keeps_one_set_of_weights(tmp_path: Path) -> None:
    first, second = found_by_two("learn", tmp_path)
    assert first["weight"] == second["weight"]
    assert first["bias"] == second["bias"]
    # Alone, the first would find the slope 1 and the second -1.
    assert abs(float(str(first["weight"]))) < 0.3
    assert first["seed"] != second["seed"]
    assert read_checkpoint(tmp_path)["step"] == 200


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from training.distributed import process_group\n"
        "from training.trainer import CPU\n"
        "with process_group(CPU) as (group, _):\n"
        "    assert group.is_main, 'The second process ends.'\n"
        "    group.wait()\n"
    )
    finished = run_two(script)
    assert finished.returncode != 0
    assert "The second process ends." in finished.stderr


def test_one_process_trains_alone() -> None:
    with process_group(CPU) as (group, device):
        assert group is SINGLE_PROCESS
        assert device == CPU
    assert group.is_main
    assert group.agreed(3.0) == 3.0
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.ones(1)
    group.average_gradients([weight])
    assert weight.grad.item() == 1.0
