"""Starting a run with the weights of another one, whose tower or mask decoder may be less deep.

Blocks and layers that those weights lack begin as ones that change nothing, so that the larger
network starts where the smaller one ended.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from training.trainer import has_checkpoint, read_checkpoint

from .training_step import HEADS, TrainedNetwork

_BLOCK = re.compile(r"^model\.model\.vision_tower\.layers\.\d+\.blocks\.\d+\.")
_LAYER = re.compile(r"^model\.predictor\.transformer_\w+_layers\.\d+\.")
_ADDED_BACK = re.compile(r"\.(attn\.proj|mlp\.fc2|\w*attn\.out_proj|linear2)\.(weight|bias)$")
_OF_A_MAP = re.compile(r"\.mm_projector\.norm\d\.(weight|bias)$")


@torch.no_grad()
def start_from(network: TrainedNetwork, start: Path) -> list[str]:
    """Give a network the weights of a run, or of a checkpoint folder, which has no heads.

    Args:
        network: The network; it may read larger squares and have more blocks in its tower and more
            layers in its mask decoder.
        start: A run, whose averaged weights are taken, or a checkpoint folder, of the same words.

    Returns:
        Names of the weights that are missing there, or belong to heads of other facts.

    Raises:
        JobError: The checkpoint folder is damaged.
        ValueError: The networks differ in more than that.
    """
    given = _weights_of(start)
    state = network.state_dict()
    new = [name for name in state if name not in given]
    unexpected = [name for name in new if not _is_deeper(name) and not name.startswith(HEADS)]
    unexpected += [name for name in given if name not in state]
    if unexpected:
        raise ValueError(
            f"{unexpected[0]} and {len(unexpected) - 1} other weights are only in one of the "
            f"network and {start}. Start with a run of the same sizes, or of a tower or decoder "
            "less deep."
        )
    for name, own in state.items():
        if name in given and name.startswith(HEADS) and given[name].shape != own.shape:
            new.append(name)
        elif name in given:
            own.copy_(_fitted(name, given[name], own))
        elif _is_deeper(name) and _ADDED_BACK.search(name):
            own.zero_()
    return new


def _is_deeper(name: str) -> bool:
    return bool(_BLOCK.match(name) or _LAYER.match(name))


def _weights_of(start: Path) -> dict[str, Tensor]:
    if has_checkpoint(start):
        average: dict[str, Tensor] = read_checkpoint(start)["average"]
        return average
    network = load_checkpoint(start).model
    return {f"model.{name}": weight for name, weight in network.state_dict().items()}


def _fitted(name: str, given: Tensor, own: Tensor) -> Tensor:
    if given.shape == own.shape:
        return given
    if _OF_A_MAP.search(name):
        resized = nn.functional.interpolate(given[None], size=own.shape[-2:], mode="bilinear")
        return resized[0]
    raise ValueError(
        f"{name} is {tuple(own.shape)} here and {tuple(given.shape)} in the weights to start with. "
        "Start with a run whose maps and layers are as wide."
    )
