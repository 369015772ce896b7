"""Summed histograms against hand-made numbers and a confusion matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from geoseg_qgis.engine.metrics.semantic import SemanticEvaluation


def test_two_images_are_summed_before_dividing() -> None:
    evaluation = SemanticEvaluation(2)
    evaluation.update(np.array([[1, 1, 1, 0]]), np.array([[1, 1, 1, 1]]))
    evaluation.update(np.array([[1, 0]]), np.array([[0, 255]]))
    metrics = evaluation.result()
    np.testing.assert_allclose(metrics.iou, [0 / 2, 3 / 5])
    np.testing.assert_allclose(metrics.accuracy, [0, 3 / 4])
    assert metrics.overall_accuracy == 3 / 5
    assert metrics.percentages() == {"mIoU": 30.0, "mAcc": 37.5, "aAcc": 60.0, "fgIoU": 60.0}


def test_absent_classes_are_skipped_and_foreign_ids_are_misses() -> None:
    evaluation = SemanticEvaluation(4)
    evaluation.update(np.array([0, 0, 9, 2]), np.array([0, 0, 0, 1]))
    metrics = evaluation.result()
    np.testing.assert_allclose(metrics.iou, [2 / 3, 0, 0, math.nan])
    assert metrics.mean_iou == pytest.approx(2 / 9)
    np.testing.assert_allclose(metrics.accuracy, [2 / 3, 0, math.nan, math.nan])
    assert metrics.overall_accuracy == 2 / 4
    with pytest.raises(ValueError, match="background and one class"):
        _ = metrics.foreground_iou


def test_nothing_counted_is_not_a_number() -> None:
    metrics = SemanticEvaluation(2).result()
    assert math.isnan(metrics.mean_iou)
    assert math.isnan(metrics.overall_accuracy)


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        SemanticEvaluation(2).update(np.zeros((2, 2), int), np.zeros((2, 3), int))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_tiles_equal_a_confusion_matrix(seed: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    prediction = generator.integers(0, classes, (12, 15)).astype(np.uint8)
    reference = generator.choice([*range(classes), 255], (12, 15)).astype(np.uint8)
    evaluation = SemanticEvaluation(classes)
    for rows in (slice(0, 5), slice(5, 12)):
        evaluation.update(prediction[rows], reference[rows])
    metrics = evaluation.result()
    counted = reference != 255
    matrix = confusion_matrix(
        reference[counted], prediction[counted], labels=np.arange(classes)
    ).astype(float)
    hits = np.diag(matrix)
    with np.errstate(invalid="ignore"):
        expected = hits / (matrix.sum(0) + matrix.sum(1) - hits)
    np.testing.assert_allclose(metrics.iou, expected)
    assert metrics.mean_iou == pytest.approx(np.nanmean(expected))
    assert metrics.overall_accuracy == pytest.approx(hits.sum() / matrix.sum())
