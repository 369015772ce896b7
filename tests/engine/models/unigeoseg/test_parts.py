"""Every part of the network against tensors recorded from the reference."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from unigeoseg_facts import Golden, assert_near

from geoseg_qgis.engine.models.unigeoseg.connector import build_connector, detect_connector
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.pixel_decoder import PixelFeatures
from geoseg_qgis.engine.models.unigeoseg.position_encoding import sine_positions
from geoseg_qgis.engine.models.unigeoseg.sequence import (
    Request,
    assemble,
    pad_sequences,
    split_dialogue,
)
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import Dialogue


@pytest.mark.parametrize("case", ["sq", "rect", "odd"])
def test_swin_tower(golden: Golden, tiny_model: UniGeoSeg, case: str) -> None:
    recorded = golden("swin")
    maps = tiny_model.model.vision_tower(recorded[f"{case}.pixel_values"])
    for level, features in enumerate(maps, start=2):
        assert_near(features, recorded[f"{case}.res{level}"], 1e-4)


@pytest.mark.parametrize(
    ("kind", "case", "source", "target"),
    [
        ("SparseConv_1", "sparseconv", "input", "out"),
        ("MSCC", "mscc", "input", "out"),
        ("MSCC", "mscc", "input16", "out16"),
    ],
)
def test_connector(golden: Golden, kind: str, case: str, source: str, target: str) -> None:
    recorded = golden("projector")
    prefix = f"{case}.weights."
    weights = {
        name.removeprefix(prefix): value
        for name, value in recorded.items()
        if name.startswith(prefix)
    }
    assert detect_connector(f"model.mm_projector.{name}" for name in weights) == kind
    connector = build_connector(kind, 32, 48, 8)
    connector.load_state_dict(weights, strict=True)
    assert_near(connector(recorded[source]), recorded[f"{case}.{target}"], 1e-4)


def test_residual_connector_applies_its_second_convolution_twice() -> None:
    connector = build_connector("swin_conv", 2, 3, 4).eval()
    block = connector.get_submodule("layer1.0")
    for name, parameter in block.named_parameters():
        if "conv" in name:
            nn.init.zeros_(parameter)
    scale = 1.0 / (1.0 + 1e-5) ** 0.5
    with torch.no_grad():
        block.get_parameter("conv1.weight")[:, :, 1, 1] = 1.0
        block.get_parameter("conv2.weight")[:, :, 1, 1] = torch.eye(3) * 2.0
        nn.init.zeros_(block.get_parameter("downsample.0.weight"))
        connector.get_parameter("fc.weight").copy_(torch.eye(3))
        nn.init.zeros_(connector.get_parameter("fc.bias"))
        words = connector(torch.ones(1, 2, 4, 4))
    assert words.shape == (1, 4, 3)
    assert_near(words, torch.full((1, 4, 3), 2.0 * 4.0 * scale * scale), 1e-5)


def test_language_model_with_padding(golden: Golden, tiny_model: UniGeoSeg) -> None:
    recorded = golden("phi")
    mask = recorded["attention_mask"].bool()
    states = tiny_model.model.hidden_states(recorded["inputs_embeds"], mask)
    assert_near(states[mask], recorded["last_hidden_state"][mask], 1e-4)
    assert tiny_model.lm_head is not None
    assert_near(tiny_model.lm_head(states)[mask], recorded["logits"][mask], 1e-4)


def test_a_shared_prefix_gives_the_same_states(golden: Golden, tiny_model: UniGeoSeg) -> None:
    recorded = golden("phi")
    mask = recorded["attention_mask"].bool()
    embeddings = recorded["inputs_embeds"]
    start = embeddings[:1, :6]
    rest = embeddings[:, 6:]
    whole = torch.cat([start.expand(2, -1, -1), rest], dim=1)
    expected = tiny_model.model.hidden_states(whole, mask)[:, 6:]
    prefix = tiny_model.model.run_prefix(start)
    for _ in range(2):
        states = tiny_model.model.continue_from(prefix, rest, mask[:, 6:])
        assert_near(states[mask[:, 6:]], expected[mask[:, 6:]], 1e-5)


@pytest.mark.parametrize(
    ("case", "task"),
    [
        ("ref", Task.REFERRING),
        ("reason", Task.REASONING),
        ("intera_1pt", Task.INTERACTIVE),
        ("intera_3pt", Task.INTERACTIVE),
        ("intera_3pt_short", Task.INTERACTIVE),
        ("intera_box", Task.INTERACTIVE),
        ("intera_none", Task.INTERACTIVE),
    ],
)
def test_task_enhancement(golden: Golden, tiny_model: UniGeoSeg, case: str, task: Task) -> None:
    recorded = golden("tate")
    ids = recorded["chunk_ids"][: len(recorded[f"{case}.out"])].tolist()
    coordinates = recorded.get(f"{case.removesuffix('_short')}.coords")
    words = tiny_model.embed_ids(ids)
    assert_near(words, recorded["base_embed"][: len(ids)], 1e-6)
    enhanced = tiny_model.enhance(words, Request((), task, coordinates))
    assert_near(enhanced, recorded[f"{case}.out"], 1e-5)


def test_referring_weights_and_pooling(golden: Golden, tiny_model: UniGeoSeg) -> None:
    recorded = golden("tate")
    words = recorded["base_embed"]
    assert_near(tiny_model.ref_attn.weights(words).t(), recorded["ref.attn_weights"], 1e-5)
    assert_near(tiny_model.ref_attn.pool(words), recorded["attention_pooling.out"], 1e-5)


def test_sequence_assembly(golden: Golden, tiny_model: UniGeoSeg) -> None:
    recorded = golden("tate")
    ids = recorded["input_ids"].tolist()
    instruction = (0, 1, 2, 3, 4)

    def embed(words: Sequence[int]) -> Tensor:
        if words is instruction:
            return recorded["refer_embedding"]
        return tiny_model.embed_ids(words)

    utterance = assemble(
        split_dialogue(Dialogue(ids, ids)),
        recorded["image_features"],
        Request(instruction, Task.REFERRING),
        embed,
        tiny_model.enhance,
    )
    assert_near(utterance.embeddings, recorded["ref.full_sequence"], 1e-5)
    assert utterance.instruction.long().tolist() == recorded["refer_indices"].tolist()


@pytest.mark.parametrize("task", list(Task))
def test_pooling_and_memory(golden: Golden, tiny_model: UniGeoSeg, task: Task) -> None:
    recorded = golden("lkm")
    mask = recorded["refer_indices"].bool()
    pooled = tiny_model.pool_instruction(
        recorded["hidden_states"], mask, [task.memory_strength] * 2
    )
    assert_near(pooled, recorded[f"{task.value}.pooled"], 1e-5)


def test_empty_instruction_skips_the_memory(golden: Golden, tiny_model: UniGeoSeg) -> None:
    recorded = golden("lkm")
    mask = recorded["empty_refer.indices"].bool()
    pooled = tiny_model.pool_instruction(recorded["hidden_states"], mask, [0.2, 0.2])
    assert_near(pooled, recorded["empty_refer.pooled"], 1e-5)
    assert pooled[1].abs().max() == 0.0


def test_description_query(golden: Golden, tiny_model: UniGeoSeg) -> None:
    recorded = golden("condition")
    pooled = torch.stack([recorded[f"pooled_plus_tokens.{row}"][0] for row in range(2)])
    query = tiny_model.describe(pooled, recorded["res5"])
    assert_near(query, recorded["cond"], 1e-5)


def test_deformable_attention(golden: Golden, tiny_model: UniGeoSeg) -> None:
    recorded = golden("msdeform_attn")
    attention = tiny_model.pixel_decoder.get_submodule("transformer.encoder.layers.0.self_attn")
    shapes = [tuple(shape) for shape in recorded["spatial_shapes"].tolist()]
    inputs = (recorded["query"], recorded["reference_points"], recorded["value_input"], shapes)
    assert_near(attention(*inputs), recorded["out"], 1e-5)
    masked = attention(*inputs, padding_mask=recorded["padding_mask"].bool())
    assert_near(masked, recorded["out_masked"], 1e-5)


def test_pixel_decoder(golden: Golden, tiny_model: UniGeoSeg) -> None:
    recorded = golden("pixel_decoder")
    features = tiny_model.pixel_decoder([recorded[f"res{level}"] for level in range(2, 6)])
    assert_near(features.mask_features, recorded["mask_features"], 1e-4)
    for index, level in enumerate(features.multi_scale):
        assert_near(level, recorded[f"multi_scale.{index}"], 1e-4)
    for name in ("res3", "res5"):
        height, width = recorded[name].shape[-2:]
        encoded = sine_positions(height, width, 64, torch.device("cpu"))
        assert_near(encoded, recorded[f"pos_embed_{name}"], 1e-5)


@pytest.mark.parametrize("case", ["normal", "all_masked"])
def test_mask_decoder(golden: Golden, tiny_model: UniGeoSeg, case: str) -> None:
    recorded = golden("predictor")
    features = PixelFeatures(
        recorded[f"{case}.mask_features"], [recorded[f"multi_scale.{index}"] for index in range(3)]
    )
    predictions = tiny_model.predictor(features, recorded[f"{case}.cond"])
    expected: list[Tensor] = [recorded[f"{case}.aux_masks.{index}"] for index in range(5)]
    expected.append(recorded[f"{case}.pred_masks"])
    assert len(predictions) == 6
    for actual, wanted in zip(predictions, expected, strict=True):
        assert_near(actual, wanted, 1e-3)


def test_padding_marks(golden: Golden, tiny_model: UniGeoSeg) -> None:
    recorded = golden("tate")
    ids = recorded["input_ids"].tolist()
    pieces = split_dialogue(Dialogue(ids, ids))
    words = recorded["image_features"]
    batch = pad_sequences(
        [
            tiny_model.assemble(pieces, words, Request(instruction, Task.REASONING))
            for instruction in ([5], [5, 6, 7])
        ]
    )
    assert batch.mask.sum(1).tolist() == [14, 16]
    assert batch.labels[0, 14:].tolist() == [-100, -100]
    assert batch.embeddings[0, 14:].abs().max() == 0.0
