"""Checkpoint folders of the transformers library, read offline.

A card's component names the folder and every file of it that is read::

    {"folder": "owner/model", "weights": [{"file": "owner/model/config.json", "layout": "json"},
                                          {"file": "owner/model/model.safetensors", ...}]}

Nothing in the folder is run: configurations are JSON and tensors are safetensors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from tokenizers import Tokenizer
from torch import nn

from geoseg_qgis.engine.json_reader import invalid, read_object
from geoseg_qgis.engine.zoo.card import OtherComponent, require_folder
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .meta_init import build_empty
from .weights import State, read_tensors, verify_file

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"

Module = TypeVar("Module", bound=nn.Module)


def checked_folder(component: OtherComponent, folder: Path, name: str, where: str) -> Path:
    """Return the component's folder after checking its files other than tensors.

    Args:
        component: What the card says.
        folder: The card's folder.
        name: The checkpoint folder, relative to it.
        where: How messages name the component, for example ``card.sam3``.

    Raises:
        JobError: ``MODEL_INVALID`` or ``MODEL_MISSING``.
    """
    try:
        require_folder(component.weights, name)
    except ValueError as error:
        raise invalid(f"{where}.weights", str(error)) from error
    for weights in component.weights:
        if not weights.file.endswith(".safetensors"):
            verify_file(folder / weights.file, weights)
    return folder / name


def read_shards(component: OtherComponent, folder: Path, dtype: torch.dtype) -> State:
    """Return the tensors of all files of the component, floating-point ones in ``dtype``.

    Raises:
        JobError: ``MODEL_INVALID`` or ``MODEL_MISSING``.
    """
    state: State = {}
    for weights in component.weights:
        if weights.file.endswith(".safetensors"):
            state.update(read_tensors(folder / weights.file, weights, dtype))
    return state


def build_from_config(folder: Path, build: Callable[[dict[str, Any]], Module]) -> Module:
    """Return the network that a folder's ``config.json`` describes, its parameters without values.

    Args:
        folder: The checkpoint folder.
        build: Makes the network from the members of the configuration.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    data = read_object(folder / CONFIG_FILE)
    try:
        return build_empty(lambda: build(data))
    except (
        StrictDataclassError,
        TypeError,
        ValueError,
        KeyError,
        AttributeError,
        AssertionError,
        ZeroDivisionError,
        RuntimeError,
    ) as error:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The file {folder / CONFIG_FILE} does not describe this kind of model.",
            "Download the model again, or correct the folder in the model's card.",
            str(error),
        ) from error


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer of a folder's ``tokenizer.json``.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    path = folder / TOKENIZER_FILE
    read_object(path)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The file {path} holds no tokenizer.",
            "Download the model again.",
            str(error),
        ) from error


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of a special token.

    Raises:
        JobError: ``MODEL_INVALID`` when the tokenizer does not know it.
    """
    number: int | None = tokenizer.token_to_id(token)
    if number is None:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The tokenizer has no {token}.",
            "Use the tokenizer that was published with the model.",
        )
    return number
