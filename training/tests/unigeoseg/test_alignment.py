"""Places of queries tied to places of the fine map."""

from __future__ import annotations

import torch

from geoseg_qgis.engine.models.unigeoseg.sequence import split_dialogue
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, encode_template
from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer
from training.unigeoseg.alignment import MIN_EXPLAINED, align_places, fit_waves
from training.unigeoseg.built_in import build_network
from training.unigeoseg.scene_batches import SceneBatches
from training.unigeoseg.stored_scenes import StoredScene


def test_alignment_finds_the_waves_that_queries_explain() -> None:
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(2000, 6, generator=generator)
    mixing = torch.randn(6, 2, generator=generator)
    waves = torch.cat([known @ mixing, torch.randn(2000, 1, generator=generator)], dim=1)
    weights, explained = fit_waves(known, waves)
    torch.testing.assert_close(weights[:, :2], mixing, rtol=0.03, atol=0.03)
    assert explained[:2].min() > 0.99
    assert float(explained[2]) < 0.05


def test_alignment_sets_the_positions_of_the_masks(
    scenes: list[StoredScene], tokenizer: BytePairTokenizer
) -> None:
    network = build_network(tokenizer, 0, 128)
    batches = SceneBatches(scenes, [], tokenizer, 128, 0)
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    drawn = [batches.draw(1, 24, 1.0) for _ in range(2)]
    explained = align_places(network.model, drawn, pieces)
    positions = network.model.pixel_decoder.mask_positions
    assert positions is not None
    assert len(explained) == 24
    used = positions.mix.weight.abs().sum(dim=0) > 0
    assert used.tolist() == [share > MIN_EXPLAINED for share in explained]
    assert network.training
