"""Views of tiles and the masks that are judged on them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from training.segassess.sampling import FrozenNetwork, draw_views, make_views, mixed_batch


def test_views(read_case: Callable[[str], dict[str, Tensor]]) -> None:
    case = read_case("ams_views")
    assert torch.equal(make_views(case["image"], case["params_k_flip"]), case["views_image"])
    assert torch.equal(make_views(case["mask"], case["params_k_flip"]), case["views_mask"])


def test_drawn_views_are_uniform_and_repeatable() -> None:
    first = draw_views(300, 4, torch.Generator().manual_seed(5))
    assert torch.equal(first, draw_views(300, 4, torch.Generator().manual_seed(5)))
    turns = torch.bincount(first[..., 0].flatten(), minlength=4)
    flips = torch.bincount(first[..., 1].flatten(), minlength=3)
    assert turns.shape == (4,)
    assert flips.shape == (3,)
    assert turns.min() > 240
    assert flips.min() > 330


def threshold_network(bias: float) -> nn.Module:
    """Network that calls pixels object whose first band is above -bias / 10."""
    layer = nn.Conv2d(3, 1, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0] = 10
        layer.bias.fill_(bias)  # type: ignore[union-attr]
    return layer


def test_each_view_has_its_own_source() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 8, 8)
    truth = (images[:, [0]] > 0.5).float()
    sources = [FrozenNetwork(threshold_network(bias)) for bias in (-5, -2, -8)]
    batch = mixed_batch(images, truth, sources, 4, torch.Generator().manual_seed(1))
    assert batch.images.shape == (8, 3, 8, 8)
    assert torch.equal(batch.truth, (batch.images[:, [0]] > 0.5).float())
    used = []
    for image, mask in zip(batch.images, batch.masks):
        matches = [torch.equal(mask, (image[[0]] > cut).float()) for cut in (0.5, 0.2, 0.8)]
        used.append(matches.index(True))
    assert sorted(used) == [0, 0, 0, 0, 1, 1, 2, 2]
    assert used != sorted(used)
    with pytest.raises(ValueError, match="at least one source"):
        mixed_batch(images, truth, [])
