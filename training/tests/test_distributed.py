"""Processes that train together keep the same weights, and learn from all of their lessons."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.distributed import ALONE, Team, TeamError, team_size, work_together
from training.trainer import Plan, Trainer


def average_two(team: Team, folder: Path) -> None:
    """Average gradients of which each process lacks one, and none has the last."""
    torch.manual_seed(team.rank)
    parts = nn.ParameterList([torch.zeros(2), torch.zeros(3), torch.zeros(1)])
    parts[0].grad = torch.full((2,), 1.0 + 2.0 * team.rank)
    if team.rank == 1:
        parts[1].grad = torch.full((3,), 8.0)
    team.average_gradients(parts)
    gradients = [None if part.grad is None else part.grad.tolist() for part in parts]
    told = {"gradients": gradients, "agreed": team.agreed(5.0 + team.rank)}
    (folder / f"{team.rank}.json").write_text(json.dumps(told))


def learn_together(team: Team, folder: Path) -> None:
    """Fit lines whose two halves are told to one process each."""
    torch.manual_seed(team.rank)
    model = nn.Linear(1, 1)
    inputs = torch.linspace(0, 1, 8)[:, None] - team.rank
    trainer = Trainer(model, Plan(folder, 0.05, rate=0.05, warmup_steps=5), {}, team)

    def losses(_step: int) -> dict[str, Tensor]:
        return {"total": (model(inputs) - inputs.abs()).square().mean()}

    trainer.run(losses)
    kept = {"weight": model.weight.item(), "bias": model.bias.item(), "seed": trainer.stage_seed(0)}
    (folder / f"{team.rank}.json").write_text(json.dumps(kept))


def fail_apart(team: Team) -> None:
    """End one process of two; the other waits for it."""
    if team.rank == 1:
        raise ValueError("The second process ends.")
    team.agreed(0.0)
    team.wait()


def told(folder: Path) -> list[dict[str, object]]:
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_gradients_are_averaged_over_processes(tmp_path: Path) -> None:
    work_together(2, average_two, tmp_path)
    first, second = told(tmp_path)
    assert first == second == {"gradients": [[2.0, 2.0], [4.0, 4.0, 4.0], None], "agreed": 5.0}


@pytest.mark.slow
def test_a_team_keeps_one_set_of_weights(tmp_path: Path) -> None:
    work_together(2, learn_together, tmp_path)
    first, second = told(tmp_path)
    assert first["weight"] == second["weight"]
    assert first["bias"] == second["bias"]
    # Alone, the first would find the slope 1 and the second -1.
    assert abs(float(str(first["weight"]))) < 0.3
    assert first["seed"] != second["seed"]
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] > 10


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(TeamError, match=r"Process 1 .* ended with 1"):
        work_together(2, fail_apart)
    assert multiprocessing.active_children() == []
    assert torch.get_num_threads() == threads


def test_one_process_works_alone() -> None:
    seen: list[Team] = []
    work_together(1, seen.append)
    assert seen == [ALONE]
    assert ALONE.leads
    assert ALONE.agreed(3.0) == 3.0
    part = nn.Parameter(torch.zeros(1))
    part.grad = torch.ones(1)
    ALONE.average_gradients([part])
    assert part.grad.item() == 1.0
    assert 1 <= team_size(torch.device("cpu")) <= 2
    assert team_size(torch.device("cuda")) == 1
