"""Training run with the published schedule, resumable after each epoch."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geoseg_qgis.engine.metrics.quality import PublishedQualityMeter, QualityCounts
from geoseg_qgis.engine.models.segassess import SegAssess, save_segassess

from .losses import LossOptions, SegAssessLosses, segassess_losses
from .sampling import PUBLISHED_VIEWS, AssessBatch, MaskSource, mixed_batch
from .targets import quality_target

logger = logging.getLogger(__name__)

Tiles = Mapping[str, Tensor]


class PlateauSchedule:
    """Halve the learning rate after two and four epochs without improvement, stop after five.

    An equal score counts as an improvement.
    """

    HALVE_AT = (2, 4)
    STOP_AT = 5

    def __init__(self) -> None:
        self.best = float("-inf")
        self.waited = 0

    def update(self, score: float) -> tuple[bool, float]:
        """Take in a validation score.

        Returns:
            Whether it is the best so far, and the factor for the learning rate.
        """
        if score >= self.best:
            self.best, self.waited = score, 0
            return True, 1.0
        self.waited += 1
        return False, 0.5 if self.waited in self.HALVE_AT else 1.0

    @property
    def finished(self) -> bool:
        """Whether training should stop."""
        return self.waited >= self.STOP_AT

    def state(self) -> dict[str, float]:
        """Return what a checkpoint must keep."""
        return {"best": self.best, "waited": self.waited}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on from a checkpoint."""
        self.best, self.waited = float(state["best"]), int(state["waited"])


@dataclass(frozen=True)
class TrainingOptions:
    """How a run goes; the defaults are the published ones.

    Attributes:
        folder: Where the checkpoint and the best weights go.
        rate: Learning rate of Adam.
        epochs: Epochs at most.
        views: Views of each tile in a step.
        published_score: Whether the published running mean over batches chooses the best weights
            instead of the summed counts.
        loss: Details of the loss.
        metadata: Facts stored with the best weights.
    """

    folder: Path
    rate: float = 1e-4
    epochs: int = 150
    views: int = PUBLISHED_VIEWS
    published_score: bool = False
    loss: LossOptions = field(default_factory=LossOptions)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class QualityValidation:
    """Validation scores, from summed counts and as published."""

    counts: QualityCounts
    published: PublishedQualityMeter

    def score(self, published: bool) -> float:
        """Return the mean of the FP and the FN IoU, 0..1.

        A class that occurs nowhere is left out. As published, it is the mean of running means.
        """
        if published:
            return self.published.selection_score() / 100
        per_class = self.counts.per_class()
        known = [iou for name in ("FP", "FN") if not math.isnan(iou := per_class[name].iou)]
        return sum(known) / len(known) if known else 0.0


def train_step(
    model: SegAssess,
    optimizer: torch.optim.Optimizer,
    batch: AssessBatch,
    options: LossOptions | None = None,
) -> SegAssessLosses:
    """Run one step of optimisation and return its losses."""
    model.train()
    optimizer.zero_grad(set_to_none=True)
    losses = segassess_losses(model(batch.images, batch.masks), batch.masks, batch.truth, options)
    losses.total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return losses


def validate(model: SegAssess, batches: Iterable[Tiles]) -> QualityValidation:
    """Score a network on tiles that bring their own masks (``image``, ``mask``, ``truth``)."""
    model.eval()
    result = QualityValidation(QualityCounts(), PublishedQualityMeter())
    device = next(model.parameters()).device
    for tiles in batches:
        with torch.inference_mode():
            output = model(tiles["image"].to(device), tiles["mask"].to(device))
        predicted = output.logits.argmax(1).cpu().numpy()
        truth = quality_target(tiles["mask"], tiles["truth"])[:, 0].numpy()
        result.counts.update(predicted, truth)
        result.published.update(predicted, truth)
    return result


class SegAssessTrainer:
    """Trains a network epoch by epoch; a stopped run goes on after its last whole epoch.

    Args:
        model: Network to train, on its device.
        sources: Makers of the training masks, one a view.
        options: How the run goes.
        generator: CPU random numbers for views and their order.
    """

    def __init__(
        self,
        model: SegAssess,
        sources: Sequence[MaskSource],
        options: TrainingOptions,
        generator: torch.Generator | None = None,
    ) -> None:
        self.model = model
        self.sources = sources
        self.options = options
        self.generator = generator or torch.Generator().manual_seed(20)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=options.rate)
        self.schedule = PlateauSchedule()
        self.epoch = 0
        options.folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    @property
    def checkpoint_file(self) -> Path:
        """State of the run."""
        return self.options.folder / "checkpoint.pt"

    @property
    def best_file(self) -> Path:
        """Weights of the best epoch."""
        return self.options.folder / "best.safetensors"

    def run(
        self,
        training: Callable[[], Iterable[Tiles]],
        validation: Callable[[], Iterable[Tiles]],
    ) -> list[float]:
        """Train until the schedule or the number of epochs ends it.

        Args:
            training: Returns the batches of an epoch (``image``, ``truth``).
            validation: Returns the validation batches (``image``, ``mask``, ``truth``).

        Returns:
            The validation score of each epoch run.
        """
        scores = []
        while self.epoch < self.options.epochs and not self.schedule.finished:
            loss = self._train_epoch(training())
            score = validate(self.model, validation()).score(self.options.published_score)
            self._finish_epoch(score)
            scores.append(score)
            logger.info("epoch %d: loss %.4f, score %.4f", self.epoch, loss, score)
        return scores

    def _train_epoch(self, batches: Iterable[Tiles]) -> float:
        device = next(self.model.parameters()).device
        losses = []
        for tiles in batches:
            batch = mixed_batch(
                tiles["image"].to(device),
                tiles["truth"].to(device),
                self.sources,
                self.options.views,
                self.generator,
            )
            step = train_step(self.model, self.optimizer, batch, self.options.loss)
            losses.append(float(step.total.detach()))
        return sum(losses) / max(len(losses), 1)

    def _finish_epoch(self, score: float) -> None:
        best, factor = self.schedule.update(score)
        for group in self.optimizer.param_groups:
            group["lr"] *= factor
        self.epoch += 1
        if best:
            facts = {"epoch": str(self.epoch), "score": f"{score:.6f}"}
            save_segassess(self.model, self.best_file, {**self.options.metadata, **facts})
        self._save()

    def _save(self) -> None:
        partial = self.checkpoint_file.with_suffix(".part")
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state(),
                "epoch": self.epoch,
                "generator": self.generator.get_state(),
            },
            partial,
        )
        os.replace(partial, self.checkpoint_file)  # noqa: PTH105

    def _resume(self) -> None:
        if not self.checkpoint_file.is_file():
            return
        state: dict[str, Any] = torch.load(
            self.checkpoint_file, map_location="cpu", weights_only=True
        )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.restore(state["schedule"])
        self.generator.set_state(state["generator"])
        self.epoch = int(state["epoch"])
        logger.info("going on after epoch %d", self.epoch)
