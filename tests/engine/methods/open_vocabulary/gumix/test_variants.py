"""Batches, large ids, flat windows, nodata and half precision."""

from __future__ import annotations

import copy

import pytest
import torch
from gumix_facts import read_facts
from open_clip import CLIP
from timm.models.eva import Eva
from torch import Tensor

from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.methods.open_vocabulary.gumix.window import window_logits
from geoseg_qgis.engine.models.clip_tokens import embed_tokens, run_block

PAPER = GumixSettings.paper()
GEO = GumixSettings.geo()


@pytest.fixture(scope="module")
def text() -> Tensor:
    return read_facts("window_forward")["query_features"]


def random_windows(count: int) -> tuple[Tensor, Tensor]:
    """Images (B, 3, 112, 112) and blocky region maps with a different number of regions each."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(count, 3, 112, 112, generator=generator)
    coarse = [
        torch.randint(0, 2 + 4 * index, (7, 7), generator=generator) for index in range(count)
    ]
    regions = torch.stack(coarse).repeat_interleave(16, dim=1).repeat_interleave(16, dim=2)
    return images, regions


@pytest.mark.parametrize("settings", [PAPER, GEO])
def test_a_batch_is_its_windows(
    clip: CLIP, dino: Eva, text: Tensor, settings: GumixSettings
) -> None:
    images, regions = random_windows(4)
    valid = torch.ones_like(regions, dtype=torch.bool)
    valid[2, :, :40] = False
    masks = None if settings is PAPER else valid
    together = window_logits(clip, dino, images, regions, text, settings=settings, valid=masks)
    assert together.shape == (4, 7, 112, 112)
    for index in range(4):
        one = slice(index, index + 1)
        alone = window_logits(
            clip,
            dino,
            images[one],
            regions[one],
            text,
            settings=settings,
            valid=None if masks is None else masks[one],
        )
        torch.testing.assert_close(together[one], alone, atol=2e-6, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_ids_of_any_size_give_the_same_scores(clip: CLIP, dino: Eva, text: Tensor) -> None:
    images, regions = random_windows(2)
    expected = window_logits(clip, dino, images, regions, text, settings=GEO)
    for offset in (9_990, 10_000_000_000):
        raised = torch.where(regions > 0, regions + offset, 0)
        logits = window_logits(clip, dino, images, raised, text, settings=GEO)
        assert torch.equal(logits, expected)


def test_a_window_without_id_zero(clip: CLIP, dino: Eva, text: Tensor) -> None:
    """The published method takes the smallest id for unsegmented, the raster variant does not."""
    images, regions = random_windows(2)
    regions = regions + 1
    paper = window_logits(clip, dino, images, regions, text, settings=PAPER)
    geo = window_logits(clip, dino, images, regions, text, settings=GEO)
    assert (paper - geo).abs().max() > 1e-4
    with_zero = torch.where(regions == 1, 0, regions)
    same = window_logits(clip, dino, images, with_zero, text, settings=GEO)
    assert (paper - same).abs().max() < 0.2


def test_flat_windows_stay_finite(clip: CLIP, dino: Eva, text: Tensor) -> None:
    images = torch.zeros(2, 3, 112, 112)
    regions = torch.zeros(2, 112, 112, dtype=torch.int64)
    valid = torch.ones(2, 112, 112, dtype=torch.bool)
    valid[1] = False
    for mask in (None, valid):
        logits = window_logits(clip, dino, images, regions, text, settings=GEO, valid=mask)
        assert torch.isfinite(logits).all()
        assert logits.abs().max() <= 1 + 1e-5


def test_nodata_does_not_reach_into_the_attention_of_valid_cells(
    clip: CLIP, dino: Eva, text: Tensor
) -> None:
    """Region ids below nodata are void, so changing them changes nothing."""
    images, regions = random_windows(2)
    valid = torch.ones_like(regions, dtype=torch.bool)
    valid[:, 64:] = False
    first = window_logits(clip, dino, images, regions, text, settings=GEO, valid=valid)
    changed = torch.where(valid, regions, 77)
    second = window_logits(clip, dino, images, changed, text, settings=GEO, valid=valid)
    assert torch.equal(first, second)
    everything = window_logits(clip, dino, images, regions, text, settings=GEO)
    assert (first - everything)[..., :60, :].abs().max() > 1e-4


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_half_precision_weights(
    clip: CLIP, dino: Eva, dtype: torch.dtype, tolerance: float
) -> None:
    facts = read_facts("window_forward")
    half = copy.deepcopy(clip).to(dtype)
    logits = window_logits(
        half,
        dino,
        facts["image"],
        facts["instance_masks"][None],
        facts["query_features"],
        settings=PAPER,
    )
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits[..., ::2, ::2], facts["logits_sub2"], atol=tolerance, rtol=0)


@torch.inference_mode()
def test_blocks_run_as_in_the_library(clip: CLIP) -> None:
    images = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    tokens, grid = embed_tokens(clip.visual, images)
    assert grid == (4, 4)
    for block in clip.visual.transformer.resblocks:
        tokens = run_block(block, tokens)
    pooled = clip.visual.ln_post(tokens)[:, 0] @ clip.visual.proj
    torch.testing.assert_close(pooled, clip.visual(images), atol=1e-5, rtol=0)
