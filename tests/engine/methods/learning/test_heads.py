"""Classifiers: what they learn, that files hold them, and calibration."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geoseg_qgis.engine.methods.learning.cross_validation import (
    cross_validate,
    divide,
    fit_temperature,
)
from geoseg_qgis.engine.methods.learning.heads import LOGISTIC, TITLES, Head, fit_head
from geoseg_qgis.engine.methods.learning.labels import Labels
from geoseg_qgis.protocol.errors import JobError


def clusters(count: int, spread: float = 0.5) -> tuple[torch.Tensor, np.ndarray]:
    """Return samples around three corners."""
    rng = np.random.default_rng(0)
    classes = np.arange(count) % 3
    centres = np.eye(3, 6)[classes] * 3
    return torch.from_numpy(centres + rng.normal(scale=spread, size=(count, 6))).float(), classes


def scattered(count: int) -> Labels:
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(0, 1000, (2, count))
    return Labels(rows, columns, np.arange(count) % 3, np.arange(count), ("a", "b", "c"))


@pytest.mark.parametrize("kind", TITLES)
def test_a_head_learns_and_a_file_holds_it(kind: str) -> None:
    samples, classes = clusters(90)
    head = fit_head(kind, samples, classes, 3, 2, 0, lambda _: None)
    logits = head.logits(samples)
    assert (logits.argmax(dim=1).numpy() == classes).mean() > 0.95
    again = Head.load(kind, head.state(), 1.0).logits(samples)
    assert torch.equal(again, logits)
    same = fit_head(kind, samples, classes, 3, 2, 0, lambda _: None).logits(samples)
    assert torch.equal(same, logits)
    warm = Head.load(kind, head.state(), 2.0).logits(samples)
    assert torch.allclose(warm * 2, logits)


def test_an_unknown_head_is_an_error() -> None:
    samples, classes = clusters(9)
    with pytest.raises(JobError, match="no head called 'svm'"):
        fit_head("svm", samples, classes, 3, 0, 0, lambda _: None)


def test_blocks_hold_whole_places_and_folds_have_all_classes() -> None:
    labels = scattered(300)
    labels = Labels(
        labels.rows, labels.columns, np.arange(300) % 3, np.arange(300) // 6, labels.names
    )
    blocks = divide(labels, 0)
    for place in range(50):
        assert len(np.unique(blocks.block[labels.places == place])) == 1
    for block in np.unique(blocks.block):
        assert len(np.unique(blocks.fold[blocks.block == block])) == 1
    for fold in range(5):
        assert set(labels.classes[blocks.fold == fold]) == {0, 1, 2}


@pytest.mark.slow
def test_cross_validation_tells_good_features_from_noise() -> None:
    labels = scattered(150)
    samples, _ = clusters(150)
    good = cross_validate(labels, samples, 0, 0, lambda _: None).accuracy
    assert good.mean_iou.value > 0.9
    assert good.mean_iou.low <= good.mean_iou.value <= good.mean_iou.high
    assert good.matrix.sum() == pytest.approx(150)
    assert good.places == (50, 50, 50)
    noise = torch.randn(150, 6, generator=torch.Generator().manual_seed(0))
    poor = cross_validate(labels, noise, 0, 0, lambda _: None).accuracy
    assert poor.mean_iou.value < 0.4


@pytest.mark.slow
def test_a_class_with_one_place_is_not_tested() -> None:
    labels = scattered(61)
    labels = Labels(
        labels.rows, labels.columns, np.array([0, 1] * 30 + [2]), labels.places, labels.names
    )
    samples = torch.from_numpy(np.eye(3, 4)[labels.classes]).float()
    accuracy = cross_validate(labels, samples, 0, 0, lambda _: None).accuracy
    assert accuracy.untested == ("c",)
    assert np.isnan(accuracy.iou[2].value)
    assert accuracy.mean_iou.value == 1.0


def test_temperature_brings_confidence_to_accuracy() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 4000)
    right = rng.random(4000) < 0.8
    logits = np.zeros((4000, 2))
    logits[np.arange(4000), np.where(right, classes, 1 - classes)] = 6.0
    temperature = fit_temperature(logits, classes, np.ones(4000))
    confidence = 1 / (1 + np.exp(-6.0 / temperature))
    assert confidence == pytest.approx(0.8, abs=0.02)


def test_a_common_class_does_not_hide_a_rare_one() -> None:
    samples, classes = clusters(300)
    rare = np.flatnonzero(classes == 2)[:4]
    kept = np.concatenate([np.flatnonzero(classes != 2), rare])
    head = fit_head(LOGISTIC, samples[kept], classes[kept], 3, 0, 0, lambda _: None)
    assert (head.logits(samples[rare]).argmax(dim=1) == 2).all()
