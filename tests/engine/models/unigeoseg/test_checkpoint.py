"""Checkpoint folders: names, layouts, precision, and messages about damaged ones."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from unigeoseg_facts import FACTS, TINY, Golden, assert_near

from geoseg_qgis.engine.models.unigeoseg.checkpoint import (
    build_from_weights,
    fuse_attention,
    load_checkpoint,
    published_state,
    save_checkpoint,
    split_attention,
    unused_shapes,
)
from geoseg_qgis.engine.models.unigeoseg.configuration import (
    CONNECTOR_KINDS,
    ConnectorKind,
    UniGeoSegConfig,
)
from geoseg_qgis.engine.models.unigeoseg.inference import ImagePredictor
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, encode_template
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer, load_tokenizer
from geoseg_qgis.protocol.errors import ErrorCode, JobError


@pytest.fixture
def folder(tmp_path: Path, tiny_weights: dict[str, Tensor], toy_tokenizer: ByteTokenizer) -> Path:
    """A checkpoint folder of the tiny network in two shards, attention fused."""
    (tmp_path / "config.json").write_text(json.dumps(TINY.to_json()))
    toy_tokenizer.save(tmp_path)
    names = sorted(tiny_weights)
    shards = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for shard, members in shards.items():
        save_file({name: tiny_weights[name] for name in members}, tmp_path / shard)
    index = {name: shard for shard, members in shards.items() for name in members}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONNECTOR_KINDS)
def test_full_size_names_and_shapes(kind: ConnectorKind) -> None:
    """What is built and what is declared unused add up to the published list, nothing else."""
    with (FACTS / "keys.tsv").open(encoding="utf-8") as lines:
        rows = [
            row
            for row in csv.DictReader(lines, delimiter="\t")
            if row["projector_variant"] in ("any", kind)
        ]
    published = {
        row["key"]: () if row["shape"] == "scalar" else tuple(map(int, row["shape"].split("x")))
        for row in rows
    }
    config = dataclasses.replace(UniGeoSegConfig(), connector=kind)
    with torch.device("meta"):
        model = UniGeoSeg(config)
    built = {name: tuple(tensor.shape) for name, tensor in published_state(model).items()}
    unused = unused_shapes(config)
    assert {**built, **unused} == published
    assert set(unused) == {row["key"] for row in rows if row["used_at_inference"] == "no"}
    assert not set(unused) & set(built)


@pytest.mark.slow
def test_sharded_folder(folder: Path, golden: Golden, tiny_model: UniGeoSeg) -> None:
    checkpoint = load_checkpoint(folder, with_language_head=True)
    assert checkpoint.model.config == TINY
    assert not checkpoint.model.training
    assert checkpoint.tokenizer.encode("a[SEG]") == [97, 300]
    expected = tiny_model.state_dict()
    for name, tensor in checkpoint.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    images = golden("e2e_ref")["images"]
    assert torch.equal(
        checkpoint.model.encode_image(images).tokens, tiny_model.encode_image(images).tokens
    )


def test_language_head_is_left_out_for_inference(folder: Path) -> None:
    model = load_checkpoint(folder).model
    assert model.lm_head is None
    assert "lm_head.weight" not in model.state_dict()


def test_split_attention_loads_alike(
    tiny_weights: dict[str, Tensor], golden: Golden, tiny_model: UniGeoSeg
) -> None:
    split = split_attention(tiny_weights, 4)
    assert "model.layers.0.self_attn.k_proj.bias" in split
    assert not any("query_key_value" in name for name in split)
    model = build_from_weights(TINY, split)
    recorded = golden("phi")
    mask = recorded["attention_mask"].bool()
    states = model.model.hidden_states(recorded["inputs_embeds"], mask)
    assert_near(states[mask], recorded["last_hidden_state"][mask], 1e-4)
    fused = fuse_attention(split, 4)
    assert fused.keys() == tiny_weights.keys()
    assert all(torch.equal(fused[name], tiny_weights[name]) for name in fused)


@pytest.mark.slow
def test_saving_and_loading_again(
    tmp_path: Path, tiny_model: UniGeoSeg, toy_tokenizer: ByteTokenizer
) -> None:
    save_checkpoint(tiny_model, toy_tokenizer, tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert names == {"config.json", "byte_tokenizer.json", "model.safetensors"}
    written = load_file(tmp_path / "saved" / "model.safetensors")
    assert "model.layers.0.self_attn.query_key_value.weight" in written
    loaded = load_checkpoint(tmp_path / "saved", with_language_head=True).model
    for name, tensor in tiny_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_connector_follows_the_weights(tiny_weights: dict[str, Tensor]) -> None:
    config = dataclasses.replace(TINY, connector="MSCC")
    assert build_from_weights(config, tiny_weights).config.connector == "SparseConv_1"


def test_constant_buffers_may_be_missing(
    tiny_weights: dict[str, Tensor], tiny_model: UniGeoSeg
) -> None:
    weights = {
        name: value
        for name, value in tiny_weights.items()
        if not name.endswith("relative_position_index")
    }
    assert len(weights) == len(tiny_weights) - 8
    state = build_from_weights(TINY, weights).state_dict()
    for name, value in tiny_model.state_dict().items():
        assert torch.equal(state[name], value), name


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_mask(
    folder: Path, golden: Golden, tiny_model: UniGeoSeg, dtype: torch.dtype
) -> None:
    model = load_checkpoint(folder, dtype=dtype).model
    assert model.model.vision_tower.patch_embed.proj.weight.dtype == dtype
    assert model.predictor.decoder_norm.weight.dtype == torch.float32
    images = golden("e2e_ref")["images"]
    features = model.encode_image(images)
    expected = tiny_model.encode_image(images)
    scale = expected.pixels.mask_features.abs().max()
    difference = (features.pixels.mask_features - expected.pixels.mask_features).abs().max()
    assert features.tokens.dtype == dtype
    assert features.pixels.mask_features.dtype == torch.float32
    assert 0.0 < difference / scale < (0.05 if dtype == torch.bfloat16 else 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_predicts_alike(
    folder: Path, golden: Golden, tiny_model: UniGeoSeg, dtype: torch.dtype
) -> None:
    recorded = golden("e2e_ref")
    request = Request(recorded["refer_ids.0"].tolist(), Task.REFERRING)
    model, tokenizer = load_checkpoint(folder, dtype=dtype)
    masks = []
    for network in (model, tiny_model):
        reader = ImagePredictor(network, encode_template(UNIFIED, tokenizer))
        image = reader.encode_image(recorded["images"])
        logits = reader.predict(image, [request, request])
        assert logits.dtype == torch.float32
        assert torch.isfinite(logits).all()
        masks.append(logits[0] > 0)
    assert (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "words"), [("SparseConv_1", 64), ("MSCC", 68), ("swin_conv", 64)])
def test_full_size_image_features(kind: ConnectorKind, words: int) -> None:
    with torch.device("meta"):
        model = UniGeoSeg(dataclasses.replace(UniGeoSegConfig(), connector=kind)).eval()
        features = model.encode_image(torch.empty(2, 3, 512, 512))
    assert features.tokens.shape == (2, words, 2048)
    assert features.coarse.shape == (2, 1024, 16, 16)
    assert features.pixels.mask_features.shape == (2, 256, 128, 128)
    assert [level.shape[-1] for level in features.pixels.multi_scale] == [16, 32, 64]


def broken(folder: Path) -> JobError:
    with pytest.raises(JobError) as caught:
        load_checkpoint(folder)
    return caught.value


def test_missing_and_unknown_weights(folder: Path) -> None:
    shard = load_file(folder / "one.safetensors")
    name = next(name for name in sorted(shard) if name.startswith("pixel_decoder."))
    shard["somewhere.else"] = shard.pop(name)
    save_file(shard, folder / "one.safetensors")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["somewhere.else"] = "one.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    error = broken(folder)
    assert error.code is ErrorCode.MODEL_INVALID
    assert f"1 missing ({name})" in error.message
    assert "1 unknown (somewhere.else)" in error.message


def test_weights_of_another_shape(folder: Path) -> None:
    config = TINY.to_json()
    config["segmentation"]["decoder_ffn"] = 64
    (folder / "config.json").write_text(json.dumps(config))
    assert "of another shape" in broken(folder).message


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    (folder / "two.safetensors").unlink()
    error = broken(folder)
    assert error.code is ErrorCode.MODEL_MISSING
    assert "two.safetensors" in error.message
    error = broken(tmp_path / "nowhere")
    assert error.code is ErrorCode.MODEL_MISSING
    assert "config.json" in error.message


def test_damaged_weights(folder: Path) -> None:
    (folder / "two.safetensors").write_bytes(b"\x08\x00\x00")
    error = broken(folder)
    assert error.code is ErrorCode.MODEL_INVALID
    assert "two.safetensors" in error.message


def test_another_kind_of_model(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "phi"}))
    error = broken(folder)
    assert error.code is ErrorCode.MODEL_INVALID
    assert "'phi'" in error.message


def test_published_configuration_keeps_the_published_sizes() -> None:
    published = {
        "architectures": ["PSALM"],
        "model_type": "llava_phi",
        "hidden_size": 2048,
        "vocab_size": 50297,
        "partial_rotary_factor": 0.5,
        "swin_type": "base",
        "mm_projector_type": "MSCC",
        "output_attentions": True,
        "image_grid_pinpoints": None,
    }
    expected = dataclasses.replace(UniGeoSegConfig(), connector="MSCC")
    assert UniGeoSegConfig.from_json(published) == expected
    assert UniGeoSegConfig.from_json(json.loads(json.dumps(TINY.to_json()))) == TINY


def write_byte_pairs(folder: Path, added: dict[str, int]) -> None:
    """A byte-pair tokenizer of the 256 bytes and one merge, in the older file layout."""
    from tokenizers.pre_tokenizers import ByteLevel

    vocabulary = {symbol: index for index, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    vocabulary["th"] = 256
    vocabulary["<|endoftext|>"] = 257
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\n")
    (folder / "added_tokens.json").write_text(json.dumps(added))


def test_byte_pair_tokenizer(tmp_path: Path) -> None:
    write_byte_pairs(tmp_path, {"  ": 258, "[PAD]": 259, "[SEG]": 260})
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.segmentation_id == 260
    assert tokenizer.encode("[SEG]") == [260]
    assert tokenizer.encode("th<|endoftext|>") == [256, 257]
    assert tokenizer.encode("th  th") == [256, 258, 256]
    assert len(tokenizer.encode(" the")) == 3


def test_tokenizer_without_the_segmentation_word(tmp_path: Path) -> None:
    write_byte_pairs(tmp_path, {"[PAD]": 258})
    with pytest.raises(JobError, match=r"does not know the word \[SEG\]"):
        load_tokenizer(tmp_path)


def test_folder_without_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="holds no tokenizer"):
        load_tokenizer(tmp_path)
