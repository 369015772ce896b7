"""gIoU, cIoU and Pr@k against recorded scores and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from unigeoseg_facts import Golden

from geoseg_qgis.engine.metrics.referring import (
    PRECISION_THRESHOLDS,
    ReferringMeter,
    fill_bounding_box,
    measure_overlap,
)


@pytest.mark.parametrize(
    ("prefix", "transform"), [("", None), ("rsvg.", fill_bounding_box)], ids=["masks", "boxes"]
)
def test_recorded_scores(golden: Golden, prefix: str, transform: object) -> None:
    recorded = golden("metrics")
    meter = ReferringMeter(transform)  # type: ignore[arg-type]
    samples = recorded[f"{prefix}per_sample_iou_inter_union"].tolist()
    pairs = zip(recorded["pred"].numpy(), recorded["gt"].numpy()[:, 0], strict=True)
    for (predicted, truth), (iou, intersection, union) in zip(pairs, samples, strict=True):
        overlap = meter.add(predicted, truth)
        assert (overlap.intersection, overlap.union) == (intersection, union)
        assert overlap.iou == pytest.approx(iou, abs=1e-6)
    scores = meter.scores()
    assert scores.samples == 6
    assert scores.giou == pytest.approx(recorded[f"{prefix}giou"].item(), abs=1e-6)
    assert scores.ciou == pytest.approx(recorded[f"{prefix}ciou"].item(), abs=1e-6)
    if not prefix:
        expected = recorded["pr_0.5_to_0.9"].tolist()
        assert [scores.precision[k] for k in PRECISION_THRESHOLDS] == pytest.approx(expected)


def test_ignored_pixels_count_nowhere() -> None:
    truth = np.array([[1, 1, 255, 255, 0]], dtype=np.uint8)
    predicted = np.array([[1, 0, 1, 0, 1]], dtype=np.uint8)
    overlap = measure_overlap(predicted, truth)
    assert (overlap.intersection, overlap.union) == (1, 3)


def test_precision_is_strictly_above_its_threshold() -> None:
    meter = ReferringMeter()
    meter.add(np.array([True, True]), np.array([True, False]))
    meter.add(np.ones(100, bool), np.arange(100) < 95)
    scores = meter.scores()
    assert scores.precision[0.5] == 0.5
    assert scores.precision[0.9] == 0.5
    assert scores.as_row()["Pr@0.9"] == 0.5
    assert scores.ciou == pytest.approx(96 / 102)


def test_no_samples_give_no_scores() -> None:
    scores = ReferringMeter().scores()
    assert scores.samples == 0
    assert math.isnan(scores.giou)
    assert math.isnan(scores.precision[0.7])


def test_box_of_the_largest_part_only() -> None:
    mask = np.zeros((6, 8), bool)
    mask[0, 0] = True
    for step in range(3):
        mask[2 + step, 3 + step] = True
    filled = fill_bounding_box(mask)
    assert filled.sum() == 9
    assert filled[2:5, 3:6].all()
    assert not fill_bounding_box(np.zeros((4, 4), bool)).any()


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        measure_overlap(np.zeros((2, 2), bool), np.zeros((2, 3), bool))
