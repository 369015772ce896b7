"""The window forward pass against recorded tensors."""

from __future__ import annotations

import pytest
import torch
from gumix_facts import read_case, read_facts
from open_clip import CLIP
from timm.models.eva import Eva

from geoseg_qgis.engine.methods.open_vocabulary.gumix.complexity import complexity_map
from geoseg_qgis.engine.methods.open_vocabulary.gumix.correlation import (
    allowed_pairs,
    complexity_on_grid,
    dino_input,
    dino_layers,
    layer_weights,
    similarity_mean,
)
from geoseg_qgis.engine.methods.open_vocabulary.gumix.region_tokens import (
    reconstruct_values,
    region_permission,
    run_tower,
    spread_regions,
    upsample_values,
    window_embeddings,
)
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.methods.open_vocabulary.gumix.window import (
    fused_features,
    scope_cells,
    window_logits,
)
from geoseg_qgis.engine.models.clip_tokens import embed_tokens, resize_position_embedding

PAPER = GumixSettings.paper()
CASES = (
    "square_multi",
    "nonsquare_padded",
    "no_zero_id",
    "all_unsegmented",
    "one_instance_no_merge",
    "native_grid",
    "dbscan_chain",
)


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_visual_tower(clip: CLIP, case: str) -> None:
    facts = read_case(read_facts("visual_tower"), case)
    features = facts["dino_feats"]
    grid = (int(facts["feat_shape"][0]), int(facts["feat_shape"][1]))
    regions = facts["instance_masks"][None]
    scope = scope_cells(features, grid, regions, PAPER)

    expected = facts["merged_masks"]
    ids = torch.unique(expected)
    assert torch.equal(scope.codes[0], torch.searchsorted(ids, expected))
    similarity = features @ features.transpose(1, 2)
    torch.testing.assert_close(
        similarity_mean(similarity).reshape(1), facts["similarity_mean"], atol=1e-6, rtol=0
    )
    allowed = allowed_pairs(similarity, scope.codes.flatten(1), PAPER)
    assert torch.equal(allowed[0], facts["allowed"])
    if "attn_weights" in facts:
        torch.testing.assert_close(scope.attention[0], facts["attn_weights"], atol=1e-6, rtol=0)

    tower = run_tower(clip.visual, facts["image"], scope.codes, PAPER)
    patches = torch.unique(facts["token_masks"])
    assert torch.equal(tower.region_of_patch[0], torch.searchsorted(patches, facts["token_masks"]))
    permission = region_permission(tower.region_of_patch, torch.float32)[0, 0]
    count = len(permission)
    blocked = facts["attn_mask_true_is_blocked"]
    assert torch.equal(permission.isinf(), blocked[:count, count:])
    assert blocked[:, :count].all()
    assert not blocked[count:, count:].any()
    torch.testing.assert_close(tower.regions[0], facts["mct"], atol=1e-4, rtol=0)

    output = window_embeddings(clip.visual, facts["image"], scope.codes, scope.attention, PAPER)
    torch.testing.assert_close(output, facts["output"], atol=2e-5, rtol=0)


@torch.inference_mode()
def test_branches(clip: CLIP) -> None:
    facts = read_case(read_facts("visual_tower"), "square_multi")
    tokens, patches = embed_tokens(clip.visual, facts["image"])
    torch.testing.assert_close(tokens[0], facts["tokens_after_ln_pre"], atol=1e-5, rtol=0)
    scope = scope_cells(facts["dino_feats"], (14, 14), facts["instance_masks"][None], PAPER)
    tower = run_tower(clip.visual, facts["image"], scope.codes, PAPER)
    torch.testing.assert_close(tower.spatial[0], facts["spatial_mean"], atol=2e-5, rtol=0)
    streams = torch.stack([tower.main, tower.spatial])
    block = clip.visual.transformer.resblocks[-1]
    values = upsample_values(block, streams, patches, (14, 14))[:, 0]
    torch.testing.assert_close(values, facts["v_upsampled"], atol=2e-5, rtol=0)
    mixed = reconstruct_values(block, streams, patches, scope.attention, (14, 14))[:, 0]
    torch.testing.assert_close(mixed, facts["x_main_spatial"], atol=2e-5, rtol=0)
    semantic = spread_regions(tower, (14, 14))[0]
    torch.testing.assert_close(semantic, facts["x_semantic"], atol=2e-5, rtol=0)


def test_position_embedding(clip: CLIP) -> None:
    facts = read_facts("pos_embed")
    table = clip.visual.positional_embedding.detach()
    for name, expected in facts.items():
        height, width = (int(side) for side in name.removeprefix("pos_").split("x"))
        resized = resize_position_embedding(table, (4, 4), (height // 14, width // 14))
        if len(resized) != len(expected):
            resized = resized[::7]
        torch.testing.assert_close(resized, expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_window_forward(clip: CLIP, dino: Eva) -> None:
    facts = read_facts("window_forward")
    image, regions = facts["image"], facts["instance_masks"][None]
    enlarged = dino_input(image, PAPER)
    torch.testing.assert_close(enlarged[..., ::4, ::4], facts["dino_input_sub4"], atol=1e-5, rtol=0)
    layers, grid = dino_layers(dino, enlarged, 4)
    assert grid == (14, 21)
    torch.testing.assert_close(layers[:, 0], facts["dino_layers"], atol=1e-5, rtol=0)
    complexity = complexity_map(regions, PAPER)
    torch.testing.assert_close(complexity[0], facts["complexity_window"], atol=1e-6, rtol=0)
    cells = complexity_on_grid(complexity, grid)
    torch.testing.assert_close(cells[0], facts["complexity_patch"], atol=1e-6, rtol=0)
    torch.testing.assert_close(
        layer_weights(cells, PAPER)[:, 0], facts["layer_weights"], atol=1e-6, rtol=0
    )
    fused, _ = fused_features(dino, image, regions, PAPER)
    torch.testing.assert_close(fused, facts["dino_feats_fused"], atol=1e-5, rtol=0)
    logits = window_logits(clip, dino, image, regions, facts["query_features"], settings=PAPER)
    torch.testing.assert_close(logits[..., ::2, ::2], facts["logits_sub2"], atol=1e-6, rtol=0)
