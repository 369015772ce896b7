"""A preset of tiny random networks in the published layouts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny_models

GUMIX = {
    "window": 112,
    "stride": 96,
    "spatial_block_count": 2,
    "proposals": {"points_per_side": 3, "predicted_iou_threshold": 0.0},
}


@pytest.fixture(scope="session")
def tiny_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a card and weights that serves all three methods."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    vision = {**tiny_models.CLIP_CONFIGURATION["vision_cfg"], "layers": 6}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiny_models.CLIP_CONFIGURATION, "vision_cfg", vision)
        clip = plain(tiny_models.write_clip(folder)[0])
    dino, _ = tiny_models.write_dino(folder)
    sam2, _ = tiny_models.write_sam2(folder)
    card = {
        "name": "tiny",
        "title": "Tiny random networks",
        "revision": "1",
        "licence": "CC0-1.0",
        "description": "Random weights in the published layouts.",
        "methods": ["gumix", "mask_selection", "fast"],
        "pixel_size": {"preferred": 0.3, "finest": 0.1, "coarsest": 2.0},
        "clip": clip,
        "dino": plain(dino),
        "sam2": plain(sam2),
        "gumix": GUMIX,
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def plain(value: Any) -> Any:
    """Return a component as the JSON object of a card."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        return {name: plain(item) for name, item in members.items() if item is not None}
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value
