"""Reference tensors of SegAssess: small ones from tests/facts, larger ones from ../shared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from geoseg_qgis.engine.models.segassess import SegAssess, build_segassess

FACTS = Path(__file__).parents[1] / "facts" / "segassess"
SHARED = Path(__file__).parents[2].parent / "shared" / "golden" / "segassess"

ReadCase = Callable[[str], dict[str, Tensor]]


@pytest.fixture(scope="session")
def facts_folder() -> Path:
    return FACTS


@pytest.fixture(scope="session")
def read_case() -> ReadCase:
    """Read one file of reference tensors, or skip where it is not available."""

    def read(name: str) -> dict[str, Tensor]:
        for folder in (FACTS, SHARED):
            path = folder / f"{name}.safetensors"
            if path.is_file():
                tensors: dict[str, Tensor] = load_file(path)
                return tensors
        pytest.skip(f"{name}.safetensors is only in the shared folder, which is absent here")

    return read


@pytest.fixture(scope="session")
def tiny_weights(read_case: ReadCase) -> dict[str, Tensor]:
    return read_case("weights_tiny")


@pytest.fixture
def tiny_model(tiny_weights: dict[str, Tensor]) -> SegAssess:
    """Network with the reference weights, in eval mode, on one thread."""
    torch.set_num_threads(1)
    return build_segassess({key: value.clone() for key, value in tiny_weights.items()})
