"""Presets with random weights load as their published files would, and cards take the numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.model_speed import Row, compared, write_memory
from benchmarks.random_presets import card_path, random_state, write_random_preset
from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.zoo.card import CARD_FILE
from geoseg_qgis.engine.zoo.registry import Origin, catalogue, open_preset
from geoseg_qgis.protocol.errors import ErrorCode, JobError


def test_a_random_preset_loads_like_the_published_one(tmp_path: Path) -> None:
    published = catalogue([tmp_path]).presets["sam2.1-tiny"]
    write_random_preset(published, "sam2", tmp_path)
    models = LoadedPreset(open_preset(str(tmp_path)), choose_device("cpu"))
    parameters = sum(each.numel() for each in models.sam2.module.parameters())
    assert parameters == 31_440_721
    assert models.card.sam2 is not None
    assert models.card.sam2.model == published.card.sam2.model


def test_a_network_whose_sizes_are_in_its_files_cannot_be_made(tmp_path: Path) -> None:
    published = catalogue([tmp_path]).presets["qwen3-vl-2b"]
    with pytest.raises(JobError, match="sizes of language") as caught:
        write_random_preset(published, "clicks", tmp_path)
    assert caught.value.code is ErrorCode.MODEL_MISSING


def test_random_weights_are_as_wide_as_the_published_ones() -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    count = sum(tensor.numel() for tensor in module.state_dict().values())
    wide, narrow = random_state(module, 4 * count), random_state(module, 2 * count)
    assert {name: value.shape for name, value in wide.items()} == {
        name: value.shape for name, value in module.state_dict().items()
    }
    assert (wide["0.weight"].dtype, narrow["0.weight"].dtype) == (torch.float32, torch.float16)
    assert wide["1.running_var"].min() >= 0
    assert wide["1.num_batches_tracked"] == 0


def test_measured_memory_is_rounded_up_into_the_card(tmp_path: Path) -> None:
    published = catalogue([tmp_path]).presets["openai-b16"]
    text = card_path(published).read_text(encoding="utf-8")
    (tmp_path / CARD_FILE).write_text(text, encoding="utf-8")
    own = dataclasses.replace(published, folder=tmp_path, origin=Origin.USER)
    write_memory(own, "fast", 1_234_567_890)
    written = (tmp_path / CARD_FILE).read_text(encoding="utf-8")
    assert open_preset(str(tmp_path)).card.memory["fast"] == 1_240_000_000
    kept = json.loads(text) | {"memory": json.loads(written)["memory"]}
    assert written == json.dumps(kept, indent=2, ensure_ascii=False) + "\n"


def test_times_are_compared_with_the_built_in_preset() -> None:
    rows = [
        Row("small", "fast", "cpu", 1_300_000_000, 2.0),
        Row("large", "fast", "cpu", 3_000_000_000, 9.0),
        Row("large", "clicks", "cpu", note="no job runs clicks yet"),
    ]
    lines = compared(rows, ["small"])
    assert [line["times built-in"] for line in lines] == ["1.0", "4.5", ""]
    assert [line["memory (GB)"] for line in lines] == ["1.30", "3.00", ""]
    assert lines[2]["note"] == "no job runs clicks yet"
