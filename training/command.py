"""Options and facts that the training commands share."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .device import add_device_option
from .trainer import Plan, Trainer, has_checkpoint


def run_parser(
    description: str | None, *, out: str, minutes: float, batch: int, rate: float, seed: int
) -> argparse.ArgumentParser:
    """Return a parser of the common options, with a model's own defaults."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled images")
    parser.add_argument("--out", type=Path, default=Path("runs", out), help="folder of the run")
    parser.add_argument("--minutes", type=float, default=minutes, help="training time")
    parser.add_argument("--batch", type=int, default=batch, help="crops a step")
    parser.add_argument("--rate", type=float, default=rate, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=seed)
    add_device_option(parser)
    return parser


def add_scene_options(parser: argparse.ArgumentParser, share: float, fixed: bool = False) -> None:
    """Add ``--scenes`` and, unless it is fixed, ``--generated``, the weight of drawn scenes."""
    parser.add_argument("--scenes", type=int, default=160, help="drawn scenes to mix in")
    if fixed:
        parser.set_defaults(generated=share)
    else:
        parser.add_argument(
            "--generated",
            type=float,
            default=share,
            help="weight of the drawn scenes; labelled images weigh 1",
        )


def add_start_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--start``, which a run that continues ignores."""
    parser.add_argument("--start", type=Path, help="run whose weights to start from")


def read_options(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Read the options of a run, begin its log and seed its first weights."""
    options = parser.parse_args(arguments)
    if "start" not in options or has_checkpoint(options.out):
        options.start = None
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(options.seed)
    return options


def begin_run(options: argparse.Namespace, model: nn.Module, **facts: Any) -> Trainer:
    """Return the trainer of a run, with the facts that its page needs."""
    facts |= {"seed": options.seed, "batch": options.batch, "device": options.device.type}
    if "scenes" in options:
        facts.setdefault("generated", options.generated if options.scenes else 0.0)
    if options.start:
        facts["started_from"] = options.start.resolve().name
    plan = Plan(options.out, options.minutes, rate=options.rate, device=options.device)
    return Trainer(model, plan, facts)
