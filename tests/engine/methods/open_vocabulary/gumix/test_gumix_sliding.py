"""Window plan and merge against recorded numbers."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from gumix_facts import read_case, read_facts, read_json
from torch import Tensor

from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear
from tests.reference.gumix_paper import fitted_size, resize_image
from tests.reference.gumix_sliding import plan_windows, slide

PAPER = GumixSettings.paper()


def recorded_network(images: Tensor, regions: Tensor, valid: Tensor | None) -> Tensor:
    """The stand-in network of the recorded merge."""
    assert valid is None
    height, width = images.shape[-2:]
    rows = torch.linspace(0, 1, height)[:, None]
    columns = torch.linspace(-1, 1, width)
    return torch.stack(
        [images.mean(dim=1), images[:, 0] * rows, (regions % 7) / 7 * columns], dim=1
    )


def test_plan() -> None:
    for name, expected in read_json("windows")["windows"].items():
        height, width = (int(side) for side in name.split("x"))
        planned = [
            {
                "y1": window.top,
                "y2": window.bottom,
                "x1": window.left,
                "x2": window.right,
                "pad_l": window.pad_left,
                "pad_r": window.pad_right,
                "pad_t": window.pad_top,
                "pad_b": window.pad_bottom,
                "net_h": window.network_size[0],
                "net_w": window.network_size[1],
            }
            for window in plan_windows(height, width, PAPER)
        ]
        assert planned == expected, name


@pytest.mark.parametrize("case", ["pad_both", "smaller_than_crop", "exact"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_merge(case: str, batch_size: int) -> None:
    """The resize rounds differently from processor to processor, so it has its own tolerance."""
    facts = read_case(read_facts("slide_merge"), case)
    window, stride = (int(value) for value in facts["crop_stride"])
    settings = dataclasses.replace(PAPER, window=window, stride=stride)
    merged = slide(
        recorded_network,
        facts["image"][0],
        facts["instance_masks"],
        settings=settings,
        batch_size=batch_size,
    )
    size = (int(facts["ori_shape"][0]), int(facts["ori_shape"][1]))
    resized = resize_bilinear(merged[None], size)
    tolerance = 1e-6 if merged.shape[-2:] == size else 3e-5
    torch.testing.assert_close(resized, facts["logits"], atol=tolerance, rtol=0)


def test_padding_is_invalid_in_the_raster_variant() -> None:
    seen: list[tuple[Tensor, Tensor | None]] = []

    def network(images: Tensor, regions: Tensor, valid: Tensor | None) -> Tensor:
        seen.append((regions, valid))
        return images[:, :1]

    settings = dataclasses.replace(GumixSettings.geo(), window=56, stride=56)
    image = torch.arange(3 * 50 * 56, dtype=torch.float32).reshape(3, 50, 56)
    merged = slide(network, image, torch.full((50, 56), 20_000), settings=settings)
    assert torch.equal(merged, image[:1])
    regions, valid = seen[0]
    assert valid is not None
    assert valid[0].sum(dim=0).tolist() == [50] * 56
    assert not valid[0, :3].any()
    assert not valid[0, 53:].any()
    assert torch.equal(regions[0] == 20_000, valid[0])
    assert torch.equal(regions[0] == 0, ~valid[0])


def test_fitted_size() -> None:
    for name, expected in read_json("resize_sizes").items():
        height, width = (int(side) for side in name.split("x"))
        assert list(fitted_size(height, width, 448)) == expected


def test_image_resize_stays_within_a_grey_level() -> None:
    facts = read_facts("cv2_resize")
    source = facts["src_hwc"].permute(2, 0, 1)
    for name in ("down_60x90", "up_200x300"):
        expected = facts[name].permute(2, 0, 1)
        resized = resize_image(
            source.to(torch.uint8), (expected.shape[1], expected.shape[2])
        ).long()
        difference = (resized - expected).abs()
        assert difference.max() <= 1
        assert difference.float().mean() < 0.2
