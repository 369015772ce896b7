"""Symmetric trees: what they learn, that files hold them, and that a seed fixes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geoseg_qgis.engine.methods.learning.boosting import BoostedTrees, BoostingSettings, grow


def exclusive_or() -> tuple[torch.Tensor, torch.Tensor]:
    """Return samples whose class no single feature tells."""
    samples = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 5))).float()
    return samples, ((samples[:, 1] > 0) ^ (samples[:, 3] > 0)).long()


def learn(seed: int = 0) -> BoostedTrees:
    samples, classes = exclusive_or()
    settings = BoostingSettings(trees=40, share=1.0)
    return grow(samples, classes, torch.ones(400), 2, settings, seed, lambda _: None)


def test_two_features_together_are_learnt() -> None:
    samples, classes = exclusive_or()
    found = learn().logits(samples).argmax(dim=1)
    assert (found == classes).float().mean() > 0.97


def test_logits_are_the_start_and_the_leaves_by_hand() -> None:
    trees = BoostedTrees(
        torch.tensor([[0, 1]]),
        torch.tensor([[0.5, 2.0]]),
        torch.tensor([[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]]),
        torch.tensor([10.0, 20.0]),
    )
    samples = torch.tensor([[0.5, 2.0], [0.6, 2.0], [0.0, 3.0], [1.0, 3.0]])
    expected = [[10.0, 21.0], [12.0, 23.0], [14.0, 25.0], [16.0, 27.0]]
    assert trees.logits(samples).tolist() == expected


def test_the_same_seed_gives_the_same_trees() -> None:
    first, second = learn(), learn()
    assert all(torch.equal(value, second.state()[name]) for name, value in first.state().items())


def test_constant_features_divide_nothing() -> None:
    samples = torch.zeros(30, 3)
    classes = torch.tensor([0, 0, 1] * 10)
    trees = grow(samples, classes, torch.ones(30), 2, BoostingSettings(trees=3), 0, lambda _: None)
    shares = torch.softmax(trees.logits(samples), dim=1)[0]
    assert shares.tolist() == pytest.approx([2 / 3, 1 / 3], abs=1e-3)
