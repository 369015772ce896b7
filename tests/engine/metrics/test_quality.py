"""Scores of quality maps: the published ones exactly, the summed ones by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from geoseg_qgis.engine.metrics.quality import (
    PublishedQualityMeter,
    QualityCounts,
    QualityScores,
    calibrate,
)

PUBLISHED_CLASSES = {
    "TP": "True Postive",
    "FP": "False Postive",
    "TN": "True Negtive",
    "FN": "False Negtive",
}
PUBLISHED_SCORES = ("Pixel Accuracy", "Precision", "Recall", "F1-score", "IoU")


def expect(actual: QualityScores, expected: dict[str, float]) -> None:
    wanted = [expected[name] for name in PUBLISHED_SCORES]
    np.testing.assert_allclose(actual.as_tuple(), wanted, atol=1e-6)


@pytest.mark.parametrize("case", ["case_e2e_76_b2", "case_small", "case_absent_FP_FN"])
def test_published_scores(
    case: str, facts_folder: Path, read_case: Callable[[str], dict[str, Tensor]]
) -> None:
    facts = json.loads((facts_folder / "metrics.json").read_text())[case]
    if "pred" in facts:
        predicted, truth = np.array(facts["pred"]), np.array(facts["true"])
    else:
        predicted = read_case("e2e_76_b2")["class_map"].numpy()
        truth = read_case("train_76_b2")["target_code_u8"][:, 0].numpy()
    meter = PublishedQualityMeter()
    meter.update(predicted, truth)
    for name, scores in meter.per_class().items():
        expect(scores, facts["per_class"][PUBLISHED_CLASSES[name]])
    expect(meter.mean(), facts["per_class"]["Mean"])
    expect(meter.error_map(), facts["binary_error_vs_right_macro"])


def test_published_scores_average_batches() -> None:
    right, wrong = np.array([[0, 1, 2, 3]]), np.array([[0, 3, 2, 1]])
    meter = PublishedQualityMeter()
    meter.update(right, right)
    meter.update(wrong, right)
    assert meter.per_class()["FP"].iou == pytest.approx(50, abs=1e-4)
    assert meter.selection_score() == pytest.approx((100 + 50) / 2, abs=1e-4)
    with pytest.raises(ValueError, match="no batch"):
        PublishedQualityMeter().selection_score()


def test_summed_counts() -> None:
    counts = QualityCounts()
    counts.update(np.array([[0, 0, 1], [2, 2, 9]]), np.array([[0, 1, 1], [2, 2, 9]]),
                  np.array([[True, True, True], [True, True, False]]))  # fmt: skip
    counts.update(np.array([0, 2]), np.array([0, 0]))
    scores = counts.per_class()
    assert scores["TP"].as_tuple() == pytest.approx((5 / 7, 2 / 3, 2 / 3, 2 / 3, 1 / 2))
    assert scores["FP"].as_tuple() == pytest.approx((6 / 7, 1, 1 / 2, 2 / 3, 1 / 2))
    assert scores["TN"].as_tuple() == pytest.approx((6 / 7, 2 / 3, 1, 4 / 5, 2 / 3))
    assert np.isnan(scores["FN"].iou)
    assert scores["FN"].accuracy == 1
    assert counts.mean().iou == pytest.approx((1 / 2 + 1 / 2 + 2 / 3) / 3)
    error = counts.error_map()
    assert error.iou == pytest.approx((1 / 2 + 5 / 6) / 2)
    with pytest.raises(ValueError, match="codes 0 to 3"):
        counts.update(np.array([4]), np.array([0]))
    with pytest.raises(ValueError, match="differ in shape"):
        counts.update(np.array([1]), np.array([0, 1]))


def test_calibration() -> None:
    predicted = np.array([0.05, 0.15, 0.95, 0.92, np.nan, 1.0])
    actual = np.array([0.05, 0.35, 0.9, 0.8, 0.5, 1.0])
    result = calibrate(predicted, actual)
    assert result.count.tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 3]
    assert result.predicted[1] == pytest.approx(0.15)
    assert np.isnan(result.actual[2])
    assert result.error == pytest.approx((0 + 0.2 + (2.87 - 2.7)) / 5)
    assert result.correlation > 0.95
    assert np.isnan(calibrate(np.array([0.5]), np.array([0.5])).correlation)
