"""The training run: scheduled samples in, checkpoints out; resumable, on one or more devices.

More than one device: start the same script with ``torchrun``; each process then trains its share
of every batch and the gradients are averaged.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from geoseg_qgis.engine.models.unigeoseg.checkpoint import save_checkpoint
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.sequence import split_dialogue
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, Tokenizer, encode_template
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer

from .losses import Losses, LossSettings, language_loss, mask_losses
from .samples import Record, Sample, TrainingBatch, collate
from .schedule import ScheduledSampler, TaskSchedule

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How a run goes; the defaults are the published ones where these are known.

    Attributes:
        folder: Where the state, the log and the weights go.
        steps: Optimiser steps of the whole run.
        batch_size: Samples a step, over all processes.
        rate: Highest learning rate of AdamW.
        weight_decay: Of AdamW.
        warmup_share: Share of the steps over which the rate rises.
        clip_norm: Largest norm of the gradient.
        train_tower: Train the vision tower too; published networks keep it frozen.
        recompute: Recompute the language model's activations instead of keeping them.
        checkpoint_steps: Steps between saved states.
        log_steps: Steps between lines of the log.
        seed: Of the order, the points and the dropout.
        loss: Weights and sampling of the losses.
        schedule: Shares of the tasks.
        readers: Threads that read samples while the network computes.
    """

    folder: Path
    steps: int
    batch_size: int = 16
    rate: float = 1e-4
    weight_decay: float = 0.0
    warmup_share: float = 0.03
    clip_norm: float = 1.0
    train_tower: bool = False
    recompute: bool = False
    checkpoint_steps: int = 500
    log_steps: int = 20
    seed: int = 0
    loss: LossSettings = dataclasses.field(default_factory=LossSettings)
    schedule: TaskSchedule = dataclasses.field(default_factory=TaskSchedule)
    readers: int = 4

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: linear rise, then half a cosine to zero."""
        warmup = max(round(self.steps * self.warmup_share), 1)
        if step < warmup:
            return self.rate * (step + 1) / warmup
        progress = (step - warmup) / max(self.steps - warmup, 1)
        return self.rate * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


class TrainingStep(nn.Module):
    """The network and its losses as one module, so that gradients can be averaged around it."""

    def __init__(self, model: UniGeoSeg, tokenizer: Tokenizer, settings: LossSettings) -> None:
        super().__init__()
        if model.lm_head is None:
            raise ValueError("Training needs a network with its language head.")
        self.model = model
        self.lm_head = model.lm_head
        self._settings = settings
        self._pieces = split_dialogue(encode_template(UNIFIED, tokenizer))

    def forward(
        self, batch: TrainingBatch, generator: torch.Generator | None, mask_count: float
    ) -> Losses:
        """Compute the losses of a batch; ``mask_count`` as in ``mask_losses``."""
        device = self.model.global_latents.device
        answer = self.model(batch.pixels.to(device), self._pieces, batch.requests)
        mask, dice = mask_losses(
            answer.masks,
            batch.targets.to(device),
            self._settings,
            generator=generator,
            mask_count=mask_count,
        )
        words = self.lm_head(answer.states)
        return Losses(language_loss(words, answer.utterances.labels), mask, dice)


class UniGeoSegTrainer:
    """Trains one network on records; a run that stopped goes on from its last state.

    Args:
        model: Network with its language head, on its device.
        tokenizer: Its tokenizer.
        records: What to learn.
        settings: How.
    """

    def __init__(
        self,
        model: UniGeoSeg,
        tokenizer: Tokenizer,
        records: Sequence[Record],
        settings: TrainingSettings,
    ) -> None:
        self.model = model
        self.settings = settings
        self.step = 0
        self._tokenizer = tokenizer
        self._records = records
        model.model.vision_tower.requires_grad_(settings.train_tower)
        if settings.recompute:
            model.model.gradient_checkpointing_enable()
        self._device = model.global_latents.device
        module: nn.Module = TrainingStep(model, tokenizer, settings.loss)
        self._rank, self._processes = _place()
        if settings.batch_size % self._processes:
            raise ValueError("The batch size is not a multiple of the number of processes.")
        if self._processes > 1:
            module = nn.parallel.DistributedDataParallel(module, find_unused_parameters=True)
        self._module = module
        parameters = [value for value in model.parameters() if value.requires_grad]
        self._optimizer = torch.optim.AdamW(
            parameters, lr=settings.rate, weight_decay=settings.weight_decay
        )
        settings.folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    @property
    def state_file(self) -> Path:
        """The file that holds the state of the run."""
        return self.settings.folder / "state.pt"

    @property
    def weights_folder(self) -> Path:
        """The checkpoint folder of the trained network."""
        return self.settings.folder / "weights"

    def run(self, until: int | None = None) -> list[float]:
        """Train to the last step, or to step ``until``; then save.

        Returns:
            The total loss of every step that was run.
        """
        settings = self.settings
        end = settings.steps if until is None else min(until, settings.steps)
        sampler = ScheduledSampler(
            [record.task for record in self._records],
            settings.schedule,
            settings.steps * settings.batch_size,
            settings.seed,
        )
        start = self.step * settings.batch_size
        indices = sampler.draw(start, self._rank, self._processes)
        totals: list[float] = []
        for batch in self._batches(indices, end - self.step):
            losses = self._advance(batch)
            totals.append(float(losses.total.detach()))
            if self.step % settings.log_steps == 0:
                self._log(losses)
            if self.step % settings.checkpoint_steps == 0 and self.step < end:
                self.save()
        self.save()
        return totals

    def save(self) -> None:
        """Write the weights and the state of the run, each complete under its name."""
        if self._rank:
            return
        byte_tokenizer = self._tokenizer if isinstance(self._tokenizer, ByteTokenizer) else None
        save_checkpoint(self.model, byte_tokenizer, self.weights_folder)
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        partial = self.state_file.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self.state_file)

    def _advance(self, batch: TrainingBatch) -> Losses:
        """One optimiser step; its randomness depends on the seed and the step alone."""
        settings = self.settings
        self.model.train()
        self.model.model.vision_tower.train(settings.train_tower)
        seed = (settings.seed * 1_000_003 + self.step) * self._processes + self._rank
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        for group in self._optimizer.param_groups:
            group["lr"] = settings.rate_at(self.step)
        with self._precision():
            losses: Losses = self._module(batch, generator, float(len(batch.requests)))
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.total)
        nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        self._optimizer.step()
        self.step += 1
        return losses

    def _batches(self, indices: Iterator[int], count: int) -> Iterator[TrainingBatch]:
        """Read ``count`` batches, one ahead of the network."""
        size = self.settings.batch_size // self._processes
        side = self.model.config.vision.image_size
        with ThreadPoolExecutor(max(self.settings.readers, 1)) as pool:

            def begin() -> list[Future[Sample]]:
                chosen = itertools.islice(indices, size)
                return [pool.submit(self._records[index].read) for index in chosen]

            ahead = begin()
            for _ in range(count):
                current, ahead = ahead, begin()
                yield collate([future.result() for future in current], self._tokenizer, side)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self._device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _resume(self) -> None:
        if not self.state_file.is_file():
            return
        state = torch.load(self.state_file, map_location=self._device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        logger.info("Going on from step %d", self.step)

    def _log(self, losses: Losses) -> None:
        if self._rank:
            return
        numbers: dict[str, Tensor] = {
            "language": losses.language,
            "mask": losses.mask,
            "dice": losses.dice,
            "total": losses.total,
        }
        entry = {"step": self.step, "rate": self.settings.rate_at(self.step - 1)}
        entry |= {name: round(float(value.detach()), 5) for name, value in numbers.items()}
        with (self.settings.folder / "log.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
        logger.info("%s", entry)


def _place() -> tuple[int, int]:
    """Rank of this process and number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
