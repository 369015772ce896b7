"""Reading and writing UniGeoSeg checkpoint folders.

A folder holds ``config.json``, tokenizer files and ``model.safetensors``, whole or in shards with
an index. Attention weights may be split or fused, with rows in the order (head, {query, key,
value}, head dimension). Both load, and the fused layout is written. int8 weights load too, see
`models.weights`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoseg_qgis.engine.json_reader import read_object
from geoseg_qgis.engine.models.weights import dequantise
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .configuration import UniGeoSegConfig
from .connector import detect_connector
from .model import UniGeoSeg
from .swin import relative_position_index
from .tokenizer import BytePairTokenizer, ByteTokenizer, load_tokenizer

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_FUSED = re.compile(r"(.*\.self_attn\.)query_key_value\.(weight|bias)$")
_SPLIT = re.compile(r"(.*\.self_attn\.)q_proj\.(weight|bias)$")
_SHOWN_NAMES = 3


class Checkpoint(NamedTuple):
    """A network ready for use, with its tokenizer."""

    model: UniGeoSeg
    tokenizer: ByteTokenizer | BytePairTokenizer


def load_checkpoint(
    folder: Path,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    with_language_head: bool = False,
) -> Checkpoint:
    """Load a checkpoint folder strictly.

    Args:
        folder: The folder.
        device: Where the network goes; the CPU by default.
        dtype: Precision of the tower and the language model; the rest stays float32.
        with_language_head: Load the token classifier too, for training.

    Raises:
        JobError: A file is missing or damaged, or the weights do not fit the network.
    """
    config = read_config(folder)
    weights = _read_weights(folder)
    model = build_from_weights(config, weights, with_language_head, dtype)
    tokenizer = load_tokenizer(folder)
    if tokenizer.segmentation_id >= model.config.language.vocab_size:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            "The tokenizer has more words than the network.",
            "Use the tokenizer files that came with the weights.",
        )
    return Checkpoint(model.to(device or torch.device("cpu")), tokenizer)


def read_config(folder: Path) -> UniGeoSegConfig:
    """Read ``config.json``.

    Raises:
        JobError: The folder has none, or it is not one of this network.
    """
    return UniGeoSegConfig.from_json(read_object(folder / CONFIG_FILE))


def build_from_weights(
    config: UniGeoSegConfig,
    weights: Mapping[str, Tensor],
    with_language_head: bool = True,
    dtype: torch.dtype = torch.float32,
) -> UniGeoSeg:
    """Build a network around published weights, in evaluation mode.

    The connector and the vocabulary size come from the weights where these disagree with the
    configuration.

    Raises:
        JobError: Weights are missing, unknown or of another shape.
    """
    config = _fitted_config(config, weights)
    ignored = set(unused_shapes(config))
    if not with_language_head:
        ignored.add("lm_head.weight")
    state = {
        name: _cast(name, tensor, dtype)
        for name, tensor in split_attention(weights, config.language.num_attention_heads).items()
        if name not in ignored and not name.endswith(("rotary_emb.inv_freq", "embed_positions"))
    }
    with torch.device("meta"):
        model = UniGeoSeg(config, with_language_head)
    for name in model.state_dict():
        # Files written without constant buffers are complete all the same.
        if name.endswith("relative_position_index") and name not in state:
            state[name] = relative_position_index(config.vision.window_size)
    _check_fit(model.state_dict(), state)
    model.load_state_dict(state, strict=True, assign=True)
    model.model.rebuild_rotary_tables(torch.device("cpu"))
    return model.eval()


def published_state(model: UniGeoSeg) -> dict[str, Tensor]:
    """Return the weights under the published names, attention fused."""
    return fuse_attention(model.state_dict(), model.config.language.num_attention_heads)


def save_checkpoint(model: UniGeoSeg, tokenizer: ByteTokenizer | None, folder: Path) -> None:
    """Write a checkpoint folder; the weights appear under their name once complete.

    Args:
        model: The network.
        tokenizer: A byte tokenizer to write beside it; None keeps the folder's tokenizer files.
        folder: Created when missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(model.config.to_json(), indent=1)
    (folder / CONFIG_FILE).write_text(config, encoding="utf-8")
    if tokenizer is not None:
        tokenizer.save(folder)
    partial = folder / f"{WEIGHTS_FILE}.part"
    state = {name: tensor.contiguous().cpu() for name, tensor in published_state(model).items()}
    save_file(state, partial, metadata={"format": "pt"})
    partial.replace(folder / WEIGHTS_FILE)


