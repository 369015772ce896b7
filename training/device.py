"""Where training computes: on a graphics card when there is one, otherwise on the processor."""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.protocol.errors import JobError


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, a `torch.device` once it is read."""
    parser.add_argument(
        "--device",
        type=training_device,
        default="auto",
        metavar="{auto,cpu,cuda}",
        help="where to compute; auto takes an NVIDIA card when there is one",
    )


def training_device(asked: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` names.

    Raises:
        argparse.ArgumentTypeError: There is no such device, or it fails a test.
    """
    if asked == "auto" and not torch.cuda.is_available():
        asked = "cpu"
    try:
        return choose_device(asked).device
    except JobError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's weights."""
    return next(module.parameters()).device


def half_precision(device: torch.device) -> torch.autocast:
    """Return the context in which products are computed in bfloat16, as in all of training."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def as_products(values: Tensor) -> Tensor:
    """Return values in the precision of products, so that sums with them stay in it."""
    kind = values.device.type
    if not torch.is_autocast_enabled(kind):
        return values
    return values.to(torch.get_autocast_dtype(kind))
