"""Presets with random weights at their real architecture, for measuring without a download."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from geoseg_qgis.engine.models.clip import build_clip
from geoseg_qgis.engine.models.dino import build_dino
from geoseg_qgis.engine.models.sam2 import build_sam2
from geoseg_qgis.engine.models.segassess import SegAssess, SegAssessConfiguration, save_segassess
from geoseg_qgis.engine.models.unigeoseg.checkpoint import save_checkpoint
from geoseg_qgis.engine.models.unigeoseg.configuration import UniGeoSegConfig
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from geoseg_qgis.engine.zoo import registry
from geoseg_qgis.engine.zoo.card import CARD_FILE
from geoseg_qgis.engine.zoo.methods import method_needs
from geoseg_qgis.engine.zoo.registry import Origin, Preset
from geoseg_qgis.protocol.errors import ErrorCode, JobError

# Features stay finite in any depth with weights this small.
SPREAD = 0.02

# The sigmoid of 3 is 0.95: masks must pass the filter on predicted IoU to be scored at all.
_IOU_BIAS = ("iou_prediction_head.layers.2.bias", 3.0)


def card_path(preset: Preset) -> Path:
    """Return the file of a preset's card."""
    if preset.origin is Origin.DOWNLOAD:
        return Path(registry.__file__).parent / "cards" / f"{preset.card.name}.json"
    return preset.folder / CARD_FILE


def write_random_preset(preset: Preset, method: str, folder: Path) -> None:
    """Write a folder with the preset's card and random weights in place of its files.

    Args:
        preset: A preset whose card gives the sizes of its networks.
        method: Static method name; only its components must have known sizes.
        folder: An empty folder.

    Raises:
        JobError: ``MODEL_MISSING`` for a network whose sizes are only in its files.
    """
    card = json.loads(card_path(preset).read_text(encoding="utf-8"))
    for name in preset.card.components:
        if name in _SINGLE_FILES:
            card[name] |= _write_file(name, getattr(preset.card, name), folder)
        elif name in _WRITERS:
            card[name] |= _WRITERS[name](folder)
        elif name in method_needs()[method]:
            raise JobError(
                ErrorCode.MODEL_MISSING,
                f"The sizes of {name} are only in the files of {preset.card.name}.",
                "Download the model first.",
            )
    (folder / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")


def random_state(module: nn.Module, stored_size: int | None = None) -> dict[str, Tensor]:
    """Return small random tensors for a module, whatever device it is on.

    Args:
        module: The architecture.
        stored_size: Bytes of the published file; below three a number they become float16.
    """
    state = module.state_dict()
    count = sum(tensor.numel() for tensor in state.values())
    dtype = torch.float16 if stored_size and stored_size < 3 * count else torch.float32
    return {name: _random(name, tensor, dtype) for name, tensor in state.items()}


def _random(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    values = torch.empty(tensor.shape).uniform_(-SPREAD, SPREAD)
    if name.endswith(_IOU_BIAS[0]):
        values.fill_(_IOU_BIAS[1])
    if name.endswith("running_var"):
        values.abs_()
    return values.to(dtype)


def _write_file(name: str, component: Any, folder: Path) -> dict[str, Any]:
    layout, build = _SINGLE_FILES[name]
    file = f"{name}.safetensors"
    save_file(random_state(build(component), component.weights.size), folder / file)
    return {"weights": {"file": file, "layout": layout}}


def _write_segassess(folder: Path) -> dict[str, Any]:
    with torch.device("meta"):
        network = SegAssess(SegAssessConfiguration())
    network.load_state_dict(random_state(network), assign=True)
    save_segassess(network, folder / "segassess.safetensors")
    return {"weights": {"file": "segassess.safetensors", "layout": "segassess"}}


def _write_unigeoseg(folder: Path) -> dict[str, Any]:
    with torch.device("meta"):
        network = UniGeoSeg(UniGeoSegConfig(), with_language_head=False)
    # Published in two bytes a number.
    network.load_state_dict(random_state(network, stored_size=1), assign=True)
    words = ByteTokenizer({"<|endoftext|>": 256, "[SEG]": 257, "[PAD]": 258})
    save_checkpoint(network, words, folder / "unigeoseg")
    files = sorted((folder / "unigeoseg").iterdir())
    weights = [{"file": f"unigeoseg/{file.name}", "layout": "unigeoseg"} for file in files]
    return {"folder": "unigeoseg", "weights": weights}


_SINGLE_FILES: dict[str, tuple[str, Callable[[Any], nn.Module]]] = {
    "clip": ("open_clip", build_clip),
    "dino": ("timm", build_dino),
    "sam2": ("sam2", lambda component: build_sam2(component.model)),
}
_WRITERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "segassess": _write_segassess,
    "unigeoseg": _write_unigeoseg,
}