def split_attention(weights: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """Return fused attention weights as query, key and value; split ones stay as they are."""
    state: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        match = _FUSED.match(name)
        if match is None:
            state[name] = tensor
            continue
        stacked = tensor.reshape(heads, 3, -1, *tensor.shape[1:])
        for index, part in enumerate("qkv"):
            part_name = f"{match[1]}{part}_proj.{match[2]}"
            state[part_name] = stacked[:, index].reshape(-1, *tensor.shape[1:])
    return state


def fuse_attention(state: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """Undo ``split_attention``."""
    weights: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = _SPLIT.match(name)
        if match is not None:
            parts = [state[f"{match[1]}{part}_proj.{match[2]}"] for part in "qkv"]
            stacked = torch.stack(
                [part.reshape(heads, -1, *part.shape[1:]) for part in parts], dim=1
            )
            weights[f"{match[1]}query_key_value.{match[2]}"] = stacked.flatten(0, 2)
        elif re.search(r"\.self_attn\.[kv]_proj\.", name) is None:
            weights[name] = tensor
    return weights


def unused_shapes(config: UniGeoSegConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of weights that published files hold but nothing uses."""
    hidden = config.language.hidden_size
    head, width = config.segmentation.head_width, config.segmentation.width
    queries = config.segmentation.num_queries
    shapes: dict[str, tuple[int, ...]] = {
        "seg_query": (queries, hidden),
        "refer_pooling.query": (1, hidden),
        "reason_norm.weight": (hidden,),
        "reason_norm.bias": (hidden,),
        "task_embed.weight": (3, hidden),
        "global_projector.weight": (head, hidden),
        "global_projector.bias": (head,),
        "predictor.query_feat.weight": (queries, width),
        "predictor.query_embed.weight": (queries, width),
        "predictor.SEG_query_embed.weight": (queries + 1, width),
        "predictor.new_query_embed.weight": (1, width),
    }
    for name in ("refer_pooling", "ref_attn"):
        shapes[f"{name}.proj.weight"] = (hidden, hidden)
        shapes[f"{name}.proj.bias"] = (hidden,)
    for name in ("SEG_proj", "CLASS_proj"):
        for layer in range(2):
            shapes[f"predictor.{name}.layers.{layer}.weight"] = (width, width)
            shapes[f"predictor.{name}.layers.{layer}.bias"] = (width,)
    return shapes


def _cast(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    backbone = name.startswith(("model.", "lm_head."))
    return tensor.to(dtype if backbone else torch.float32)


def _fitted_config(config: UniGeoSegConfig, weights: Mapping[str, Tensor]) -> UniGeoSegConfig:
    connector = detect_connector(weights) or config.connector
    language = config.language
    table = weights.get("model.embed_tokens.weight")
    if table is not None:
        language = dataclasses.replace(language, vocab_size=table.shape[0])
    return dataclasses.replace(config, connector=connector, language=language)


def _check_fit(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    problems = []
    for label, names in (
        ("missing", expected.keys() - given.keys()),
        ("unknown", given.keys() - expected.keys()),
        (
            "of another shape",
            {
                name
                for name in expected.keys() & given.keys()
                if expected[name].shape != given[name].shape
            },
        ),
    ):
        if names:
            shown = ", ".join(sorted(names)[:_SHOWN_NAMES])
            problems.append(f"{len(names)} {label} ({shown})")
    if problems:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The weights do not fit the network: {'; '.join(problems)}.",
            "Download the checkpoint again, or choose the folder of a UniGeoSeg checkpoint.",
        )


def _read_weights(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        with _reading(path), safe_open(path, framework="pt", device="cpu") as shard:
            for name in shard.keys():  # noqa: SIM118 - not a mapping
                weights[name] = shard.get_tensor(name)
    return dequantise(weights)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / INDEX_FILE
    if not index.is_file():
        return [folder / WEIGHTS_FILE]
    with _reading(index):
        names = read_object(index)["weight_map"].values()
    return [folder / Path(name).name for name in sorted(set(names))]


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise JobError(
            ErrorCode.MODEL_MISSING if not path.exists() else ErrorCode.MODEL_INVALID,
            f"{path} is missing or damaged.",
            "Download the checkpoint again.",
            detail=str(error),
        ) from error
