"""Networks that start from the weights of smaller ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from small_unigeoseg import SMALL, TOKENIZER
from torch import nn

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint, save_checkpoint
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from training.trainer import Plan, Trainer
from training.unigeoseg.training_step import Heads, TrainedNetwork
from training.unigeoseg.warm_start import start_from


def network_of(side: int, depths: tuple[int, ...], decoder_layers: int = 3) -> TrainedNetwork:
    vision = dataclasses.replace(SMALL.vision, image_size=side, depths=depths)
    head = dataclasses.replace(SMALL.segmentation, decoder_layers=decoder_layers)
    torch.manual_seed(1)
    config = dataclasses.replace(SMALL, vision=vision, segmentation=head)
    return TrainedNetwork(UniGeoSeg(config, False)).eval()


def heads_of(network: TrainedNetwork) -> Heads:
    assert network.heads is not None
    return network.heads


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    torch.manual_seed(2)
    save_checkpoint(UniGeoSeg(SMALL, False), TOKENIZER, tmp_path / "small")
    return tmp_path / "small"


def test_new_blocks_of_the_tower_change_nothing_at_first(small_folder: Path) -> None:
    small, grown = network_of(64, (1, 1, 1, 1)), network_of(64, (2, 1, 3, 1))
    start_from(small, small_folder)
    new = [name for name in start_from(grown, small_folder) if name.startswith("model.")]
    assert {tuple(name.split(".")[4:7]) for name in new} == {
        ("0", "blocks", "1"), ("2", "blocks", "1"), ("2", "blocks", "2"),
    }  # fmt: skip
    pixels = torch.randn(1, 3, 64, 64)
    expected, found = small.model.encode_image(pixels), grown.model.encode_image(pixels)
    assert torch.equal(found.pixels.mask_features, expected.pixels.mask_features)
    assert torch.equal(found.tokens, expected.tokens)


def test_new_layers_of_the_mask_decoder_change_nothing_at_first(small_folder: Path) -> None:
    small, grown = network_of(64, (1, 1, 1, 1)), network_of(64, (1, 1, 1, 1), decoder_layers=5)
    start_from(small, small_folder)
    new = [name for name in start_from(grown, small_folder) if name.startswith("model.")]
    assert {name.split("_layers.")[1][0] for name in new} == {"3", "4"}
    features = small.model.encode_image(torch.randn(1, 3, 64, 64)).pixels
    query = torch.randn(1, 2, 32)
    expected, found = small.model.predictor(features, query), grown.model.predictor(features, query)
    assert (len(expected), len(found)) == (4, 6)
    for one in found[3:]:
        torch.testing.assert_close(one, expected[-1], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(expected[-2], expected[-1], rtol=1e-3, atol=1e-3)


def test_a_larger_square_starts_with_resized_maps(small_folder: Path) -> None:
    small, larger = load_checkpoint(small_folder), network_of(96, (1, 1, 1, 1))
    with torch.no_grad():
        small.model.model.mm_projector.norm1.weight.copy_(torch.tensor([0.0, 1.0]))
    save_checkpoint(small.model, None, small_folder)
    start_from(larger, small_folder)
    weight = larger.model.model.mm_projector.norm1.weight
    assert weight.shape == (32, 3, 3)
    assert torch.equal(weight, torch.tensor([0.0, 0.5, 1.0]).expand(32, 3, 3))
    assert larger.model.encode_image(torch.randn(1, 3, 96, 96)).tokens.shape == (1, 4, 32)


def test_a_run_starts_with_all_that_another_one_learnt(tmp_path: Path) -> None:
    first = network_of(64, (1, 1, 1, 1))
    Trainer(first, Plan(tmp_path, 0.0), {}).save()
    second = network_of(64, (2, 1, 1, 1))
    nn.init.zeros_(heads_of(second).fine.layer.weight)
    new = start_from(second, tmp_path)
    assert {name.split(".layers.")[1][:10] for name in new} == {"0.blocks.1"}
    assert torch.equal(heads_of(second).fine.layer.weight, heads_of(first).fine.layer.weight)


def test_another_width_is_refused(small_folder: Path) -> None:
    vision = dataclasses.replace(SMALL.vision, embed_dim=32)
    wider = TrainedNetwork(UniGeoSeg(dataclasses.replace(SMALL, vision=vision), False))
    with pytest.raises(ValueError, match=r"is .* here and .* in the weights"):
        start_from(wider, small_folder)


def test_weights_without_a_place_are_refused(small_folder: Path) -> None:
    segmentation = dataclasses.replace(SMALL.segmentation, encoder_layers=2)
    deeper = TrainedNetwork(UniGeoSeg(dataclasses.replace(SMALL, segmentation=segmentation), False))
    with pytest.raises(ValueError, match="only in one of"):
        start_from(deeper, small_folder)


def test_heads_for_other_facts_start_anew(tmp_path: Path) -> None:
    first, second = network_of(64, (1, 1, 1, 1)), network_of(64, (1, 1, 1, 1))
    Trainer(first, Plan(tmp_path, 0.0), {}).save()
    heads_of(second).fine.layer = nn.Conv2d(32, 3, 1)
    new = start_from(second, tmp_path)
    assert new == ["heads.fine.layer.weight", "heads.fine.layer.bias"]
