"""Where the recorded tensors lie, and the sizes of the tiny network they were recorded with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from geoseg_qgis.engine.models.unigeoseg.configuration import (
    LanguageConfig,
    SegmentationConfig,
    UniGeoSegConfig,
    VisionConfig,
)

REPOSITORY = Path(__file__).parents[3]
FACTS = REPOSITORY / "tests" / "facts" / "unigeoseg"
SHARED = REPOSITORY.parent / "shared" / "golden" / "unigeoseg"

Golden = Callable[[str], dict[str, Tensor]]

TINY = UniGeoSegConfig(
    language=LanguageConfig(
        vocab_size=304,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
    ),
    vision=VisionConfig(
        image_size=128, embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window_size=3
    ),
    segmentation=SegmentationConfig(
        head_width=32,
        head_heads=4,
        head_dim=8,
        width=64,
        num_heads=4,
        encoder_layers=2,
        encoder_ffn=1024,
        decoder_layers=5,
        decoder_ffn=128,
        num_queries=5,
    ),
)


def golden_path(name: str) -> Path:
    """Find a recorded file in the repository, or beside it."""
    for folder in (FACTS, SHARED):
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"{name} is not in the repository and ../shared is absent")


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compare tensors, absolute tolerance only."""
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0.0, check_dtype=False)
