"""Strict loading of every checkpoint layout."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from geoseg_qgis.engine.json_reader import parse
from geoseg_qgis.engine.models.segassess import (
    SegAssess,
    SegAssessConfiguration,
    build_segassess,
    load_segassess,
    save_segassess,
    start_from_segment_anything,
)
from geoseg_qgis.engine.models.segassess.loading import infer_configuration
from geoseg_qgis.protocol.errors import ErrorCode, JobError

TINY = SegAssessConfiguration(
    encoder_width=32,
    encoder_depth=6,
    encoder_heads=2,
    global_blocks=(1, 3, 4, 5),
    decoder_width=64,
    decoder_hidden=96,
    score_hidden=48,
)


def published_layout(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Repeat the Segment Anything keys below `sam.` and prefix all, as `best.pkl` has them."""
    aliases = {f"sam.{key}": weights[key] for key in weights if not key.startswith("TCCA.")}
    return {f"module.{key}": value for key, value in (aliases | weights).items()}


def shape_text(value: Tensor) -> str:
    return "x".join(str(length) for length in value.shape) or "scalar"


def test_full_size_keys_and_shapes(facts_folder: Path) -> None:
    with (facts_folder / "keys.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    canonical = {row["key"]: row["shape"] for row in rows if row["is_alias"] == "no"}
    with torch.device("meta"):
        model = SegAssess()
    own = model.state_dict()
    assert {key: shape_text(value) for key, value in own.items()} == canonical
    assert len(canonical) == 454
    published = {key.removeprefix("module.") for key in published_layout(own)}
    assert published == {row["key"] for row in rows}
    assert len(published) == 811
    assert sum(parameter.numel() for parameter in model.parameters()) == 127_777_780
    assert infer_configuration(own) == SegAssessConfiguration()


def test_sizes_follow_from_the_weights(tiny_weights: dict[str, Tensor]) -> None:
    assert infer_configuration(tiny_weights) == TINY


def test_published_layout_loads(tiny_weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "best.pkl"
    torch.save(published_layout(tiny_weights), path)
    model = load_segassess(path)
    assert not model.training
    own = model.state_dict()
    assert own.keys() == tiny_weights.keys()
    assert all(torch.equal(own[key], tiny_weights[key]) for key in own)


def test_differing_alias_is_refused(tiny_weights: dict[str, Tensor]) -> None:
    state = published_layout(tiny_weights)
    key = "module.sam.image_encoder.neck.0.weight"
    state[key] = state[key] + 1e-6
    with pytest.raises(JobError, match=r"sam\.image_encoder\.neck\.0\.weight differs") as caught:
        build_segassess(state)
    assert caught.value.code is ErrorCode.MODEL_INVALID


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"1 missing \(TCCA\.side1\.0\.bias\)"),
        ("unknown", r"1 unexpected \(extra\)"),
        ("shape", r"1 of another shape \(TCCA\.side1\.0\.bias \[9\] for \[8\]\)"),
    ],
)
def test_other_keys_are_refused(tiny_weights: dict[str, Tensor], change: str, message: str) -> None:
    state = dict(tiny_weights)
    if change == "missing":
        del state["TCCA.side1.0.bias"]
    elif change == "unknown":
        state["extra"] = torch.zeros(1)
    else:
        state["TCCA.side1.0.bias"] = torch.zeros(9)
    with pytest.raises(JobError, match=message):
        build_segassess(state)


@pytest.mark.slow
def test_safetensors_keep_the_sizes(tiny_weights: dict[str, Tensor], tmp_path: Path) -> None:
    configuration = dataclasses.replace(TINY, prompt_resampling="average", decoder_heads=4)
    model = build_segassess(tiny_weights, configuration)
    path = tmp_path / "model.safetensors"
    save_segassess(model, path, {"pixel_size": "0.3"})
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]
    again = load_segassess(path)
    assert again.configuration == configuration
    key = "TCCA.side1.0.weight"
    assert torch.equal(again.state_dict()[key], tiny_weights[key])


@pytest.mark.parametrize("suffix", [".pkl", ".safetensors"])
def test_unreadable_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"not a model")
    with pytest.raises(JobError) as caught:
        load_segassess(path)
    assert caught.value.code is ErrorCode.MODEL_INVALID
    with pytest.raises(JobError) as caught:
        load_segassess(tmp_path / f"absent{suffix}")
    assert caught.value.code is ErrorCode.MODEL_MISSING


def test_start_from_segment_anything(tiny_weights: dict[str, Tensor]) -> None:
    torch.manual_seed(0)
    model = SegAssess(TINY)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fresh = ("TCCA.", *(f"mask_decoder.{p}" for p in ("hf_", "compress", "embedding_")))
    start = {key: value for key, value in tiny_weights.items() if not key.startswith(fresh)}
    start_from_segment_anything(model, start)
    after = model.state_dict()
    assert all(torch.equal(after[key], tiny_weights[key]) for key in start)
    assert all(torch.equal(after[key], before[key]) for key in after if key.startswith(fresh))
    start.pop("mask_decoder.mask_tokens.weight")
    with pytest.raises(JobError, match=r"mask_decoder\.mask_tokens\.weight"):
        start_from_segment_anything(model, start)


def test_full_size_segment_anything_part_has_314_keys() -> None:
    with torch.device("meta"):
        own = SegAssess().state_dict()
    fresh = ("TCCA.", *(f"mask_decoder.{p}" for p in ("hf_", "compress", "embedding_")))
    assert sum(not key.startswith(fresh) for key in own) == 314


@pytest.mark.slow
def test_averaged_prompt_reads_every_mask_pixel(tiny_weights: dict[str, Tensor]) -> None:
    configuration = dataclasses.replace(TINY, prompt_resampling="average")
    model = build_segassess(tiny_weights, configuration)
    images, masks = torch.full((1, 3, 64, 64), 0.5), torch.zeros(1, 1, 64, 64)
    corner = masks.clone()
    corner[..., 0, 0] = 1
    published = build_segassess(tiny_weights)
    with torch.no_grad():
        assert torch.equal(published(images, masks).logits, published(images, corner).logits)
        assert not torch.equal(model(images, masks).logits, model(images, corner).logits)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="last block"):
        dataclasses.replace(TINY, global_blocks=(0, 1, 2, 3))
    with pytest.raises(ValueError, match="divisible"):
        dataclasses.replace(TINY, encoder_heads=5)
    with pytest.raises(JobError, match=r"sizes\.depth is not a known member"):
        parse(SegAssessConfiguration, {"depth": 3}, "sizes")
    assert parse(SegAssessConfiguration, TINY.to_json(), "sizes") == TINY


def test_wrong_inputs_are_refused(tiny_model: SegAssess) -> None:
    images = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ValueError, match=r"masks must be \(1, 1, 64, 64\)"):
        tiny_model(images, torch.zeros(1, 1, 32, 64))
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\)"):
        tiny_model(images[:, :2], torch.zeros(1, 1, 64, 64))
    with pytest.raises(ValueError, match="at least 16 pixels"):
        tiny_model(images[:, :, :8], torch.zeros(1, 1, 8, 64))
