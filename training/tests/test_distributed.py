"""Processes that train together keep the same weights, and learn from all of their batches."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.distributed import (
    SINGLE_PROCESS,
    ProcessGroup,
    ProcessGroupError,
    default_processes,
    run_in_processes,
)
from training.trainer import Plan, Trainer


def average_two(group: ProcessGroup, folder: Path) -> None:
    """Average gradients of which each process lacks one, and none has the last."""
    torch.manual_seed(group.rank)
    parts = nn.ParameterList([torch.zeros(2), torch.zeros(3), torch.zeros(1)])
    parts[0].grad = torch.full((2,), 1.0 + 2.0 * group.rank)
    if group.rank == 1:
        parts[1].grad = torch.full((3,), 8.0)
    group.average_gradients(parts)
    gradients = [None if part.grad is None else part.grad.tolist() for part in parts]
    found = {"gradients": gradients, "agreed": group.agreed(5.0 + group.rank)}
    (folder / f"{group.rank}.json").write_text(json.dumps(found))


def learn_together(group: ProcessGroup, folder: Path) -> None:
    """Fit lines of which each process sees one half."""
    torch.manual_seed(group.rank)
    model = nn.Linear(1, 1)
    inputs = torch.linspace(0, 1, 8)[:, None] - group.rank
    trainer = Trainer(model, Plan(folder, 0.05, rate=0.05, warmup_steps=5), {}, group)

    def losses(_step: int) -> dict[str, Tensor]:
        return {"total": (model(inputs) - inputs.abs()).square().mean()}

    trainer.run(losses)
    kept = {"weight": model.weight.item(), "bias": model.bias.item(), "seed": trainer.stage_seed(0)}
    (folder / f"{group.rank}.json").write_text(json.dumps(kept))


def fail_apart(group: ProcessGroup) -> None:
    """End one process of two; the other waits for it."""
    if group.rank == 1:
        raise ValueError("The second process ends.")
    group.agreed(0.0)
    group.wait()


def written(folder: Path) -> list[dict[str, object]]:
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_gradients_are_averaged_over_processes(tmp_path: Path) -> None:
    run_in_processes(2, average_two, tmp_path)
    first, second = written(tmp_path)
    assert first == second == {"gradients": [[2.0, 2.0], [4.0, 4.0, 4.0], None], "agreed": 5.0}


@pytest.mark.slow
def test_a_group_keeps_one_set_of_weights(tmp_path: Path) -> None:
    run_in_processes(2, learn_together, tmp_path)
    first, second = written(tmp_path)
    assert first["weight"] == second["weight"]
    assert first["bias"] == second["bias"]
    # Alone, the first would find the slope 1 and the second -1.
    assert abs(float(str(first["weight"]))) < 0.3
    assert first["seed"] != second["seed"]
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] > 10


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(ProcessGroupError, match=r"Process 1 .* ended with 1"):
        run_in_processes(2, fail_apart)
    assert multiprocessing.active_children() == []
    assert torch.get_num_threads() == threads


def test_one_process_works_alone() -> None:
    seen: list[ProcessGroup] = []
    run_in_processes(1, seen.append)
    assert seen == [SINGLE_PROCESS]
    assert SINGLE_PROCESS.is_main
    assert SINGLE_PROCESS.agreed(3.0) == 3.0
    part = nn.Parameter(torch.zeros(1))
    part.grad = torch.ones(1)
    SINGLE_PROCESS.average_gradients([part])
    assert part.grad.item() == 1.0
    assert 1 <= default_processes(torch.device("cpu")) <= 2
    assert default_processes(torch.device("cuda")) == 1
