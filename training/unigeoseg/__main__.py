"""Train or evaluate UniGeoSeg from the command line.

Example:
    python -m training.unigeoseg train --model phi_unigeoseg --folder run \
        --data geoseg:data/GeoSeg-1M:train --steps 20000
    torchrun --nproc-per-node 8 -m training.unigeoseg train ...
    python -m training.unigeoseg evaluate --model run/weights \
        --data rrsisd:data/RRSIS-D:test
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import distributed

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from geoseg_qgis.engine.models.unigeoseg.template import TEMPLATES
from geoseg_qgis.protocol.errors import JobError

from .datasets import READERS
from .evaluate import evaluate
from .samples import DataSetError, Record
from .trainer import TrainingSettings, UniGeoSegTrainer

logger = logging.getLogger("geoseg.unigeoseg")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    options = _parser().parse_args(arguments)
    try:
        records = [record for source in options.data for record in read_source(source)]
        if options.command == "train":
            _train(options, records)
        else:
            _evaluate(options, records)
    except (JobError, DataSetError) as error:
        logger.error("%s", error)
        return 1
    return 0


def read_source(source: str) -> list[Record]:
    """Read ``name:folder:split``.

    Raises:
        DataSetError: The text has another form or names an unknown data set.
    """
    name, _, rest = source.partition(":")
    folder, _, split = rest.rpartition(":")
    if name not in READERS or not folder:
        raise DataSetError(
            f"{source!r} is not a data set.",
            f"Write name:folder:split with a name of {', '.join(sorted(READERS))}.",
        )
    return READERS[name](Path(folder), split)


def _train(options: argparse.Namespace, records: list[Record]) -> None:
    device = _join_processes(options.device)
    try:
        model, tokenizer = load_checkpoint(options.model, device, with_language_head=True)
        settings = TrainingSettings(
            options.folder,
            options.steps,
            batch_size=options.batch_size,
            rate=options.rate,
            recompute=options.recompute,
            seed=options.seed,
        )
        UniGeoSegTrainer(model, tokenizer, records, settings).run()
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _evaluate(options: argparse.Namespace, records: list[Record]) -> None:
    device = torch.device(options.device)
    template = TEMPLATES[options.template]
    scores = evaluate(load_checkpoint(options.model, device), records, template=template)
    table = {name: task_scores.as_row() for name, task_scores in scores.items()}
    sys.stdout.write(json.dumps(table, indent=1) + "\n")


def _join_processes(device: str) -> torch.device:
    """Join the processes that ``torchrun`` started, each on a card of its own."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return torch.device(device)
    cuda = device.startswith("cuda")
    distributed.init_process_group("nccl" if cuda else "gloo")
    if not cuda:
        return torch.device(device)
    own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(own)
    return own


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="training.unigeoseg")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train from a checkpoint folder, or go on")
    test = commands.add_parser("evaluate", help="score a checkpoint folder; JSON to stdout")
    for command in (train, test):
        command.add_argument("--model", type=Path, required=True, help="checkpoint folder")
        command.add_argument(
            "--data", action="append", required=True, help="name:folder:split; may be repeated"
        )
        command.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    test.add_argument(
        "--template",
        choices=sorted(TEMPLATES),
        default="unified",
        help="dialogue of the weights: those trained on one data set alone have their own",
    )
    train.add_argument("--folder", type=Path, required=True, help="state, log and weights")
    train.add_argument("--steps", type=int, required=True)
    train.add_argument("--batch-size", type=int, default=16, help="over all processes")
    train.add_argument("--rate", type=float, default=1e-4)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--recompute", action="store_true", help="save memory, take longer")
    return parser


if __name__ == "__main__":
    sys.exit(main())
