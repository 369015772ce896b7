"""Beginning a run with the weights of another one, whose network may be smaller.

Layers that those weights lack begin as ones that change nothing, or next to nothing, so that the
larger network starts where the smaller one ended.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from geoseg_qgis.engine.training.loop import has_begun
from geoseg_qgis.engine.training.preset_folder import read_checkpoint

from .objectives import Pupil

_OF_A_MAP = re.compile(r"mm_projector\.norm\d\.(weight|bias)$")
_ADDED_BACK = re.compile(
    r"(blocks\.\d+\.(attn\.proj|mlp\.fc2)|layers\.\d+\.(self_attn\.output_proj|linear2))"
    r"\.(weight|bias)$"
)
_NUMBER = re.compile(r"\.(\d+)\.(?!.*\.\d+\.)")


@torch.no_grad()
def begin_with(pupil: Pupil, start: Path) -> list[str]:
    """Give a network the weights of a run, or of a checkpoint folder, which lacks the readings.

    Args:
        pupil: The network; each of its maps and layers is as wide as there.
        start: A run, whose averaged weights are taken, or a checkpoint folder, of the same words.

    Returns:
        Names of the weights that are not there.

    Raises:
        ValueError: A weight has another shape.
    """
    given = _weights_of(start)
    state = pupil.state_dict()
    for name, own in state.items():
        if name in given:
            own.copy_(_fitted(name, given[name], own))
        elif _ADDED_BACK.search(name):
            own.zero_()
        elif re.search(r"encoder\.layers\.\d+\.norm\d\.", name):
            # Sums are normalised after they are added: repeat what the layer before does.
            own.copy_(state[_NUMBER.sub(lambda found: f".{int(found[1]) - 1}.", name)])
    return [name for name in state if name not in given]


def _weights_of(start: Path) -> dict[str, Tensor]:
    if has_begun(start):
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
        f"{name} is {tuple(own.shape)} here and {tuple(given.shape)} in the weights to begin with."
    )
