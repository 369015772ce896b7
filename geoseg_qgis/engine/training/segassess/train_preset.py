"""Train the built-in SegAssess on labelled scenes.

Run `python -m geoseg_qgis.engine.training.segassess.train_preset --data FOLDER`.
"""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from geoseg_qgis.engine.methods.segassess import ObjectAccumulator, ObjectStatus, constrain
from geoseg_qgis.engine.metrics.quality import Calibration, QualityCounts, calibrate
from geoseg_qgis.engine.models.segassess import (
    SegAssess,
    SegAssessConfiguration,
    save_segassess,
)
from geoseg_qgis.engine.training.datasets import load_scenes
from geoseg_qgis.engine.training.loop import Plan, Trainer

from .losses import LossOptions, segassess_losses
from .scenes import KINDS, SceneBatch, SceneTiles
from .targets import quality_target

BUILT_IN = SegAssessConfiguration(
    encoder_width=128,
    encoder_depth=8,
    encoder_heads=4,
    global_blocks=(1, 3, 5, 7),
    window=8,
    stored_grid=16,
    decoder_width=64,
    decoder_hidden=256,
    score_hidden=64,
    prompt_resampling="average",
)
TILE = 256


class PresetObjective:
    """The losses of one step.

    Args:
        model: Network to train.
        tiles: Source of batches.
        batch: Tiles a step.
    """

    def __init__(self, model: SegAssess, tiles: SceneTiles, batch: int) -> None:
        self._model = model.train()
        self._tiles = tiles
        self._batch = batch
        self._options = LossOptions(as_published=False)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return the named losses of a step; ``total`` is to be minimised."""
        del step
        batch = self._tiles.batch(self._batch)
        output = self._model(batch.images, batch.masks)
        return segassess_losses(
            output, batch.masks, batch.truth, self._options, batch.valid
        ).named()


def object_scores(batch: SceneBatch, probabilities: Tensor) -> tuple[list[float], list[float]]:
    """Return the predicted and the true IoU of every object that can be judged.

    Args:
        batch: Tiles with their truth.
        probabilities: Of the network, (B, 4, S, S).
    """
    codes = quality_target(batch.masks, batch.truth)[:, 0]
    certain = torch.nn.functional.one_hot(codes, 4).permute(0, 3, 1, 2).double().numpy()
    predicted, actual = [], []
    for index, mask in enumerate(batch.masks[:, 0].numpy() > 0.5):
        ids, count = ndimage.label(mask)
        valid = batch.valid[index, 0].numpy() > 0.5
        judged = constrain(probabilities[index].numpy(), mask)
        results = []
        for one in (judged, certain[index]):
            accumulator = ObjectAccumulator(count)
            accumulator.update(one, ids.astype(np.int32), valid=valid)
            results.append(accumulator.result())
        usable = results[0].status == ObjectStatus.JUDGED
        predicted += results[0].soft.iou[usable].tolist()
        actual += results[1].soft.iou[usable].tolist()
    return predicted, actual


def evaluate_preset(
    model: SegAssess, tiles: SceneTiles, batches: int, batch: int
) -> tuple[QualityCounts, Calibration]:
    """Score a network on labelled scenes.

    Args:
        model: Network in eval mode.
        tiles: Source of batches.
        batches: Number of batches.
        batch: Tiles in each.

    Returns:
        Counts of the constrained quality classes, and predicted against true IoU of the objects.
    """
    counts = QualityCounts()
    predicted: list[float] = []
    actual: list[float] = []
    for _ in range(batches):
        drawn = tiles.batch(batch)
        with torch.inference_mode():
            probabilities = model(drawn.images, drawn.masks).logits.softmax(1)
        masks = drawn.masks[:, 0].numpy() > 0.5
        pairs = zip(probabilities.numpy(), masks)
        classes = np.stack([constrain(one, mask).argmax(0) for one, mask in pairs])
        truth = quality_target(drawn.masks, drawn.truth)[:, 0].numpy()
        counts.update(classes, truth, drawn.valid[:, 0].numpy() > 0.5)
        first, second = object_scores(drawn, probabilities)
        predicted += first
        actual += second
    return counts, calibrate(np.array(predicted), np.array(actual))


def numbers_of(counts: QualityCounts, calibration: Calibration) -> dict[str, float]:
    """Return the validation numbers worth logging, those that exist."""
    numbers = {f"{name}_iou": scores.iou for name, scores in counts.per_class().items()}
    numbers["object_iou_error"] = calibration.error
    numbers["object_iou_correlation"] = calibration.correlation
    return {name: value for name, value in numbers.items() if not math.isnan(value)}


def main(arguments: list[str] | None = None) -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/segassess"))
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(options.seed)
    model = SegAssess(BUILT_IN)
    plan = Plan(options.out, options.minutes, rate=options.rate)
    trainer = Trainer(model, plan, {"seed": options.seed, "batch": options.batch})
    kinds = tuple(options.kinds)
    seed = trainer.stage_seed(options.seed)
    tiles = SceneTiles(load_scenes(options.data, "train"), TILE, seed, kinds)
    held_out = load_scenes(options.data, "validation")

    def finish(step: int) -> dict[str, float]:
        del step
        best = SegAssess(BUILT_IN)
        best.load_state_dict(trainer.averaged_state())
        best.eval()
        result = evaluate_preset(best, SceneTiles(held_out, TILE, 0, kinds), 8, 8)
        numbers = numbers_of(*result)
        facts = {name: f"{value:.4f}" for name, value in numbers.items()}
        save_segassess(best, options.out / "segassess.safetensors", facts)
        return numbers

    trainer.run(PresetObjective(model, tiles, options.batch), finish)


if __name__ == "__main__":
    main()
