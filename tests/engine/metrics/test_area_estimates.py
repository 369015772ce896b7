"""Areas corrected for the errors of a map, on the worked example of the paper (Table 8)."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg_qgis.engine.metrics.area_estimates import estimate_areas

# Deforestation, forest gain, stable forest, stable non-forest: map in rows, truth in columns.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
MAPPED_PIXELS = np.array([200_000.0, 150_000.0, 3_200_000.0, 6_450_000.0])
HECTARES = MAPPED_PIXELS.sum() * 0.09


def test_the_worked_example_of_the_paper() -> None:
    found = estimate_areas(COUNTS, MAPPED_PIXELS)
    assert found.shares * HECTARES == pytest.approx([21_158, 11_686, 285_770, 581_386], abs=1)
    assert found.share_widths[:2] * HECTARES == pytest.approx([6_158, 3_756], abs=1)
    assert found.share_widths[2:] * HECTARES == pytest.approx([15_510, 16_282], abs=1)
    assert found.overall == pytest.approx(0.95, abs=0.005)
    assert found.overall_width == pytest.approx(0.02, abs=0.005)
    assert found.users == pytest.approx([0.88, 0.73, 0.93, 0.96], abs=0.005)
    assert found.user_widths == pytest.approx([0.07, 0.10, 0.04, 0.02], abs=0.005)
    assert found.producers == pytest.approx([0.75, 0.85, 0.93, 0.96], abs=0.005)
    # Equation 7 by hand for forest gain: strata of 75 and 325 samples with 55 and 1 of it.
    share, right = 0.015 * 55 / 75 + 0.645 / 325, 55 / 75
    accuracy = 0.015 * right / share
    variance = 0.015**2 * (1 - accuracy) ** 2 * right * (1 - right) / 74
    variance += accuracy**2 * 0.645**2 * (1 / 325) * (324 / 325) / 324
    assert found.producer_widths[1] == pytest.approx(1.96 * variance**0.5 / share, rel=1e-9)
    assert found.producer_widths[0] == pytest.approx(0.21, abs=0.005)


def test_a_map_without_errors_keeps_its_areas() -> None:
    found = estimate_areas(np.diag([10, 20]), np.array([3.0, 1.0]))
    assert found.shares.tolist() == [0.75, 0.25]
    assert found.share_widths.tolist() == [0.0, 0.0]


def test_a_class_without_samples_leaves_the_areas_unknown() -> None:
    found = estimate_areas(np.array([[9, 1], [0, 0]]), np.array([3.0, 1.0]))
    assert np.isnan(found.shares).all()


def test_a_class_that_is_not_on_the_map_is_no_stratum() -> None:
    found = estimate_areas(np.array([[8, 2], [0, 0]]), np.array([5.0, 0.0]))
    assert found.shares.tolist() == [0.8, 0.2]


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="do not fit 3 classes"):
        estimate_areas(COUNTS, np.ones(3))
    with pytest.raises(ValueError, match="No class of the map"):
        estimate_areas(np.eye(2, dtype=int), np.zeros(2))
