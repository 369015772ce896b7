"""A SegAssess network whose weights are set by hand: bright pixels are objects.

Attention and perceptrons of the encoder are switched off, so each patch depends on its own pixels;
the edge branch reads whether it is bright, and the coarse logits are constant. Every layer runs as
in any other network, and its expected output follows from the image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from geoseg_qgis.engine.models.segassess import SegAssess, SegAssessConfiguration, save_segassess

SIZES = SegAssessConfiguration(
    encoder_width=32, encoder_depth=4, encoder_heads=2, global_blocks=(0, 1, 2, 3), window=4,
    stored_grid=4, decoder_width=16, decoder_heads=2, decoder_hidden=32, score_hidden=16,
    prompt_resampling="average",
)  # fmt: skip
PATCH = 16
_SURENESS = 6.0
_CONTRAST = 4.0


def bright_network() -> SegAssess:
    """Return the network in eval mode; it expects dark below a mean of 0.5 and bright above."""
    torch.manual_seed(0)
    model = SegAssess(SIZES).eval().requires_grad_(requires_grad=False)
    weights = model.state_dict()
    weights["image_encoder.pos_embed"].zero_()
    for index in range(SIZES.encoder_depth):
        for layer in ("attn.proj", "mlp.lin2"):
            _set_bias_alone(weights, f"image_encoder.blocks.{index}.{layer}")
    patches = "image_encoder.patch_embed.proj"
    _set_bias_alone(weights, patches)
    for side in ("side1", "side2", "side3", "side4"):
        _set_bias_alone(weights, f"TCCA.{side}.0")
        _set_bias_alone(weights, f"TCCA.{side}.3")
    for channel, sign in ((0, 1.0), (1, -1.0)):
        weights[f"{patches}.weight"][channel] = sign / (3 * PATCH * PATCH)
        weights[f"{patches}.bias"][channel] = -sign / 2
        # The middle of these kernels repeats a pixel twice along each axis.
        weights["TCCA.side1.0.weight"][channel, channel, 1:3, 1:3] = 1.0
        weights["TCCA.side1.3.weight"][channel, 0, 1:3, 1:3] = sign * _CONTRAST
    _set_bias_alone(weights, "TCCA.ada_learner.conv3.1", bias=1.0)
    object_side = torch.tensor([1.0, -1.0, -1.0, 1.0])
    _set_bias_alone(weights, "TCCA.BPM.conv_in_x")
    weights["TCCA.BPM.conv_in_x.bias"].copy_(object_side * _SURENESS)
    _set_bias_alone(weights, "TCCA.BPM.conv_in_c")
    weights["TCCA.BPM.conv_in_c.weight"].fill_(1.0)
    _set_bias_alone(weights, "TCCA.BPM.CA.conv_out")
    weights["TCCA.BPM.CA.conv_out.bias"].copy_(object_side * -1.5 * _SURENESS)
    return model


def _set_bias_alone(weights: Mapping[str, Tensor], layer: str, bias: float = 0.0) -> None:
    """Make a layer return its bias alone; the tensors are those of the network."""
    weights[f"{layer}.weight"].zero_()
    weights[f"{layer}.bias"].fill_(bias)


def write_bright_preset(folder: Path, tile: int = 128, **more: object) -> Path:
    """Write a preset folder with the network and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_segassess(bright_network(), folder / "judge.safetensors")
    card = {
        "name": "judge",
        "title": "Judge of brightness",
        "revision": "1",
        "licence": "CC0-1.0",
        "description": "Takes bright pixels for objects.",
        "methods": ["segassess"],
        "segassess": {
            "weights": {"file": "judge.safetensors", "layout": "segassess"},
            "tile": tile,
            "objects": ["bright things"],
        },
        **more,
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder
