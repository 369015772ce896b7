"""Recorded tensors of the reference network, and the tiny network they were recorded with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor
from unigeoseg_facts import TINY, Golden, golden_path

from geoseg_qgis.engine.models.unigeoseg.checkpoint import build_from_weights
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer


@pytest.fixture(scope="session")
def golden() -> Golden:
    def read(name: str) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = load_file(golden_path(f"{name}.safetensors"))
        return tensors

    return read


@pytest.fixture(scope="session")
def tiny_weights() -> dict[str, Tensor]:
    weights: dict[str, Tensor] = load_file(golden_path("tiny_model.safetensors"))
    return weights


@pytest.fixture(scope="session")
def tiny_model(tiny_weights: dict[str, Tensor]) -> UniGeoSeg:
    return build_from_weights(TINY, tiny_weights).requires_grad_(False)


@pytest.fixture(scope="session")
def text_cases() -> dict[str, Any]:
    cases: dict[str, Any] = json.loads(golden_path("text_cases.json").read_text())
    return cases


@pytest.fixture(scope="session")
def toy_tokenizer(text_cases: dict[str, Any]) -> ByteTokenizer:
    words = {
        word: text_cases["toy_tokenizer"][word] for word in ("<|endoftext|>", "[SEG]", "[PAD]")
    }
    return ByteTokenizer(words)
