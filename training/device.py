"""The device of training: a graphics card when there is one, otherwise the CPU."""

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


def training_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` names.

    Raises:
        argparse.ArgumentTypeError: There is no such device, or it fails a test.
    """
    if name == "auto" and not torch.cuda.is_available():
        name = "cpu"
    try:
        return choose_device(name).device
    except JobError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's weights."""
    return next(module.parameters()).device


def half_precision(device: torch.device) -> torch.autocast:
    """Return the context in which products are computed in bfloat16.

    On CPUs without instructions for it they stay in float32, which is many times faster there.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=_has_bfloat16(device))


def _has_bfloat16(device: torch.device) -> bool:
    if device.type != "cpu":
        return True
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def as_products(values: Tensor) -> Tensor:
    """Return values in the precision of products, so that sums with them stay in it."""
    kind = values.device.type
    if not torch.is_autocast_enabled(kind):
        return values
    return values.to(torch.get_autocast_dtype(kind))
