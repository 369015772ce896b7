"""The published training of SegAssess: epochs of mixed masks, with a plateau schedule.

`python -m training.segassess.published_training --root data/Inria --profile Inria --weights START
--networks a.pt2 b.pt2 c.pt2 d.pt2 --masks ocrnet --out runs/inria` trains on a folder in the
published layout. The networks that make the masks are files of `torch.export`.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from geoseg_qgis.engine.metrics.quality import PublishedQualityMeter, QualityCounts
from geoseg_qgis.engine.models.segassess import SegAssess, load_segassess, save_segassess
from training.device import add_device_option, device_of
from training.trainer import CPU, Losses, Objective, Plan, Trainer

from .losses import LossOptions, segassess_losses
from .published_datasets import PROFILES, QualityTiles, list_samples
from .sampling import PUBLISHED_VIEWS, FrozenNetwork, MaskSource, mixed_batch
from .targets import quality_target

logger = logging.getLogger(__name__)

BEST_FILE = "best.safetensors"
PUBLISHED_SEED = 20

Tiles = Mapping[str, Tensor]


@dataclass
class PlateauSchedule:
    """Halve the learning rate after two and four epochs without improvement, stop after five.

    An equal score counts as an improvement.
    """

    best: float = float("-inf")
    waited: int = 0

    HALVE_AT = (2, 4)
    STOP_AT = 5

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


@dataclass(frozen=True)
class EpochOptions:
    """How the epochs of a run go; the defaults are the published ones.

    Attributes:
        epochs: Epochs at most.
        views: Views of each tile in a step.
        published_score: Whether the published running mean over batches chooses the best weights
            instead of the summed counts.
        loss: Details of the loss.
        metadata: Facts stored with the best weights.
    """

    epochs: int = 150
    views: int = PUBLISHED_VIEWS
    published_score: bool = False
    loss: LossOptions = field(default_factory=LossOptions)
    metadata: Mapping[str, str] = field(default_factory=dict)


def published_plan(folder: Path, rate: float = 1e-4, device: torch.device = CPU) -> Plan:
    """Return the published optimiser: Adam without decay or clipping, saved after each epoch."""
    return Plan(
        folder,
        rate=rate,
        weight_decay=0.0,
        warmup_steps=1,
        averaging=0.0,
        blocks=(),
        device=device,
        steps=math.inf,
        betas=(0.9, 0.999),
        checkpoint_seconds=math.inf,
        clip_norm=math.inf,
    )


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


def validate(model: SegAssess, batches: Iterable[Tiles]) -> QualityValidation:
    """Score a network on tiles that have masks of their own (``image``, ``mask``, ``truth``)."""
    model.eval()
    result = QualityValidation(QualityCounts(), PublishedQualityMeter())
    device = device_of(model)
    for tiles in batches:
        with torch.inference_mode():
            output = model(tiles["image"].to(device), tiles["mask"].to(device))
        predicted = output.logits.argmax(1).cpu().numpy()
        truth = quality_target(tiles["mask"], tiles["truth"])[:, 0].numpy()
        result.counts.update(predicted, truth)
        result.published.update(predicted, truth)
    return result


class PublishedTraining:
    """Trains a network epoch by epoch; a stopped run continues after its last whole epoch.

    Args:
        model: Network to train.
        sources: Makers of the training masks, one a view.
        plan: See `published_plan`.
        options: How the epochs go.
        seed: Of views and their order.
    """

    def __init__(
        self,
        model: SegAssess,
        sources: Sequence[MaskSource],
        plan: Plan,
        options: EpochOptions,
        seed: int = PUBLISHED_SEED,
    ) -> None:
        self._model = model
        self._sources = sources
        self._options = options
        self._generator = torch.Generator().manual_seed(seed)
        self._trainer = Trainer(model, plan, {})
        facts = self._trainer.facts
        self.epoch: int = facts.get("epoch", 0)
        self._schedule = PlateauSchedule(**facts.get("schedule", {}))
        if "generator" in facts:
            self._generator.set_state(facts["generator"])

    @property
    def best_file(self) -> Path:
        """Weights of the best epoch."""
        return self._trainer.plan.folder / BEST_FILE

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
        while self.epoch < self._options.epochs and not self._schedule.finished:
            self._model.train()
            self._trainer.run_steps(self._objective(iter(training())))
            score = validate(self._model, validation()).score(self._options.published_score)
            self._finish_epoch(score)
            scores.append(score)
            logger.info("Epoch %d has the score %.4f", self.epoch, score)
        return scores

    def _objective(self, batches: Iterator[Tiles]) -> Objective:
        """Return the losses of an epoch's steps, which ends with its batches."""
        device = device_of(self._model)

        def losses(_step: int) -> Losses:
            tiles = next(batches)
            batch = mixed_batch(
                tiles["image"].to(device),
                tiles["truth"].to(device),
                self._sources,
                self._options.views,
                self._generator,
            )
            output = self._model(batch.images, batch.masks)
            return segassess_losses(output, batch.masks, batch.truth, self._options.loss).named()

        return losses

    def _finish_epoch(self, score: float) -> None:
        best, factor = self._schedule.update(score)
        self._trainer.rate_factor *= factor
        self.epoch += 1
        if best:
            facts = {"epoch": str(self.epoch), "score": f"{score:.6f}"}
            save_segassess(self._model, self.best_file, {**self._options.metadata, **facts})
        self._trainer.facts.update(
            epoch=self.epoch,
            schedule=dataclasses.asdict(self._schedule),
            generator=self._generator.get_state(),
        )
        self._trainer.save()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--profile", choices=list(PROFILES), required=True)
    parser.add_argument("--weights", type=Path, required=True, help="weights to start from")
    parser.add_argument("--networks", type=Path, nargs="+", required=True, help="one for each view")
    parser.add_argument("--masks", required=True, help="network whose masks validate, or raw")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--epochs", type=int, help="at most; those of the profile by default")
    add_device_option(parser)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    profile, device = PROFILES[options.profile], options.device
    training = QualityTiles(list_samples(options.root, "train"), profile.tile_size)
    validation = QualityTiles(list_samples(options.root, "valid", options.masks), profile.tile_size)
    sources = [
        FrozenNetwork(torch.export.load(path).module().to(device), profile.threshold)
        for path in options.networks
    ]
    run = PublishedTraining(
        load_segassess(options.weights),
        sources,
        published_plan(options.out, device=device),
        EpochOptions(options.epochs or profile.epochs),
    )
    run.run(
        lambda: DataLoader(training, profile.batch_size, shuffle=True),
        lambda: DataLoader(validation, profile.batch_size),
    )


if __name__ == "__main__":
    main()
