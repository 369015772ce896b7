"""Train UniGeoSeg on drawn scenes and weakly labelled images, or on published records.

The built-in network, in one process for each of two cores:
    torchrun --nproc-per-node 2 -m training.unigeoseg.train --data DATA --scenes CACHE --out RUN \
        --minutes 105
A published checkpoint, in one process for each of eight cards:
    torchrun --nproc-per-node 8 -m training.unigeoseg.train --model phi_unigeoseg --out RUN \
        --records geoseg:data/GeoSeg-1M:train --steps 20000

A run that was stopped continues where it was; one that is given more minutes continues from its
last weights.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint, save_checkpoint
from geoseg_qgis.engine.models.unigeoseg.sequence import split_dialogue
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, Tokenizer, encode_template
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from training.crops import CropSampler
from training.datasets import load_images
from training.device import add_device_option
from training.distributed import ProcessGroup, process_group
from training.exported_networks import UNIGEOSEG
from training.model_pages import write_run_page
from training.prefetching import prefetch
from training.preset_folder import write_json, write_text
from training.trainer import CPU, Losses, Plan, Trainer, has_checkpoint, read_checkpoint

from .batches import Batch, RecordBatches
from .built_in import (
    CELL,
    MUON_MATRICES,
    VISION,
    VOCABULARY_FILE,
    build_network,
    build_tokenizer,
    known_words,
)
from .curriculum import Curriculum
from .losses import LossSettings
from .published_datasets import read_source
from .records import Record
from .scene_batches import SceneBatches
from .stored_scenes import SIDE, VALIDATION_SEED, WIDE_SIDE, stored_scenes
from .training_step import (
    HARMLESS_HEADS,
    HEADS,
    TrainedNetwork,
    keep_half_precision,
    step_losses,
)
from .warm_start import start_from
from .words import TOKENIZER_FILE

logger = logging.getLogger(__name__)

WARMUP_STEPS = 100
"""Steps of linear rise of the rate, from when the network learns on."""
HEADS_ALONE = 150
"""Steps in which new heads of a trained network learn alone."""
PUBLISHED_BATCH = 16
PUBLISHED_WARMUP = 0.03
"""Batch over all processes, and share of the steps over which the rate rises, as published."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from the command line until the minutes or steps are used."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _check(parser, options)
    with process_group(options.device) as (group, options.device):
        (train_on_records if options.records else train_on_scenes)(group, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, log and tokenizer")
    # torchrun takes --start for an abbreviation of an option of its own.
    parser.add_argument(
        "--start", "--model", type=Path, help="run or checkpoint folder to start from"
    )
    limits = parser.add_mutually_exclusive_group(required=True)
    limits.add_argument("--minutes", type=float, help="training time")
    limits.add_argument("--steps", type=int, help="number of steps; records need it")
    parser.add_argument("--images", type=int, help="images a step and process")
    parser.add_argument("--rate", type=float, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    add_device_option(parser)
    scenes = parser.add_argument_group("the built-in network")
    scenes.add_argument("--data", type=Path, help="folder of the labelled images")
    scenes.add_argument("--scenes", type=Path, help="where drawn scenes are kept")
    scenes.add_argument("--count", type=int, default=2400, help="drawn scenes")
    scenes.add_argument("--first", type=int, default=0, help="seed of the first scene")
    scenes.add_argument("--wide", type=int, default=0, help="drawn scenes of more ground")
    scenes.add_argument("--requests", type=int, default=16, help="requests an image")
    scenes.add_argument(
        "--side", type=int, default=VISION.image_size, help="pixels that images are enlarged to"
    )
    records = parser.add_argument_group("a published checkpoint")
    records.add_argument(
        "--records", action="append", help="data set as name:folder:split; may be repeated"
    )
    records.add_argument("--train-tower", action="store_true", help="train the vision tower too")
    records.add_argument("--recompute", action="store_true", help="save memory, take longer")
    return parser


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.records and (options.start is None or options.steps is None):
        parser.error("--records needs --model, the checkpoint to train, and --steps.")
    if not options.records and (options.data is None or options.scenes is None):
        parser.error("Give --data and --scenes, or --records.")
    if options.side < 1 or options.side % CELL:
        parser.error(f"--side must be a multiple of {CELL}.")
    if options.first < 0 or options.first + options.count > VALIDATION_SEED:
        parser.error(f"--first and --count must stay below {VALIDATION_SEED}, where scores begin.")
    if not 0 <= options.wide <= VALIDATION_SEED:
        parser.error(f"--wide must stay below {VALIDATION_SEED}, where scores begin.")


def train_on_scenes(group: ProcessGroup, options: argparse.Namespace) -> None:
    """Train the built-in network in one of the processes of a group."""
    _begin(group, options)
    start = None if has_checkpoint(options.out) else options.start
    seeds = range(options.first, options.first + options.count)
    # Each process draws a share of the scenes, then all of them read all.
    stored_scenes(options.scenes, seeds[group.rank :: group.size])
    stored_scenes(options.scenes, range(options.wide)[group.rank :: group.size], WIDE_SIDE)
    group.wait()
    scenes = stored_scenes(options.scenes, seeds)
    wide = stored_scenes(options.scenes, range(options.wide), WIDE_SIDE)
    if group.is_main:
        build_tokenizer(options.out, scenes, start)
        write_json(options.out / VOCABULARY_FILE, {"words": known_words(scenes)})
    group.wait()
    tokenizer = build_tokenizer(options.out, scenes)
    network = build_network(tokenizer, options.seed, options.side)
    images = options.images or 4
    facts = {
        **_facts(network, options, images * group.size),
        "scenes": options.count,
        "first_scene": options.first,
        "wide_scenes": options.wide,
    }
    _check_sizes(options.out, facts["config"])
    if start is not None:
        new = start_from(network, start)
        logger.info("%d of the network's weights are not in %s", len(new), start)
        # The curriculum starts with what the run before learnt last.
        facts |= {"started_from": start.resolve().name, "progress": 1.0, "aligned": True}
        if any(one.startswith(HEADS) and not one.startswith(HARMLESS_HEADS) for one in new):
            facts["heads_until"] = HEADS_ALONE
    plan = Plan(
        options.out,
        options.minutes,
        options.rate or 3e-3,
        weight_decay=0.02,
        warmup_steps=WARMUP_STEPS + facts.get("heads_until", 0),
        blocks=MUON_MATRICES,
        device=options.device,
        steps=options.steps,
    )
    trainer = Trainer(network, plan, facts, group)
    # Otherwise all processes, and a run that continues, would drop out the same values.
    torch.manual_seed(trainer.stage_seed(options.seed))
    labelled = load_images(options.data, "train")

    def source(seed: int) -> Callable[..., Batch]:
        crops = [CropSampler(labelled, size, seed + size) for size in sorted({SIDE, options.side})]
        return SceneBatches(scenes, crops, tokenizer, options.side, seed, wide=wide).draw

    draw = prefetch(source, trainer.stage_seed(options.seed), options.device)
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    network.train()
    keep_half_precision(network.model)
    curriculum = Curriculum(
        trainer, network, draw, pieces, images=images, requests=options.requests
    )
    trainer.run(curriculum)
    if group.is_main:
        write_run_page(options.out, UNIGEOSEG)


def train_on_records(group: ProcessGroup, options: argparse.Namespace) -> None:
    """Train a checkpoint on published records in one of the processes of a group."""
    _begin(group, options)
    records = [record for source in options.records for record in read_source(source)]
    model, tokenizer = load_checkpoint(options.start, with_language_head=True)
    network = TrainedNetwork(model, with_heads=False)
    model.model.vision_tower.requires_grad_(options.train_tower)
    if options.recompute:
        model.model.activation_checkpointing_enable()
    size = options.images or max(1, PUBLISHED_BATCH // group.size)
    facts = {**_facts(network, options, size * group.size), "records": options.records}
    plan = published_plan(options.out, options.steps, options.rate or 1e-4, options.device)
    trainer = Trainer(network, plan, facts, group)
    run_on_records(trainer, records, tokenizer, seed=options.seed, size=size)
    if group.is_main:
        folder = options.out / "weights"
        save_checkpoint(model, tokenizer if isinstance(tokenizer, ByteTokenizer) else None, folder)
        if not isinstance(tokenizer, ByteTokenizer):
            write_text(folder / TOKENIZER_FILE, tokenizer.to_json())


def published_plan(folder: Path, steps: int, rate: float, device: torch.device = CPU) -> Plan:
    """Return the published plan: AdamW without decay, a short warm-up, no averaging."""
    return Plan(
        folder,
        rate=rate,
        weight_decay=0.0,
        warmup_steps=round(PUBLISHED_WARMUP * steps),
        averaging=0.0,
        blocks=(),
        device=device,
        steps=steps,
        betas=(0.9, 0.999),
        log_steps=20,
    )


def run_on_records(
    trainer: Trainer,
    records: Sequence[Record],
    tokenizer: Tokenizer,
    *,
    seed: int,
    size: int,
    settings: LossSettings | None = None,
) -> None:
    """Train on records until the trainer's steps are used.

    Args:
        trainer: Of a `TrainedNetwork` without heads; its plan limits the steps.
        records: Training records.
        tokenizer: Of the network.
        seed: Of the order, the points and the dropout.
        size: Images a step and process.
        settings: Weights and sampling of the losses; the published ones by default.
    """
    network, group = trainer.model, trainer.group
    if not isinstance(network, TrainedNetwork) or trainer.plan.steps is None:
        raise ValueError("Records train a network of this module for a number of steps.")
    batches = RecordBatches(
        records,
        tokenizer,
        network.model.config.vision.image_size,
        size=size,
        steps=int(trainer.plan.steps),
        seed=seed,
        start=trainer.step,
        group=group,
    )
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    tower = network.train().model.model.vision_tower
    tower.train(any(one.requires_grad for one in tower.parameters()))

    def losses(step: int) -> Losses:
        # What is random depends on seed and step alone, so that a stopped run continues exactly.
        torch.manual_seed((seed * 1_000_003 + step) * group.size + group.rank)
        return step_losses(network, batches.draw(), pieces, settings)

    trainer.run(losses)


def _begin(group: ProcessGroup, options: argparse.Namespace) -> None:
    level = logging.INFO if group.is_main else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    options.out.mkdir(parents=True, exist_ok=True)


def _facts(network: TrainedNetwork, options: argparse.Namespace, batch: int) -> dict[str, Any]:
    return {
        "config": json.dumps(network.model.config.to_json()),
        "seed": options.seed,
        "batch": batch,
        "device": options.device.type,
    }


def _check_sizes(run: Path, config: str) -> None:
    if has_checkpoint(run) and read_checkpoint(run)["facts"]["config"] != config:
        raise ValueError(
            f"The run {run} trains a network of other sizes. Give another --out, with this one as "
            "its --start."
        )


if __name__ == "__main__":
    main()
