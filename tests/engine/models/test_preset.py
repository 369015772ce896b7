import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import (
    CLIP_CONFIGURATION,
    DINO_ARGUMENTS,
    SAM2_ARCHITECTURE,
    landscape,
    write_clip,
    write_dino,
    write_sam2,
)

from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.preset import LoadedPreset, PresetCache
from geoseg_qgis.engine.zoo.registry import choose_preset, open_preset
from geoseg_qgis.protocol.errors import ErrorCode, JobError

NORMALISATION = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def described(path: Path, layout: str) -> dict[str, Any]:
    return {
        "file": path.name,
        "layout": layout,
        "size": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A preset of three tiny networks in a folder, as a user would make one."""
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    write_clip(folder)
    write_dino(folder)
    write_sam2(folder)
    (folder / "words.json").write_text(json.dumps({"words": ["road", "roof"]}))
    card = {
        "name": "tiny",
        "title": "Tiny",
        "revision": "7",
        "licence": "CC0-1.0",
        "description": "For tests.",
        "methods": ["gumix", "fast", "mask_selection", "sam2"],
        "vocabulary": {"file": "words.json"},
        "clip": {
            "model": CLIP_CONFIGURATION,
            "weights": described(folder / "clip.safetensors", "open_clip"),
            "tokenizer": {"kind": "bpe", "file": "merges.txt.gz"},
            **NORMALISATION,
        },
        "dino": {
            "model": "vit_small_patch16_dinov3_qkvb",
            "arguments": DINO_ARGUMENTS,
            "weights": described(folder / "dino.safetensors", "timm"),
            **NORMALISATION,
        },
        "sam2": {
            "model": dataclasses.asdict(SAM2_ARCHITECTURE),
            "weights": described(folder / "sam2.pt", "sam2"),
            **NORMALISATION,
        },
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.mark.slow
def test_a_folder_is_a_preset(folder: Path) -> None:
    preset = choose_preset(str(folder), "gumix")
    loaded = LoadedPreset(preset, choose_device("cpu"))
    assert loaded.loaded() == ()
    assert loaded.clip.encode_text(["road"]).shape == (1, 16)
    assert loaded.clip.unknown_words("road, river") == ["river"]
    image = torch.from_numpy(landscape(128, 128)).permute(2, 0, 1)[None].float() / 255
    assert loaded.dino.last_layers(loaded.dino.normalise(image))[-1].shape == (1, 64, 48)
    assert loaded.sam2.encode(image).image.shape == (1, 64, 8, 8)
    assert set(loaded.loaded()) == {"vocabulary", "clip", "dino", "sam2"}
    assert loaded.clip is loaded.clip


@pytest.mark.slow
def test_release_forgets_and_the_next_use_loads_again(folder: Path) -> None:
    loaded = LoadedPreset(open_preset(str(folder)), choose_device("cpu"))
    first = loaded.sam2
    loaded.release()
    assert loaded.loaded() == ()
    assert loaded.sam2 is not first


def test_provenance_names_files_by_digest_and_only_what_was_used(folder: Path) -> None:
    loaded = LoadedPreset(open_preset(str(folder)), choose_device("cpu"))
    assert loaded.dino.dtype == torch.float32
    facts = loaded.provenance()
    digest = hashlib.sha256((folder / "dino.safetensors").read_bytes()).hexdigest()
    assert facts["model"] == "tiny"
    assert facts["model_revision"] == "7"
    assert facts["device"].startswith("cpu (")
    assert facts["dino_sha256"] == digest
    assert facts["dino_dtype"] == "float32"
    assert "clip_sha256" not in facts


@pytest.mark.slow
def test_a_number_format_may_be_asked_for(folder: Path) -> None:
    loaded = LoadedPreset(open_preset(str(folder)), choose_device("cpu"), torch.bfloat16)
    assert loaded.clip.dtype == loaded.dino.dtype == loaded.sam2.dtype == torch.bfloat16


def test_a_damaged_file_is_refused_when_it_is_loaded(folder: Path) -> None:
    content = bytearray((folder / "dino.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "dino.safetensors").write_bytes(content)
    loaded = LoadedPreset(open_preset(str(folder)), choose_device("cpu"))
    with pytest.raises(JobError, match="SHA-256 differs") as caught:
        _ = loaded.dino
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert loaded.loaded() == ()


def test_a_component_that_is_absent_is_said(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    del card["sam2"]
    card["methods"] = ["gumix"]
    (folder / "card.json").write_text(json.dumps(card))
    loaded = LoadedPreset(open_preset(str(folder)), choose_device("cpu"))
    with pytest.raises(JobError, match="The model tiny has no component sam2"):
        _ = loaded.sam2
    (folder / "dino.safetensors").unlink()
    with pytest.raises(JobError, match=r"lacks its file dino\.safetensors"):
        _ = loaded.dino


@pytest.mark.slow
def test_the_cache_keeps_the_last_preset_loaded(folder: Path) -> None:
    cache, cpu = PresetCache(), choose_device("cpu")
    first = cache.get(open_preset(str(folder)), cpu)
    model = first.sam2
    # The card is read again for every job; an equal one is the same preset.
    assert cache.get(open_preset(str(folder)), cpu) is first
    assert cache.loaded() == ("sam2",)
    second = cache.get(open_preset(str(folder)), cpu, torch.bfloat16)
    assert second is not first
    assert first.loaded() == ()
    assert second.sam2 is not model
    cache.release()
    assert cache.loaded() == second.loaded() == ()
