"""Numbers of judged masks, and their table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from geoseg_qgis.engine.metrics.quality import QualityCounts
from training.segassess.evaluate import EVALUATION_FILE, report, score_lines, scores, trusting
from training.segassess.whole_images import Judgement


def judgement() -> Judgement:
    counts = QualityCounts()
    counts.matrix = np.array([[60, 20, 0, 0], [5, 15, 0, 0], [0, 0, 80, 10], [0, 0, 6, 4.0]])
    return Judgement(counts, counts, [0.2, 0.8, 0.9], [0.1, 0.7, 1.0], masks=3)


def test_numbers_of_a_judgement() -> None:
    numbers = scores(judgement().constrained)
    assert numbers["TP_f1"] == pytest.approx(2 * 60 / (80 + 65), abs=1e-4)
    assert numbers["FN_f1"] == pytest.approx(2 * 4 / (10 + 14), abs=1e-4)
    blind_tp, blind_tn = 2 * 80 / (80 + 100), 2 * 90 / (90 + 100)
    assert trusting(judgement().constrained) == pytest.approx((blind_tp + blind_tn) / 4, abs=1e-4)
    objects = report(judgement())["objects"]
    assert objects["count"] == 3
    assert objects["iou_correlation"] == pytest.approx(0.9799, abs=1e-4)
    assert [one["true"] for one in objects["bins"]] == [0.1, 0.7, 1.0]


def test_scores_become_a_table(tmp_path: Path) -> None:
    assert score_lines(tmp_path) == []
    numbers = report(judgement())
    (tmp_path / EVALUATION_FILE).write_text(
        json.dumps({"unet": {"all": numbers, "road": numbers}, "clip": {"all": numbers}})
    )
    lines = score_lines(tmp_path)
    f1 = f"{numbers['constrained']['mean_f1']:.2f}"
    assert lines[-3].startswith(f"| U-Net, masks never seen in training | 3 | {f1} |")
    assert lines[-2].startswith(f"| &nbsp;&nbsp;road | 3 | {f1} |")
    assert lines[-1].startswith("| built-in image and text encoder | 3 |")
