"""Beginning a run with the weights of a checkpoint folder, whose network may be smaller.

Layers that the folder lacks begin as ones that change nothing, or next to nothing, so that the
larger network starts where the smaller one ended.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg

_OF_A_MAP = re.compile(r"mm_projector\.norm\d\.(weight|bias)$")
_ADDED_BACK = re.compile(
    r"(blocks\.\d+\.(attn\.proj|mlp\.fc2)|layers\.\d+\.(self_attn\.output_proj|linear2))"
    r"\.(weight|bias)$"
)
_NUMBER = re.compile(r"\.(\d+)\.(?!.*\.\d+\.)")


@torch.no_grad()
def begin_with(model: UniGeoSeg, folder: Path) -> list[str]:
    """Give a network the weights of a checkpoint folder.

    Args:
        model: The network; each of its maps and layers is as wide as in the folder.
        folder: A checkpoint folder with the same words.

    Returns:
        Names of the weights that the folder does not have.

    Raises:
        ValueError: A weight has another shape.
    """
    given = load_checkpoint(folder).model.state_dict()
    state = model.state_dict()
    new = [name for name in state if name not in given]
    for name, own in state.items():
        if name in given:
            own.copy_(_fitted(name, given[name], own))
        elif _ADDED_BACK.search(name):
            own.zero_()
        elif re.search(r"encoder\.layers\.\d+\.norm\d\.", name):
            # Sums are normalised after they are added: repeat what the layer before does.
            own.copy_(state[_NUMBER.sub(lambda found: f".{int(found[1]) - 1}.", name)])
    return new


def _fitted(name: str, given: Tensor, own: Tensor) -> Tensor:
    if given.shape == own.shape:
        return given
    if _OF_A_MAP.search(name):
        resized = nn.functional.interpolate(given[None], size=own.shape[-2:], mode="bilinear")
        return resized[0]
    raise ValueError(
        f"{name} is {tuple(own.shape)} here and {tuple(given.shape)} in the weights to begin with."
    )
