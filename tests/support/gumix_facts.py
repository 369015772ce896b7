"""Reading the recorded tensors of GUMix-RS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

FACTS = Path(__file__).parents[1] / "facts" / "gumix"


def read_facts(name: str) -> dict[str, Tensor]:
    """Tensors of one recorded file, integers widened to 64 bits."""
    tensors = load_file(FACTS / f"{name}.safetensors")
    integers = (torch.uint8, torch.int16, torch.int32)
    return {
        key: value.to(torch.int64) if value.dtype in integers else value
        for key, value in tensors.items()
    }


def read_case(facts: dict[str, Tensor], case: str) -> dict[str, Tensor]:
    """The tensors of one named case."""
    prefix = case + "."
    return {
        key.removeprefix(prefix): value for key, value in facts.items() if key.startswith(prefix)
    }


def read_json(name: str) -> Any:
    """One recorded JSON file."""
    return json.loads((FACTS / f"{name}.json").read_text())
