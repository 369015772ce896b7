"""The training loop that all models share: time budget, warm-up, averaging, checkpoints, log."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import torch

from .curves import draw_curves
from .distributed import ALONE, SEED_STEP, Team
from .preset_folder import write_text

logger = logging.getLogger(__name__)

Objective = Callable[[int], Dict[str, torch.Tensor]]
"""Number of a step to its named losses."""

CHECKPOINT_SECONDS = 120.0
LOG_FILE = "log.jsonl"
CHECKPOINT_FILE = "checkpoint.pt"
PROCESSOR = torch.device("cpu")
MOST_SKIPPED = 20
"""Steps in a row without finite gradients that end a run."""
BLOCK_NAMES = ("blocks.", "mask_decoder.transformer.")


class DivergedError(Exception):
    """The gradients of a run stayed infinite or undefined; its last checkpoint is sound."""


def has_begun(folder: Path) -> bool:
    """Return whether a run has a checkpoint to go on from."""
    return (folder / CHECKPOINT_FILE).is_file()


@dataclass(frozen=True)
class Plan:
    """What a run may use.

    Attributes:
        folder: Where checkpoints and the log go.
        minutes: Training time; the learning rate falls to zero over it.
        rate: Highest learning rate.
        weight_decay: AdamW weight decay.
        warmup_steps: Steps of linear rise.
        averaging: Decay of the moving average of the weights.
        blocks: Parts of the names of matrices that Muon trains.
        device: Where the module is trained.
    """

    folder: Path
    minutes: float
    rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 100
    averaging: float = 0.995
    blocks: Tuple[str, ...] = BLOCK_NAMES
    device: torch.device = PROCESSOR


def _optimizers(model: torch.nn.Module, plan: Plan) -> List[torch.optim.Optimizer]:
    """Return Muon for the matrices inside transformer blocks and AdamW for all else."""
    matrices, decayed, plain = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = any(part in name for part in plan.blocks) and "bias_table" not in name
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
    optimizers: List[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))
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

    A run that stopped goes on from its last checkpoint, with the time it had left, on the same or
    another device.

    Args:
        model: Module to train; it is moved to the plan's device.
        plan: Budget and rates.
        facts: Facts about the run that go into the checkpoint (sizes, seed); those of a run that
            goes on are added to the ones it began with.
        team: The processes that train the same module, each with losses of its own.
    """

    def __init__(
        self, model: torch.nn.Module, plan: Plan, facts: Dict[str, Any], team: Team = ALONE
    ) -> None:
        self.model = model.to(plan.device)
        self.plan = plan
        self.facts = facts
        self.team = team
        self.step = 0
        self.seconds = 0.0
        self._began_at = 0
        self._skipped = 0
        self.optimizers = _optimizers(model, plan)
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}
        plan.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        team.share_weights(self.model)

    @property
    def checkpoint_file(self) -> Path:
        """The file that holds the state of the run."""
        return self.plan.folder / CHECKPOINT_FILE

    def stage_seed(self, seed: int) -> int:
        """Return a seed for the data that neither a resumed run nor another process has seen."""
        return seed + 1000 * self.step + SEED_STEP * self.team.rank

    def run(self, loss_of_step: Objective) -> None:
        """Train until the time is used.

        Args:
            loss_of_step: Returns named losses; "total" is minimised.

        Raises:
            DivergedError: Too many steps in a row had no finite gradients.
        """
        seen: Dict[str, List[float]] = {}
        last, saved = time.monotonic(), self.seconds
        budget = self.plan.minutes * 60
        while self.seconds < budget:
            losses = loss_of_step(self.step)
            self._update(losses["total"], self.seconds / budget)
            for name, value in losses.items():
                seen.setdefault(name, []).append(float(value.detach()))
            now = time.monotonic()
            self.seconds = self.team.agreed(self.seconds + now - last)
            last = now
            self.step += 1
            if self.step % 50 == 0:
                self._log({name: sum(values) / len(values) for name, values in seen.items()})
                seen = {}
            if self.seconds - saved > CHECKPOINT_SECONDS:
                saved = self.seconds
                self.save()
                last = time.monotonic()
        self.save()
        log = self.plan.folder / LOG_FILE
        if self.team.leads and log.is_file():
            draw_curves(log, self.plan.folder / "curves.png")

    def finish(self) -> None:
        """Give the module its averaged weights, to be measured when the run is over."""
        self.model.load_state_dict(self.average)
        self.model.eval()

    def save(self) -> None:
        """Write the checkpoint, replacing the last one at once; any machine can read it."""
        if not self.team.leads:
            return
        temporary = self.checkpoint_file.with_suffix(".part")
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
            "facts": self.facts,
        }
        torch.save(_on_processor(state), temporary)
        temporary.replace(self.checkpoint_file)

    def _resume(self) -> None:
        if not has_begun(self.plan.folder):
            return
        # Moments follow their parameters' device; the optimisers' own step counts stay here.
        state = torch.load(self.checkpoint_file, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        self.average = {k: v.to(self.plan.device) for k, v in state["average"].items()}
        self.step = self._began_at = state["step"]
        self.seconds = state["seconds"]
        self.facts = _joined(state["facts"], self.facts)
        if self.team.leads:
            self._forget_lost_steps()
        logger.info("Going on from step %d, %.0f s", self.step, self.seconds)

    def _forget_lost_steps(self) -> None:
        """Take from the log what came after the checkpoint and is trained again."""
        path = self.plan.folder / LOG_FILE
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.step]
        if len(kept) < len(lines):
            write_text(path, "".join(f"{line}\n" for line in kept))

    def _update(self, loss: torch.Tensor, progress: float) -> None:
        # More minutes for a run that had ended raise its rate from zero, so warm up again.
        warm = min(1.0, (self.step - self._began_at + 1) / self.plan.warmup_steps)
        rate = self.plan.rate * warm * (0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0)))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.team.average_gradients(self.model.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if not bool(norm.isfinite()):
            self._skip()
            return
        self._skipped = 0
        for optimizer in self.optimizers:
            optimizer.step()
        decay = min(self.plan.averaging, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)

    def _skip(self) -> None:
        """Leave out a step that would spoil weights and average for good."""
        self._skipped += 1
        logger.warning("Step %d has no finite gradients and is left out", self.step)
        if self._skipped >= MOST_SKIPPED:
            raise DivergedError(
                f"{MOST_SKIPPED} steps in a row had no finite gradients. Go on from the last "
                "checkpoint with a lower --rate."
            )

    def _log(self, numbers: Dict[str, float]) -> None:
        if not self.team.leads:
            return
        entry = {"step": self.step, "seconds": round(self.seconds, 1)}
        entry.update({name: round(value, 5) for name, value in numbers.items()})
        with (self.plan.folder / LOG_FILE).open("a") as stream:
            stream.write(json.dumps(entry) + "\n")
        logger.info("%s", entry)


def mean_losses(objective: Objective, steps: int = 20) -> Dict[str, float]:
    """Return the means of named losses over some steps without learning."""
    sums: Dict[str, float] = {}
    with torch.no_grad():
        for step in range(steps):
            for name, value in objective(step).items():
                sums[name] = sums.get(name, 0.0) + float(value) / steps
    return sums


def _joined(began: Dict[str, Any], now: Dict[str, Any]) -> Dict[str, Any]:
    """Return the facts of a run that goes on; devices and seeds are told as "cpu and cuda"."""
    facts = {**began, **now}
    for name in ("device", "seed"):
        if name in began and name in now and began[name] != now[name]:
            told = f"{began[name]} and {now[name]}".split(" and ")
            facts[name] = " and ".join(dict.fromkeys(told))
    return facts


def _on_processor(state: Any) -> Any:
    """Return nested state with every tensor in the machine's own memory."""
    if isinstance(state, torch.Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {name: _on_processor(value) for name, value in state.items()}
    if isinstance(state, list):
        return [_on_processor(value) for value in state]
    return state
