"""Batches of drawn scenes and of weakly labelled images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer
from training.crops import CropSampler
from training.datasets import LabelledImage
from training.land_cover import BIT
from training.scenes.legend import CLASS_ID
from training.unigeoseg.batches import network_input
from training.unigeoseg.queries import MIN_PIXELS, RequestSampler
from training.unigeoseg.scene_batches import SceneBatches, cell_shares
from training.unigeoseg.stored_scenes import SIDE, WIDE_SIDE, StoredScene, stored_scenes


def test_cell_shares_keep_the_area() -> None:
    masks = (torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(1)) > 0.7).float()
    plain = torch.nn.functional.avg_pool2d(masks, 4)
    assert torch.allclose(cell_shares(masks, 64), plain, atol=1e-6)
    finer = cell_shares(masks, 96)
    assert finer.shape == (3, 96, 96)
    assert torch.allclose(finer.mean(dim=(1, 2)), masks.mean(dim=(1, 2)), atol=1e-5)
    half = torch.zeros(1, 256, 256)
    half[:, :, :4] = 1.0
    row = cell_shares(half, 96)[0, 0]
    assert row[:3].tolist() == pytest.approx([1.0, 0.5, 0.0], abs=1e-6)


def test_enlarged_batches_have_the_same_requests_and_masks(
    scenes: list[StoredScene], tokenizer: BytePairTokenizer
) -> None:
    plain = SceneBatches(scenes, [], tokenizer, SIDE, 3).draw(2, 6, 1.0)
    larger = SceneBatches(scenes, [], tokenizer, 384, 3).draw(2, 6, 1.0)
    assert plain.pixels.shape == (2, 3, SIDE, SIDE)
    assert larger.pixels.shape == (2, 3, 384, 384)
    assert larger.weights is not None
    assert larger.masks.shape == larger.weights.shape == (2, 6, 96, 96)
    assert larger.facts is not None
    assert larger.facts.fine.facts["class_name"].shape == (2, 96, 96)
    # The coarse map has the same classes at the same places.
    classes = larger.facts.fine.facts["class_name"].float()[:, None]
    halved = nn.functional.interpolate(classes, size=(48, 48), mode="nearest")[:, 0]
    coarse = larger.facts.coarse.facts["class_name"]
    assert coarse.shape == (2, 48, 48)
    alike = float((coarse == halved).float().mean())
    assert alike > 0.85
    for axis in (1, 2):
        assert float((coarse.flip(axis) == halved).float().mean()) < alike - 0.1
    assert [one.instruction_ids for one in plain.requests[0]] == [
        one.instruction_ids for one in larger.requests[0]
    ]
    areas = plain.masks.mean(dim=(2, 3)), larger.masks.mean(dim=(2, 3))
    assert torch.allclose(*areas, atol=1e-5)
    shrunk = torch.nn.functional.interpolate(larger.pixels, size=(SIDE, SIDE), mode="bilinear")
    assert float((shrunk - plain.pixels).abs().mean()) < 0.1


def test_wide_scenes_show_four_times_the_ground(
    scenes: list[StoredScene], tokenizer: BytePairTokenizer, tmp_path: Path
) -> None:
    plain = scenes[0]
    (wide,) = stored_scenes(tmp_path, (5,), WIDE_SIDE)
    assert (plain.image.shape, wide.image.shape) == ((SIDE, SIDE, 3), (512, 512, 3))
    # The smallest mask is the same share of both.
    for scene, fewest in ((plain, MIN_PIXELS), (wide, 4 * MIN_PIXELS)):
        sizes = np.bincount(scene.instances.ravel(), minlength=len(scene.objects) + 1)
        wanted = [item.instance for item in scene.objects if sizes[item.instance] >= fewest]
        assert RequestSampler(scene).instances == wanted
    batches = SceneBatches(scenes, [], tokenizer, SIDE, 3, wide=[wide], wide_share=1.0)
    batch = batches.draw(2, 6, 1.0)
    assert batch.pixels.shape == (2, 3, SIDE, SIDE)
    assert batch.masks.shape == (2, 6, 64, 64)
    assert batch.facts is not None
    assert int(batch.facts.objects.max()) > len(plain.objects)


def test_batches_have_bars_and_no_request_means_them(
    scenes: list[StoredScene], tokenizer: BytePairTokenizer
) -> None:
    batches = SceneBatches(scenes, [], tokenizer, SIDE, 2, barred_share=1.0)
    darkest = float(network_input(np.zeros((SIDE, SIDE, 3), np.uint8), SIDE)[0, 0, 0, 0])
    for _ in range(4):
        batch = batches.draw(1, 12, 1.0)
        dark = (batch.pixels[0, 0] == darkest).numpy()
        bars = np.zeros_like(dark)
        bars[dark.all(axis=1)] = True
        bars[:, dark.all(axis=0)] = True
        # Cells that lie in a bar as a whole.
        inner = bars.reshape(SIDE // 4, 4, SIDE // 4, 4).all(axis=(1, 3))
        assert 0.03 < inner.mean() < 0.72
        assert batch.facts is not None
        assert not batch.masks[0][:, inner].any()
        assert not batch.facts.objects[0][inner].any()
        assert not batch.facts.fine.facts["class_name"][0][inner].any()
        assert batch.facts.fine.centres[0][inner].isnan().all()


def test_labelled_images_are_enlarged_with_their_labels(
    scenes: list[StoredScene], tokenizer: BytePairTokenizer
) -> None:
    """What is known of a crop stays known of the same ground, half a cell apart at most."""
    labels = torch.full((SIDE, SIDE), BIT["grass"], dtype=torch.int32)
    labels[:, 100:160] = BIT["building"]
    labels[200:] = 0
    pixels = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    pixels[0, :, 100:160] = 250
    town = LabelledImage("oam_buildings", "town", pixels, labels, (1.0, 1.0))
    batches = SceneBatches(scenes, [CropSampler([town], SIDE, 1)], tokenizer, 384, 1)
    for _ in range(20):
        batch = batches.draw_weak(4)
        if batch is None:
            continue
        red = nn.functional.avg_pool2d(batch.pixels[:, :1], 4)[0, 0] > 0
        assert batch.facts is not None
        assert batch.weights is not None
        roofs = batch.facts.fine.allowed[0, CLASS_ID["building"]]
        known = batch.facts.fine.allowed[0].any(dim=0)
        assert float((red == roofs)[known].float().mean()) > 0.93
        assert set(batch.weights.unique().tolist()) <= {0.0, 1.0}
        certain = batch.masks[0][batch.weights[0] > 0]
        assert float(((certain == 0) | (certain == 1)).float().mean()) > 0.9
        return
    pytest.fail("the labels of the crop allow no request")
