"""The network against reference tensors, stage by stage, within the stated tolerances."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from geoseg_qgis.engine.models.segassess import SegAssess, SegAssessOutput
from geoseg_qgis.engine.models.segassess.decoder import prompt_on_grid
from geoseg_qgis.engine.models.segassess.edge import EdgeFusion
from geoseg_qgis.engine.models.segassess.encoder import Encoded

ReadCase = Callable[[str], dict[str, Tensor]]

STAGE = 5e-5
BLOCK = 1e-4
LOGITS = 2e-3


def difference(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape
    return float((actual - expected).detach().abs().max())


def record(outputs: dict[str, Tensor], name: str, module: nn.Module) -> None:
    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs[name] = output

    module.register_forward_hook(keep)


def run(model: SegAssess, case: dict[str, Tensor]) -> SegAssessOutput:
    with torch.no_grad():
        output: SegAssessOutput = model(case["image_u8"].float() / 255, case["mask_u8"].float())
    return output


def test_encoder_stages(tiny_model: SegAssess, read_case: ReadCase) -> None:
    case = read_case("encoder_256")
    encoder = tiny_model.image_encoder
    stages: dict[str, Tensor] = {}
    record(stages, "patch_embed", encoder.patch_embed)
    for index, layer in enumerate(encoder.blocks):
        record(stages, f"block{index}", layer)
    with torch.no_grad():
        neck, features, _ = encoder(case["image_u8"].float() / 255)
    tokens = stages["patch_embed"] + encoder.position_table(16, 16)
    assert difference(stages["patch_embed"], case["patch_embed"]) < STAGE
    assert difference(tokens, case["tokens_in"]) < STAGE
    for index in range(6):
        assert difference(stages[f"block{index}"], case[f"block{index}"]) < BLOCK
    assert difference(neck, case["neck"]) < BLOCK
    for feature, block in zip(features, (1, 3, 4, 5)):
        assert torch.equal(feature, stages[f"block{block}"])


def test_prompt_stages(tiny_model: SegAssess, read_case: ReadCase) -> None:
    case = read_case("prompt_256")
    prompt = tiny_model.prompt_encoder
    stages: dict[str, Tensor] = {}
    for index in range(6):
        record(stages, f"mask_downscaling.{index}", prompt.mask_downscaling[index])
    with torch.no_grad():
        dense = prompt(case["mask_u8"].float())
    for name, stage in stages.items():
        assert difference(stage, case[name]) < STAGE, name
    assert difference(dense, case["dense"]) < STAGE
    assert difference(prompt.pe_layer(16, 16), case["image_pe"]) < STAGE


def test_decoder_stages(tiny_model: SegAssess, read_case: ReadCase) -> None:
    case = read_case("decoder_256")
    decoder = tiny_model.mask_decoder
    stages: dict[str, Tensor] = {}
    record(stages, "embedding_encoder", decoder.embedding_encoder)
    record(stages, "compress_vit_feat", decoder.compress_vit_feat)
    record(stages, "upscaled_sam", decoder.output_upscaling)
    record(stages, "upscaled_hq", decoder.embedding_maskfeature)
    for index in range(4):
        record(stages, f"hyper_sam.{index}", decoder.output_hypernetworks_mlps[index])
        record(stages, f"hyper_hq.{index}", decoder.hf_mlps[index])
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for index, layer in enumerate([*decoder.transformer.layers, decoder.transformer]):
        layer.register_forward_hook(
            lambda _module, _inputs, output, index=index: pairs.update({str(index): output})
        )
    with torch.no_grad():
        embedding = case["in.image_embeddings"]
        details = decoder.details(Encoded(embedding, [case["in.interm0_nhwc"]], None))
        output = decoder(embedding, details, case["in.dense"], case["in.image_pe"])
        source = case["in.image_embeddings"] + prompt_on_grid(
            case["in.dense"], (16, 16), "bilinear"
        )
        score = decoder.iou_prediction_head(pairs["2"][0][:, 0])
    assert len(stages) == 12
    for name, stage in stages.items():
        assert difference(stage, case[name]) < STAGE, name
    assert difference(source, case["tr.src_in"]) < STAGE
    for index in range(2):
        assert difference(pairs[str(index)][0], case[f"tr.layer{index}.queries"]) < STAGE
        assert difference(pairs[str(index)][1], case[f"tr.layer{index}.keys"]) < STAGE
    assert difference(pairs["2"][0], case["tr.hs"]) < STAGE
    assert difference(pairs["2"][1], case["tr.src"]) < STAGE
    assert difference(output.mask, case["masks_sam"]) < BLOCK
    assert difference(output.high_quality, case["masks_hq"]) < BLOCK
    assert difference(output.coarse, case["masks"]) < BLOCK
    assert difference(score, case["iou_head(unused)"]) < BLOCK


def test_edge_branch_stages(tiny_model: SegAssess, read_case: ReadCase) -> None:
    case = read_case("egc_76_b2")
    branch = tiny_model.TCCA
    stages: dict[str, Tensor] = {}
    for name in ("filter_13", "filter_31", "filter_15", "filter_51", "dc_1", "dc_2", "dc_3"):
        record(stages, f"asf.{name}", getattr(branch.TFA, name))
    record(stages, "asf.cbam", branch.TFA.CBAM)
    record(stages, "asf.out", branch.TFA)
    for name in ("side1", "side2", "side3", "side4", "side4_w"):
        record(stages, f"egc.{name}", getattr(branch, name))
    record(stages, "egc.ada_weights", branch.ada_learner)
    for name in ("conv_in_x", "conv_in_c"):
        record(stages, f"bpm.{name}", getattr(branch.BPM, name))
    for name in ("conv_in_q", "conv_in_k", "conv_in_v", "conv_out"):
        record(stages, f"bpm.{name}", getattr(branch.BPM.CA, name))
    with torch.no_grad():
        logits, edge = branch([case[f"in.f{i}"] for i in range(1, 5)], case["in.coarse"])
    stages["egc.ada_weights"] = stages["egc.ada_weights"][:, None]
    limits = {"asf": STAGE, "egc": STAGE, "bpm": BLOCK}
    for name, stage in stages.items():
        limit = limits[name.split(".")[0]]
        limit = {"egc.ada_weights": BLOCK, "bpm.conv_out": LOGITS}.get(name, limit)
        assert difference(stage, case[name]) < limit, name
    attention = (stages["bpm.conv_in_q"] * stages["bpm.conv_in_k"]).softmax(1)
    assert difference(attention, case["bpm.attn"]) < LOGITS
    assert difference(edge, case["out.edge"]) < BLOCK
    assert difference(logits, case["out.logits"]) < LOGITS


def test_edge_fusion_adds_the_gated_map(tiny_model: SegAssess, read_case: ReadCase) -> None:
    case = read_case("egc_76_b2")
    fusion = tiny_model.TCCA.BPM
    assert isinstance(fusion, EdgeFusion)
    seen: list[Tensor] = []
    fusion.CA.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        fusion(case["in.coarse"], case["out.edge"])
    assert difference(seen[0], case["bpm.x_cond"]) < BLOCK


@pytest.mark.parametrize("name", ["e2e_256", "e2e_76_b2"])
def test_whole_network(tiny_model: SegAssess, read_case: ReadCase, name: str) -> None:
    case = read_case(name)
    output = run(tiny_model, case)
    assert difference(output.coarse_logits, case["masks_coarse_full"]) < BLOCK
    assert difference(output.edge_logits, case["edge_logits"]) < BLOCK
    assert difference(output.logits, case["logits"]) < LOGITS
    best, second = case["logits"].topk(2, dim=1).values.unbind(1)
    certain = best - second > 5e-3
    assert certain.float().mean() > 0.9
    assert torch.equal(output.logits.argmax(1)[certain].byte(), case["class_map"][certain])


def test_whole_network_parts(tiny_model: SegAssess, read_case: ReadCase) -> None:
    case = read_case("e2e_76_b2")
    output = run(tiny_model, case)
    assert difference(output.mask_logits, case["masks_sam_full"]) < BLOCK
    assert difference(output.quality_logits, case["masks_hq_full"]) < BLOCK
    with torch.no_grad():
        embedding = tiny_model.image_encoder(case["image_u8"].float() / 255).embedding
        dense = tiny_model.prompt_encoder(case["mask_u8"].float())
    assert difference(embedding, case["neck"]) < BLOCK
    assert difference(dense, case["dense"]) < STAGE
    source = embedding + prompt_on_grid(dense, (4, 4), "bilinear")
    assert difference(source, case["dec_src_in"]) < BLOCK
    probabilities = output.logits.softmax(1)
    assert difference(probabilities, case["prob"]) < 1e-3
    object_probability = probabilities[:, [0]] + probabilities[:, [3]]
    refined = case["mask_u8"] + probabilities[:, [3]] - probabilities[:, [1]]
    assert difference(object_probability, case["pos_prob"]) < 1e-3
    assert difference(refined, case["refined"]) < 1e-3


def test_incomplete_patches_are_not_read(tiny_model: SegAssess, read_case: ReadCase) -> None:
    case = read_case("e2e_76_b2")
    expected = run(tiny_model, case)
    changed = case["image_u8"].clone()
    changed[:, :, 64:] = 255 - changed[:, :, 64:]
    changed[:, :, :, 64:] = 7
    actual = run(tiny_model, case | {"image_u8": changed})
    for one, other in zip(actual, expected):
        assert torch.equal(one, other)


def outside_patch_centres(size: int) -> Tensor:
    inside = (torch.arange(size) % 16 >= 4) & (torch.arange(size) % 16 < 12)
    return ~(inside[:, None] & inside[None, :])


def test_only_patch_centres_of_the_mask_are_read(
    tiny_model: SegAssess, read_case: ReadCase
) -> None:
    case = read_case("e2e_76_b2")
    case = case | {key: case[key][:, :, :64, :64] for key in ("image_u8", "mask_u8")}
    ignored = outside_patch_centres(64)
    flipped = torch.where(ignored, 1 - case["mask_u8"], case["mask_u8"])
    expected = run(tiny_model, case)
    assert torch.equal(run(tiny_model, case | {"mask_u8": flipped}).logits, expected.logits)
    unseen = 1 - case["mask_u8"]
    assert not torch.equal(run(tiny_model, case | {"mask_u8": unseen}).logits, expected.logits)


def test_half_precision_encoder_gives_full_precision_maps(
    tiny_model: SegAssess, read_case: ReadCase
) -> None:
    case = read_case("e2e_76_b2")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = run(tiny_model, case)
    assert output.logits.dtype is torch.float32
    assert output.edge_logits.dtype is torch.float32
    scale = float(case["edge_logits"].abs().max())
    assert difference(output.edge_logits, case["edge_logits"]) < 0.1 * scale
