"""Scripts that torchrun starts in two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from places import ROOT
from torch import Tensor, nn

from training.distributed import process_group
from training.trainer import CPU, Plan, Trainer


def run_two(*command: object) -> subprocess.CompletedProcess[str]:
    """Run ``-m module arguments`` or a script in two processes of one thread each."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    return subprocess.run(
        [sys.executable, *launcher, *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def average(folder: Path) -> None:
    """Average gradients of which each process lacks one, and none has the last."""
    with process_group(CPU) as (group, _):
        weights = nn.ParameterList([torch.zeros(2), torch.zeros(3), torch.zeros(1)])
        weights[0].grad = torch.full((2,), 1.0 + 2.0 * group.rank)
        if group.rank == 1:
            weights[1].grad = torch.full((3,), 8.0)
        group.average_gradients(weights)
        gradients = [None if one.grad is None else one.grad.tolist() for one in weights]
        found = {"gradients": gradients, "agreed": group.agreed(5.0 + group.rank)}
        (folder / f"{group.rank}.json").write_text(json.dumps(found))


def learn(folder: Path) -> None:
    """Fit lines of which each process sees one half."""
    with process_group(CPU) as (group, _):
        torch.manual_seed(group.rank)
        model = nn.Linear(1, 1)
        inputs = torch.linspace(0, 1, 8)[:, None] - group.rank
        plan = Plan(folder, steps=200, rate=0.05, warmup_steps=5)
        trainer = Trainer(model, plan, {}, group)

        def losses(_step: int) -> dict[str, Tensor]:
            return {"total": (model(inputs) - inputs.abs()).square().mean()}

        trainer.run(losses)
        found = {"weight": model.weight.item(), "bias": model.bias.item()}
        found["seed"] = trainer.stage_seed(0)
        (folder / f"{group.rank}.json").write_text(json.dumps(found))


def main(arguments: Sequence[str]) -> None:
    name, folder = arguments
    {"average": average, "learn": learn}[name](Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
