"""Read and write SegAssess weights, strictly.

The published files (`best.pkl`) are bare state dictionaries saved from a parallel wrapper: each
key starts with ``module.`` and each Segment Anything key appears twice, once below ``sam.``.
Files written by this package are safetensors whose metadata holds the sizes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoseg_qgis.engine.files import draft
from geoseg_qgis.engine.json_reader import parse
from geoseg_qgis.engine.models.weights import load_strictly, read_state
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .configuration import SegAssessConfiguration
from .model import SegAssess

CONFIGURATION_KEY = "segassess_configuration"
FRESH_DECODER_PARTS = (
    "hf_token",
    "hf_mlps",
    "compress_vit_feat",
    "embedding_encoder",
    "embedding_maskfeature",
)


def _invalid(message: str) -> JobError:
    return JobError(
        ErrorCode.MODEL_INVALID,
        message,
        "Choose a SegAssess checkpoint (best.pkl or .safetensors) and download it again if needed.",
    )


def read_metadata(path: Path) -> dict[str, str]:
    """Return the text metadata of a safetensors file; of any other file, nothing."""
    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            return dict(stored.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def canonical_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Strip the parallel wrapper's prefix and drop the aliases after checking them.

    Raises:
        JobError: An alias below ``sam.`` has no counterpart or differs from it.
    """
    stripped = {key.removeprefix("module."): value for key, value in state.items()}
    if len(stripped) != len(state):
        raise _invalid("The checkpoint holds the same weight with and without its prefix.")
    canonical = {key: value for key, value in stripped.items() if not key.startswith("sam.")}
    for key, value in stripped.items():
        if key in canonical:
            continue
        counterpart = canonical.get(key.removeprefix("sam."))
        if counterpart is None or not torch.equal(counterpart, value):
            raise _invalid(f"The checkpoint's weight {key} differs from its second copy.")
    return canonical


def infer_configuration(state: Mapping[str, Tensor]) -> SegAssessConfiguration:
    """Return the sizes of a network, from its canonical weights.

    The number of decoder heads does not show in the weights; the published 8 is taken.

    Raises:
        JobError: The weights are not those of a SegAssess network.
    """
    try:
        table = state["image_encoder.pos_embed"]
        grid, width = table.shape[1], table.shape[3]
        depth = sum(key.endswith(".attn.rel_pos_h") for key in state)
        rows = [
            int(state[f"image_encoder.blocks.{index}.attn.rel_pos_h"].shape[0])
            for index in range(depth)
        ]
        head_width = state["image_encoder.blocks.0.attn.rel_pos_h"].shape[1]
        hidden = state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0]
        token = state["mask_decoder.mask_tokens.weight"]
        score = state["mask_decoder.iou_prediction_head.layers.0.weight"]
        layers = sum(
            key.startswith("mask_decoder.transformer.layers.") and key.endswith("norm4.weight")
            for key in state
        )
        return SegAssessConfiguration(
            encoder_width=width,
            encoder_depth=depth,
            encoder_heads=width // head_width,
            global_blocks=tuple(index for index, count in enumerate(rows) if count == 2 * grid - 1),
            window=next((count + 1) // 2 for count in rows if count != 2 * grid - 1),
            stored_grid=grid,
            patch=state["image_encoder.patch_embed.proj.weight"].shape[-1],
            decoder_width=token.shape[1],
            decoder_depth=layers,
            decoder_hidden=hidden,
            score_hidden=score.shape[0],
        )
    except (KeyError, IndexError, ValueError, StopIteration, ZeroDivisionError) as error:
        raise _invalid(f"The weights are not those of a SegAssess network ({error}).") from error


def build_segassess(
    state: Mapping[str, Tensor],
    configuration: SegAssessConfiguration | None = None,
    file: str = "the checkpoint",
) -> SegAssess:
    """Return a network in eval mode with weights of any published layout.

    The tensors become the network's parameters without a copy.

    Args:
        state: Weights, with or without prefixes and aliases.
        configuration: Sizes; None infers them from the weights.
        file: Name of the source in messages.

    Raises:
        JobError: A weight is missing, unknown or of another shape.
    """
    canonical = canonical_weights(state)
    with torch.device("meta"):
        model = SegAssess(configuration or infer_configuration(canonical))
    load_strictly(model, canonical, file)
    return model.requires_grad_(requires_grad=True)


def stored_configuration(path: Path) -> SegAssessConfiguration | None:
    """Return the sizes that a safetensors file holds, None without any.

    Raises:
        JobError: The sizes do not fit together.
    """
    stored = read_metadata(path).get(CONFIGURATION_KEY)
    if stored is None:
        return None
    return parse(SegAssessConfiguration, stored.encode(), f"{path.name}: {CONFIGURATION_KEY}")


def load_segassess(path: Path) -> SegAssess:
    """Load a network, in eval mode on the CPU, from `best.pkl` or a safetensors file.

    Raises:
        JobError: The file is missing, unreadable or not a SegAssess checkpoint.
    """
    state = read_state(path)
    return build_segassess(state, stored_configuration(path), path.name)


def save_segassess(model: SegAssess, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a network and its sizes as safetensors, whole or not at all.

    Args:
        model: The network.
        path: Where to write, ending in ``.safetensors``.
        metadata: More facts to store, such as the pixel size and the object type.
    """
    facts = dict(metadata or {})
    facts[CONFIGURATION_KEY] = json.dumps(model.configuration.to_json())
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with draft(path) as unfinished:
        save_file(weights, unfinished, metadata=facts)


def start_from_segment_anything(model: SegAssess, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of Segment Anything into a new network.

    The four mask tokens become TP, FP, TN, FN; the high-quality tokens and the edge branch keep
    their random values.

    Args:
        model: A new network with the sizes of the file.
        state: Weights of `sam_vit_b_01ec64.pth` (314 tensors).

    Raises:
        JobError: The weights are not exactly those of the network's Segment Anything half.
    """
    own = model.state_dict()
    fresh = ("TCCA.", *(f"mask_decoder.{part}." for part in FRESH_DECODER_PARTS))
    wanted = {key for key in own if not key.startswith(fresh)}
    wrong = (wanted ^ state.keys()) | {
        key for key in wanted & state.keys() if own[key].shape != state[key].shape
    }
    if wrong:
        raise _invalid(f"The Segment Anything weights do not fit: {', '.join(sorted(wrong)[:5])}.")
    model.load_state_dict(dict(state), strict=False)
