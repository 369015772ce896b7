"""A card's SegAssess object to a network on a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from geoseg_qgis.engine.models.device import ChosenDevice
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.segassess import SegAssess, SegAssessConfiguration, save_segassess
from geoseg_qgis.engine.models.segassess.component import parse_segassess
from geoseg_qgis.engine.models.weights import SCALE_SUFFIX, quantise_rows
from geoseg_qgis.engine.zoo.card import parse_card
from geoseg_qgis.engine.zoo.registry import open_preset
from geoseg_qgis.protocol.errors import ErrorCode, JobError

SIZES = SegAssessConfiguration(
    encoder_width=32, encoder_depth=4, encoder_heads=2, global_blocks=(0, 1, 2, 3), window=4,
    stored_grid=4, decoder_width=16, decoder_heads=2, decoder_hidden=32, score_hidden=16,
    prompt_resampling="average",
)  # fmt: skip
PROCESSOR = ChosenDevice(torch.device("cpu"), "a processor")


def card(component: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "judge", "title": "Judge", "revision": "1", "licence": "CC0-1.0",
        "description": "Random weights.", "methods": ["segassess"], "segassess": component,
    }  # fmt: skip


def weights(file: str) -> dict[str, str]:
    return {"file": file, "layout": "segassess"}


def network() -> SegAssess:
    torch.manual_seed(3)
    return SegAssess(SIZES).eval()


def load(folder: Path, component: dict[str, Any]) -> LoadedPreset:
    (folder / "card.json").write_text(json.dumps(card(component)), encoding="utf-8")
    return LoadedPreset(open_preset(str(folder)), PROCESSOR)


def predict(model: SegAssess) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(1, 3, 64, 64, generator=generator)
    masks = (torch.rand(1, 1, 64, 64, generator=generator) > 0.5).float()
    with torch.inference_mode():
        logits: Tensor = model(images, masks).logits
    return logits


def test_sizes_from_the_file(tmp_path: Path) -> None:
    model = network()
    save_segassess(model, tmp_path / "judge.safetensors")
    models = load(tmp_path, {"weights": weights("judge.safetensors"), "tile": 128})
    loaded = models.segassess
    assert loaded.settings.tile == 128
    assert (loaded.patch, loaded.half_patch) == (16, 8)
    assert torch.allclose(predict(loaded.module), predict(model), atol=1e-6)
    assert models.segassess is loaded
    assert "segassess_sha256" in models.provenance()


@pytest.mark.slow
def test_sizes_and_small_numbers_from_the_card(tmp_path: Path) -> None:
    model = network()
    stored: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if tensor.ndim > 1 and tensor.numel() > 512 and "pos" not in name:
            stored[name], stored[name + SCALE_SUFFIX] = quantise_rows(tensor)
        else:
            stored[name] = tensor.clone()
    save_file(stored, tmp_path / "judge.safetensors")
    sizes = SIZES.to_json()
    loaded = load(
        tmp_path,
        {
            "weights": weights("judge.safetensors"),
            "configuration": sizes,
            "objects": ["building", "road"],
        },
    ).segassess
    assert loaded.module.configuration == SIZES
    assert loaded.settings.objects == ("building", "road")
    assert torch.allclose(predict(loaded.module), predict(model), atol=0.05)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"weights": []}, "weights"),
        ({"weights": {"file": "a", "layout": "sam2"}}, "layout"),
        ({"tile": 100}, "tile"),
        ({"tile": 16}, "tile"),
        ({"configuration": "largest"}, "configuration"),
        ({"configuration": {"width": 3}}, "configuration"),
        ({"objects": "building"}, "objects"),
        ({"threshold": 0.5}, "threshold"),
    ],
)
def test_wrong_members_are_named(members: dict[str, Any], said: str) -> None:
    component = parse_card(card({"weights": weights("a"), **members})).others["segassess"]
    with pytest.raises(JobError, match=said) as caught:
        parse_segassess(component)
    assert caught.value.code is ErrorCode.MODEL_INVALID


def test_published_means_the_sizes_of_the_paper() -> None:
    component = parse_card(card({"weights": weights("best.pkl"), "configuration": "published"}))
    file, settings = parse_segassess(component.others["segassess"])
    assert file.file == "best.pkl"
    assert settings.configuration == SegAssessConfiguration()
    assert settings.tile == 512
