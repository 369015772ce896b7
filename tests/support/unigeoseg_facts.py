"""Where the recorded tensors lie, and the sizes of the tiny network they were recorded with."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning
from torch import Tensor

from geoseg_qgis.engine.models.unigeoseg.checkpoint import save_checkpoint
from geoseg_qgis.engine.models.unigeoseg.configuration import (
    LanguageConfig,
    SegmentationConfig,
    UniGeoSegConfig,
    VisionConfig,
)
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer

REPOSITORY = Path(__file__).parents[2]
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


def write_raster(path: Path, pixels: np.ndarray) -> None:
    """Write (H, W, 3) or (H, W) bytes in the format the name asks for."""
    bands = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    driver = "GTiff" if path.suffix == ".tif" else "PNG"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver=driver,
            count=len(bands),
            height=bands.shape[1],
            width=bands.shape[2],
            dtype=bands.dtype,
        ) as target:
            target.write(bands)


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_preset(
    folder: Path, model: UniGeoSeg, tokenizer: ByteTokenizer, words: Sequence[str] = ()
) -> Path:
    """Write a preset of one network, as a user would make it; it knows any word without words."""
    save_checkpoint(model, tokenizer, folder / "network")
    component: dict[str, object] = {
        "folder": "network",
        "weights": [
            {
                "file": f"network/{path.name}",
                "layout": "unigeoseg" if path.suffix == ".safetensors" else "json",
                "size": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in sorted((folder / "network").iterdir())
        ],
    }
    if words:
        write_json(folder / "words.json", {"words": list(words)})
        component["vocabulary"] = {"file": "words.json"}
    card = {
        "name": "tiny-words",
        "title": "Tiny words",
        "revision": "1",
        "licence": "CC0-1.0",
        "description": "For tests.",
        "methods": ["unigeoseg"],
        "pixel_size": {"preferred": 0.5, "finest": 0.1, "coarsest": 4.0},
        "unigeoseg": component,
    }
    write_json(folder / "card.json", card)
    return folder
