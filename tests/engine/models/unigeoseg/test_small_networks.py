"""What small networks have beside the published one: positions, open layers, waves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from unigeoseg_facts import TINY

from geoseg_qgis.engine.models.unigeoseg.configuration import UniGeoSegConfig
from geoseg_qgis.engine.models.unigeoseg.mask_decoder import MaskDecoder, blocked_cells
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.pixel_decoder import PixelFeatures
from geoseg_qgis.engine.models.unigeoseg.position_encoding import FourierPositions
from geoseg_qgis.engine.models.unigeoseg.task_enhancement import place_coordinates


def test_positions_are_part_of_small_networks_alone() -> None:
    vision = dataclasses.replace(TINY.vision, position_frequencies=3)
    head = dataclasses.replace(TINY.segmentation, position_frequencies=3)
    config = dataclasses.replace(TINY, vision=vision, segmentation=head)
    assert UniGeoSegConfig.from_json(config.to_json()) == config
    names = set(UniGeoSeg(config).state_dict()) - set(UniGeoSeg(TINY).state_dict())
    assert names == {
        "model.vision_tower.patch_positions.mix.weight",
        "pixel_decoder.fine_positions.mix.weight",
        "pixel_decoder.mask_positions.mix.weight",
    }
    positions = FourierPositions(2, 8)
    with torch.no_grad():
        positions.mix.weight.copy_(torch.eye(8))
        grid = positions(4, 2)
    assert grid.shape == (4, 2, 8)
    assert grid[0, :, 0].tolist() == pytest.approx([np.sin(np.pi / 4), np.sin(3 * np.pi / 4)])
    assert grid[:, 0, 7].tolist() == pytest.approx(np.cos(np.pi * np.arange(1, 8, 2) / 4), abs=1e-6)


def test_open_layers_read_what_the_first_mask_leaves_out() -> None:
    maps = [torch.randn(1, 64, size, size) for size in (4, 8, 16)]
    fine = torch.randn(1, 64, 32, 32)
    query = torch.randn(1, 1, 64)
    changed = {}
    for layers in (0, 3):
        torch.manual_seed(0)
        head = dataclasses.replace(TINY.segmentation, decoder_layers=3, open_layers=layers)
        decoder = MaskDecoder(head).eval()
        first = decoder.predict(query, fine)
        # What lies outside the mask: one corner, which no level's average touches.
        corner = torch.zeros(1, 1, 32, 32)
        corner[..., :16, :16] = 1.0
        shown = torch.where(corner > 0, -fine * first.sign(), fine * first.sign())
        other = [level.clone() for level in maps]
        for level in other:
            level[..., : level.shape[-1] // 4, : level.shape[-1] // 4] += 5.0
        with torch.no_grad():
            masks = [decoder(PixelFeatures(shown, levels), query)[1] for levels in (maps, other)]
        changed[layers] = float((masks[0] - masks[1]).abs().max())
    assert changed[0] == 0.0
    assert changed[3] > 0.0


def test_small_answers_may_stay_in_sight_of_coarse_levels() -> None:
    logits = torch.full((1, 1, 32, 32), -5.0)
    logits[..., 0, 0] = 1.0
    logits[..., 16:, 16:] = 5.0
    size = torch.Size((4, 4))
    seen = ~blocked_cells(logits, size).view(4, 4)
    kept = ~blocked_cells(logits, size, keep_small=True).view(4, 4)
    large = torch.zeros(4, 4, dtype=torch.bool)
    large[2:, 2:] = True
    assert torch.equal(seen, large)
    large[0, 0] = True
    assert torch.equal(kept, large)


def test_coordinates_come_with_their_waves() -> None:
    projection = torch.nn.Linear(12, 12, bias=False)
    with torch.no_grad():
        projection.weight.copy_(torch.eye(12))
        points = place_coordinates(torch.tensor([[0.5, 0.25]]), projection, 3, frequencies=1)
    half = np.sqrt(0.5)
    expected = [0.5, 0.25, 0.0, 0.0, 1.0, 0.0, half, half, 0.0, 0.0, 0.0, 0.0]
    assert points[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert points[1:].abs().sum() == 0.0
