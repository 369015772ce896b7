"""Shifted grids and flips."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geoseg_qgis.engine.methods.assessment.views import (
    View,
    ViewResult,
    assess_views,
    average_views,
    from_view,
    plan_views,
    to_view,
)
from geoseg_qgis.engine.models.segassess import SegAssess


def test_plans() -> None:
    assert len(plan_views()) == 1
    assert len(plan_views(shifted=True)) == 4
    assert len(plan_views(True, "flips")) == 16
    everything = plan_views(True, "all")
    assert len(set(everything)) == 32
    assert everything[0] == plan_views()[0]


@pytest.mark.parametrize("view", plan_views(True, "all"))
def test_views_are_undone(view: View) -> None:
    torch.manual_seed(0)
    tensor = torch.rand(1, 2, 32, 32)
    back = from_view(to_view(tensor, view), view)
    rows, columns = 32 - view.rows, 32 - view.columns
    assert torch.equal(back[..., :rows, :columns], tensor[..., :rows, :columns])
    assert back[..., rows:, :].abs().sum() == 0
    assert back[..., columns:].abs().sum() == 0


def test_average_counts_only_what_each_view_saw() -> None:
    torch.manual_seed(0)
    probabilities = torch.rand(2, 4, 32, 32)
    seen = torch.ones(1, 1, 32, 32)
    results = [
        ViewResult(
            view,
            from_view(to_view(probabilities, view), view),
            from_view(to_view(seen, view), view)[0, 0].bool(),
        )
        for view in plan_views(True, "all")
    ]
    torch.testing.assert_close(average_views(results), probabilities, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="at least one view"):
        average_views([])


@pytest.mark.slow
def test_views_are_runs_of_the_network(tiny_model: SegAssess) -> None:
    torch.manual_seed(2)
    images, masks = torch.rand(1, 3, 48, 48), (torch.rand(1, 1, 48, 48) > 0.5).float()
    results = list(assess_views(tiny_model, images, masks, plan_views(True, "flips")))
    with torch.no_grad():
        plain = tiny_model(images, masks).logits.softmax(1)
        turned = tiny_model(images.rot90(2, (2, 3)), masks.rot90(2, (2, 3))).logits.softmax(1)
    torch.testing.assert_close(results[0].probabilities, plain, atol=1e-6, rtol=0)
    half_turn = next(result for result in results if result.view == View(quarter_turns=2))
    expected = turned.flip((2, 3))
    torch.testing.assert_close(half_turn.probabilities, expected, atol=1e-6, rtol=0)
    assert [int(result.covered.sum()) for result in results[:4]] == [2304, 1920, 1920, 1600]


@pytest.mark.slow
def test_shifted_runs_read_every_mask_pixel(tiny_model: SegAssess) -> None:
    torch.manual_seed(1)
    images = torch.rand(1, 3, 64, 64)
    masks = torch.zeros(1, 1, 64, 64)

    def run(mask: Tensor, shifted: bool) -> Tensor:
        return average_views(assess_views(tiny_model, images, mask, plan_views(shifted)))

    plain, shifted = run(masks, False), run(masks, True)
    for row, column in ((0, 0), (2, 8), (8, 14), (8, 8)):
        changed = masks.clone()
        changed[..., 32 + row, 32 + column] = 1
        seen_by_one = 4 <= row < 12 and 4 <= column < 12
        assert torch.equal(run(changed, False), plain) is not seen_by_one
        assert not torch.equal(run(changed, True), shifted)
    torch.testing.assert_close(shifted.sum(1), torch.ones(1, 64, 64))
