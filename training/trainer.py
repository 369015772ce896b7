"""The training loop of all models: budget, warm-up, averaging, checkpoints and log."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.files import draft

from .charts import curves_figure, read_curves, save_chart
from .distributed import SEED_STEP, SINGLE_PROCESS, ProcessGroup

logger = logging.getLogger(__name__)

Losses = dict[str, Tensor]
Objective = Callable[[int], Losses]
"""Number of a step to its named losses, of which ``total`` is minimised."""

LOG_FILE = "log.jsonl"
CHECKPOINT_FILE = "checkpoint.pt"
CURVES_FILE = "curves.png"
CPU = torch.device("cpu")
MAX_SKIPPED = 20
"""Steps in a row without finite gradients that end a run."""
BLOCK_NAMES = ("blocks.", "mask_decoder.transformer.")


class DivergedError(Exception):
    """The gradients of a run stayed infinite or undefined; its last checkpoint is sound."""


def has_checkpoint(run: Path) -> bool:
    """Return whether a run has a checkpoint to continue from."""
    return (run / CHECKPOINT_FILE).is_file()


def read_checkpoint(run: Path) -> dict[str, Any]:
    """Return the last checkpoint of a run, its tensors on the CPU."""
    path = run / CHECKPOINT_FILE
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


@dataclass(frozen=True)
class Plan:
    """What a run may use. The learning rate falls to zero over its minutes or its steps.

    Attributes:
        folder: Where checkpoints and the log go.
        minutes: Training time; None when the steps limit the run.
        rate: Highest learning rate.
        weight_decay: Weight decay of matrices.
        warmup_steps: Steps of linear rise.
        averaging: Decay of the moving average of the weights; 0 keeps the weights themselves.
        blocks: Parts of the names of matrices that Muon trains; AdamW trains all else.
        device: Where the module is trained.
        steps: Number of steps; None when the minutes limit the run. Without a limit the rate stays.
        betas: Decay rates of the moments of AdamW.
        log_steps: Steps between lines of the log.
        checkpoint_seconds: Time between checkpoints.
        clip_norm: Largest norm of the gradient.

    Raises:
        ValueError: There are neither minutes nor steps, or both.
    """

    folder: Path
    minutes: float | None = None
    rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 100
    averaging: float = 0.995
    blocks: tuple[str, ...] = BLOCK_NAMES
    device: torch.device = CPU
    steps: float | None = None
    betas: tuple[float, float] = (0.9, 0.98)
    log_steps: int = 50
    checkpoint_seconds: float = 120.0
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("A run needs either minutes or steps.")


def _optimizers(model: nn.Module, plan: Plan) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside transformer blocks and AdamW for all else."""
    matrices, decayed, plain = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = any(block in name for block in plan.blocks) and "bias_table" not in name
        if parameter.ndim == 2 and inside:
            matrices.append(parameter)
        elif parameter.ndim > 1:
            decayed.append(parameter)
        else:
            plain.append(parameter)
    groups = [
        {"params": decayed, "weight_decay": plan.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=plan.rate, betas=plan.betas)
    ]
    if matrices:
        optimizers.append(
            torch.optim.Muon(
                matrices,
                lr=plan.rate,
                weight_decay=plan.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers


class Trainer:
    """Optimises one module and keeps a moving average of its weights.

    A run that stopped continues from its last checkpoint, with the minutes or steps it had left, on
    the same or another device.

    Args:
        model: Module to train; it is moved to the plan's device.
        plan: Budget and rates.
        facts: Facts about the run that go into the checkpoint (sizes, seed); those of a run that
            continues are added to the ones it began with.
        group: The processes that train the same module, each with losses of its own.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        facts: dict[str, Any],
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.model = model.to(plan.device)
        self.plan = plan
        self.facts = facts
        self.group = group
        self.step = 0
        self.seconds = 0.0
        self.rate_factor = 1.0
        self._first_step = 0
        self._skipped = 0
        self.optimizers = _optimizers(model, plan)
        self.average: dict[str, Tensor] = dict(model.state_dict())
        if plan.averaging:
            self.average = {name: value.clone() for name, value in self.average.items()}
        plan.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        group.share_weights(self.model)

    @property
    def progress(self) -> float:
        """Share of the budget that is used, 0..1."""
        if self.plan.steps is not None:
            return min(self.step / max(self.plan.steps, 1), 1.0)
        budget = (self.plan.minutes or 0.0) * 60
        return min(self.seconds / budget, 1.0) if budget > 0 else 1.0

    @property
    def rate(self) -> float:
        """Learning rate of the next step: a linear rise, then half a cosine down to zero."""
        warmup, begun, used = max(self.plan.warmup_steps, 1), self.step, self.progress
        if self.plan.steps is not None:
            used = max(0.0, (self.step - warmup) / max(self.plan.steps - warmup, 1))
        else:
            # More minutes for a run that had ended raise its rate from zero, so it warms up again.
            begun -= self._first_step
        rise = min(1.0, (begun + 1) / warmup)
        fall = 0.5 + 0.5 * math.cos(math.pi * min(used, 1.0))
        return self.plan.rate * self.rate_factor * rise * fall

    def stage_seed(self, seed: int) -> int:
        """Return a seed for the data that neither a resumed run nor another process has seen."""
        return seed + 1000 * self.step + SEED_STEP * self.group.rank

    def run(self, objective: Objective) -> None:
        """Train until the budget is used, then save and draw the curves of the log.

        Args:
            objective: Returns named losses; "total" is minimised.

        Raises:
            DivergedError: Too many steps in a row had no finite gradients.
        """
        self.run_steps(objective)
        self.save()
        self._draw_curves()

    def run_steps(self, objective: Objective) -> None:
        """Train until the budget is used or the objective raises `StopIteration`."""
        seen: dict[str, list[float]] = {}
        last, saved = time.monotonic(), self.seconds
        while self.progress < 1.0:
            try:
                losses = objective(self.step)
            except StopIteration:
                return
            self._update(losses["total"])
            for name, value in losses.items():
                seen.setdefault(name, []).append(float(value.detach()))
            now = time.monotonic()
            self.seconds = self.group.agreed(self.seconds + now - last)
            last = now
            self.step += 1
            if self.step % self.plan.log_steps == 0:
                self._log({name: sum(values) / len(values) for name, values in seen.items()})
                seen = {}
            if self.seconds - saved > self.plan.checkpoint_seconds:
                saved = self.seconds
                self.save()
                last = time.monotonic()

    def finish(self) -> None:
        """Give the module its averaged weights, to be measured when the run is over."""
        self.model.load_state_dict(self.average)
        self.model.eval()

    def save(self) -> None:
        """Write the checkpoint, replacing the last one at once; any machine can read it."""
        if not self.group.is_main:
            return
        model = _on_cpu(self.model.state_dict())
        state = {
            "model": model,
            "average": _on_cpu(self.average) if self.plan.averaging else model,
            "optimizers": [_on_cpu(optimizer.state_dict()) for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
            "rate_factor": self.rate_factor,
            "facts": self.facts,
        }
        with draft(self.plan.folder / CHECKPOINT_FILE) as unfinished:
            torch.save(state, unfinished)

    def _resume(self) -> None:
        if not has_checkpoint(self.plan.folder):
            return
        # Moments move to their parameters' device; the optimisers' own step counts stay here.
        state = read_checkpoint(self.plan.folder)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        if self.plan.averaging:
            self.average = {k: v.to(self.plan.device) for k, v in state["average"].items()}
        self.step = self._first_step = state["step"]
        self.seconds = state["seconds"]
        self.rate_factor = state.get("rate_factor", 1.0)
        self.facts = _joined(state["facts"], self.facts)
        if self.group.is_main:
            self._drop_lost_steps()
        logger.info("Continuing from step %d, %.0f s", self.step, self.seconds)

    def _drop_lost_steps(self) -> None:
        """Remove from the log what came after the checkpoint and is trained again."""
        path = self.plan.folder / LOG_FILE
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.step]
        if len(kept) < len(lines):
            with draft(path) as unfinished:
                unfinished.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def _update(self, loss: Tensor) -> None:
        rate = self.rate
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.group.average_gradients(self.model.parameters())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip_norm)
        if not bool(norm.isfinite()):
            self._skip()
            return
        self._skipped = 0
        for optimizer in self.optimizers:
            optimizer.step()
        if self.plan.averaging:
            self._update_average()

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.plan.averaging, (self.step + 1) / (self.step + 10))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)

    def _skip(self) -> None:
        """Leave out a step that would damage weights and average for good."""
        self._skipped += 1
        logger.warning("Step %d has no finite gradients and is left out", self.step)
        if self._skipped >= MAX_SKIPPED:
            raise DivergedError(
                f"{MAX_SKIPPED} steps in a row had no finite gradients. Continue from the last "
                "checkpoint with a lower --rate."
            )

    def _log(self, numbers: Mapping[str, float]) -> None:
        if not self.group.is_main:
            return
        entry = {"step": self.step, "seconds": round(self.seconds, 1)}
        entry.update({name: round(value, 5) for name, value in numbers.items()})
        with (self.plan.folder / LOG_FILE).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
        logger.info("%s", entry)

    def _draw_curves(self) -> None:
        log = self.plan.folder / LOG_FILE
        curves = read_curves(log) if self.group.is_main and log.is_file() else {}
        if curves:
            save_chart(curves_figure(curves), self.plan.folder / CURVES_FILE)


def mean_losses(objective: Objective, steps: int = 20) -> dict[str, float]:
    """Return the means of named losses over some steps without learning."""
    sums: dict[str, float] = {}
    with torch.no_grad():
        for step in range(steps):
            for name, value in objective(step).items():
                sums[name] = sums.get(name, 0.0) + float(value) / steps
    return sums


def _joined(began: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a run that continues; two devices or seeds become "cpu and cuda"."""
    facts = {**began, **now}
    for name in ("device", "seed"):
        if name in began and name in now and began[name] != now[name]:
            used = f"{began[name]} and {now[name]}".split(" and ")
            facts[name] = " and ".join(dict.fromkeys(used))
    return facts


def _on_cpu(state: Any) -> Any:
    """Return nested state with every tensor in main memory."""
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, Mapping):
        return {name: _on_cpu(value) for name, value in state.items()}
    if isinstance(state, list):
        return [_on_cpu(value) for value in state]
    return state
