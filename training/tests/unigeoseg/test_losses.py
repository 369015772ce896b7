"""Recorded losses, points and words."""

from __future__ import annotations

import pytest
import torch
from unigeoseg_facts import Golden, assert_near

from training.unigeoseg.losses import (
    LossSettings,
    cell_losses,
    language_loss,
    point_cross_entropy,
    point_dice,
    sample_points,
    uncertain_points,
)


def test_recorded_point_losses(golden: Golden) -> None:
    recorded = golden("losses")
    logits, labels = recorded["point_logits"], recorded["point_labels"]
    assert_near(point_cross_entropy(logits, labels, 3.0), recorded["loss_mask"], 1e-6)
    assert_near(point_dice(logits, labels, 3.0), recorded["loss_dice"], 1e-6)


def test_recorded_point_samples(golden: Golden) -> None:
    recorded = golden("losses")
    points = recorded["point_coords"]
    assert_near(sample_points(recorded["lowres_logits"], points), recorded["sampled_logits"], 1e-6)
    assert_near(sample_points(recorded["target_masks"], points), recorded["sampled_labels"], 1e-6)


def test_points_gather_where_the_prediction_is_uncertain() -> None:
    """Logits grow from the left edge: three quarters of the points lie where they are small."""
    logits = torch.arange(64.0).expand(1, 1, 64, 64)
    generator = torch.Generator().manual_seed(1)
    points = uncertain_points(logits, LossSettings(points=400), generator)
    assert points.shape == (1, 400, 2)
    assert 0.0 <= points.min() <= points.max() <= 1.0
    x = points[0, :, 0]
    assert (x[:300] < 0.27).float().mean() > 0.97
    assert 0.4 < x[300:].mean() < 0.6
    repeated = uncertain_points(logits, LossSettings(points=400), torch.Generator().manual_seed(1))
    assert torch.equal(points, repeated)


def test_no_words_to_learn_cost_nothing() -> None:
    logits = torch.randn(1, 3, 5, requires_grad=True)
    loss = language_loss(logits, torch.full((1, 3), -100))
    assert loss.item() == 0.0
    torch.autograd.backward(loss)
    assert logits.grad is not None


def test_language_loss_predicts_the_next_word() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[0, 1, 2] = 50.0
    assert language_loss(logits, torch.tensor([[-100, -100, 2]])).item() == pytest.approx(0.0)
    assert language_loss(logits, torch.tensor([[-100, -100, 1]])).item() == pytest.approx(50.0)


def test_cell_losses_leave_out_what_is_unknown() -> None:
    masks = torch.zeros(1, 1, 2, 2)
    masks[..., 0] = 1.0
    weights = torch.ones_like(masks)
    weights[0, 0, 1, 1] = 0.0
    logits = torch.where(masks > 0, 30.0, -30.0)
    logits[0, 0, 1, 1] = 30.0
    cross_entropy, dice = cell_losses(logits, masks, weights)
    assert float(cross_entropy) == pytest.approx(0.0, abs=1e-6)
    assert float(dice) == pytest.approx(0.0, abs=1e-6)
    cross_entropy, dice = cell_losses(-logits, masks, weights)
    assert float(cross_entropy) == pytest.approx(30.0)
    assert float(dice) == pytest.approx(1 - 1 / 4)
