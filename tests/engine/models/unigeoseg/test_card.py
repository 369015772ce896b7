"""A checkpoint folder behind a card."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unigeoseg_facts import write_preset

from geoseg_qgis.engine.methods.referring.unigeoseg import preset_segmenter
from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from geoseg_qgis.engine.models.weights import file_sha256
from geoseg_qgis.engine.zoo.card import parse_card
from geoseg_qgis.engine.zoo.registry import choose_preset
from geoseg_qgis.protocol.errors import ErrorCode, JobError

CARD: dict[str, Any] = {
    "name": "words",
    "title": "Words",
    "revision": "1",
    "licence": "CC0-1.0",
    "description": "For tests.",
    "methods": ["unigeoseg"],
    "unigeoseg": {
        "folder": "network",
        "weights": [
            {"file": "network/config.json", "layout": "json"},
            {"file": "network/model.safetensors", "layout": "unigeoseg", "size": 7},
        ],
    },
}


PIXELS = {"preferred": 0.25, "finest": 0.125, "coarsest": 0.5}


def changed(**members: Any) -> dict[str, Any]:
    return {**CARD, "unigeoseg": {**CARD["unigeoseg"], **members}}


def test_a_card_names_a_checkpoint_folder() -> None:
    component = parse_card(changed(vocabulary={"file": "words.json"})).unigeoseg
    assert component is not None
    assert (component.folder, component.vocabulary) == ("network", "words.json")
    assert [weights.size for weights in component.weights] == [None, 7]
    assert parse_card(CARD).components == ("unigeoseg",)
    beside = parse_card(changed(folder=None, weights={"file": "config.json", "layout": "json"}))
    assert beside.unigeoseg is not None
    assert beside.unigeoseg.folder == "."


def test_a_network_may_be_made_for_pixels_of_its_own(
    tmp_path: Path, tiny_model: UniGeoSeg, toy_tokenizer: ByteTokenizer
) -> None:
    folder = write_preset(tmp_path / "preset", tiny_model, toy_tokenizer)
    card = json.loads((folder / "card.json").read_text())
    assert _made_for(folder) == card["pixel_size"]
    card["unigeoseg"]["pixel_size"] = PIXELS
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    assert _made_for(folder) == PIXELS


def _made_for(folder: Path) -> dict[str, float]:
    preset = LoadedPreset(choose_preset(str(folder), "unigeoseg"), choose_device("cpu"))
    size = preset.instruction_pixel_size
    assert size is not None
    return dataclasses.asdict(size)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"pixel_size": {**PIXELS, "coarsest": 0.1}}, "pixel_size must satisfy"),
        ({"weights": []}, "weights must have at least 1 item"),
        ({"folder": "elsewhere"}, "names network/config.json, which is not directly in elsewhere"),
        ({"folder": "../network"}, "must be a file inside the card's folder"),
        ({"surprise": 1}, "card.unigeoseg.surprise is not a known member"),
    ],
)
def test_a_member_that_does_not_fit_is_named(members: dict[str, Any], message: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_card(changed(**members))
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert message in caught.value.message


@pytest.mark.slow
def test_a_preset_loads_once_and_predicts(
    tmp_path: Path, tiny_model: UniGeoSeg, toy_tokenizer: ByteTokenizer
) -> None:
    folder = write_preset(tmp_path / "preset", tiny_model, toy_tokenizer, ["white", "plane"])
    preset = LoadedPreset(choose_preset(str(folder), "unigeoseg"), choose_device("cpu"))

    segmenter = preset_segmenter(preset)
    prediction = segmenter.segment(np.zeros((40, 60, 3), np.uint8), instruction="white plane")

    assert prediction.probability.shape == (40, 60)
    assert segmenter is preset_segmenter(preset)
    assert preset.instruction_vocabulary is not None
    assert preset.instruction_vocabulary.unknown_words("a white plane") == ["a"]
    files = json.loads((folder / "card.json").read_text())["unigeoseg"]["weights"]
    digests = " ".join(file_sha256(folder / entry["file"]) for entry in files)
    assert preset.provenance()["unigeoseg_sha256"] == digests
    assert preset.provenance()["unigeoseg_dtype"] == "float32"


def test_a_damaged_shard_is_refused(
    tmp_path: Path, tiny_model: UniGeoSeg, toy_tokenizer: ByteTokenizer
) -> None:
    folder = write_preset(tmp_path / "preset", tiny_model, toy_tokenizer)
    with (folder / "network" / "model.safetensors").open("ab") as stream:
        stream.write(b"\0")
    preset = LoadedPreset(choose_preset(str(folder), "unigeoseg"), choose_device("cpu"))
    with pytest.raises(JobError, match="bytes instead of"):
        preset_segmenter(preset)
