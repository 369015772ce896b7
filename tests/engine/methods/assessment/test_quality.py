"""Quality maps from probabilities: variants, repairs, missed objects, ranks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from geoseg_qgis.engine.methods.assessment.missed_regions import missed_regions
from geoseg_qgis.engine.methods.assessment.quality_classes import (
    QualityClass,
    apply_variant,
    class_masks,
    constrain,
    contradiction,
    quality_raster,
    repaired_mask,
)
from geoseg_qgis.engine.methods.assessment.ranking import fix_priority, fix_rank

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def random_probabilities(shape: tuple[int, ...], seed: int = 0) -> Floats:
    logits = np.random.default_rng(seed).normal(size=shape) * 2
    weights = np.exp(logits)
    return np.asarray(weights / weights.sum(-3, keepdims=True))


def probabilities_of(truth: Floats, mask: Bools) -> Floats:
    """Constrained probabilities of a mask where `truth` is the probability of object."""
    zero = np.zeros_like(truth)
    return np.stack(
        [
            np.where(mask, truth, zero),
            np.where(mask, 1 - truth, zero),
            np.where(mask, zero, 1 - truth),
            np.where(mask, zero, truth),
        ]
    )


def test_constrained_classes_agree_with_the_mask() -> None:
    probabilities = random_probabilities((3, 4, 20, 30))
    mask = np.random.default_rng(1).random((20, 30)) < 0.4
    valid = np.ones_like(mask)
    for rule in ("renormalise", "object"):
        result = constrain(probabilities, mask, rule)
        assert result.shape == probabilities.shape
        np.testing.assert_allclose(result.sum(1), 1, atol=1e-12)
        assert all(contradiction(one, mask, valid) == 0 for one in result)
    assert contradiction(probabilities[0], mask, valid) > 0.3
    assert apply_variant(probabilities, mask, "raw") is probabilities


def test_constrained_values() -> None:
    probabilities = np.array([0.1, 0.3, 0.4, 0.2]).reshape(4, 1, 1).repeat(2, axis=2)
    mask = np.array([[True, False]])
    result = constrain(probabilities, mask, "renormalise")
    np.testing.assert_allclose(result[:, 0, 0], [0.25, 0.75, 0, 0])
    np.testing.assert_allclose(result[:, 0, 1], [0, 0, 2 / 3, 1 / 3])
    by_object = constrain(probabilities, mask)
    np.testing.assert_allclose(by_object[:, 0, 0], [0.3, 0.7, 0, 0])
    np.testing.assert_allclose(by_object[:, 0, 1], [0, 0, 0.7, 0.3])


def test_constrained_survives_vanishing_classes() -> None:
    certain = np.array([0, 0, 0.25, 0.75], dtype=np.float32).reshape(4, 1, 1)
    result = constrain(certain, np.array([[True]]), "renormalise")
    np.testing.assert_allclose(result[:, 0, 0], [0.75, 0.25, 0, 0])
    assert result.dtype == np.float32


def test_quality_raster_values() -> None:
    probabilities = np.eye(4).reshape(4, 2, 2)
    assert quality_raster(probabilities).tolist() == [[1, 2], [3, 4]]
    valid = np.array([[True, False], [True, True]])
    raster = quality_raster(probabilities, valid)
    assert raster.tolist() == [[1, 0], [3, 4]]
    assert raster.dtype == np.uint8
    assert [entry.raster_value for entry in QualityClass] == [1, 2, 3, 4]
    assert len({entry.colour for entry in QualityClass}) == 4
    assert QualityClass.FALSE_NEGATIVE.meaning == "missed object"


def test_repair_restores_the_truth() -> None:
    truth = np.zeros((40, 40), dtype=bool)
    truth[5:20, 5:20] = True
    mask = np.zeros_like(truth)
    mask[8:23, 5:20] = True
    mask[30, 30] = True
    probabilities = probabilities_of(np.where(truth, 0.8, 0.1), mask)
    assert np.array_equal(repaired_mask(probabilities, mask), truth)
    kept = repaired_mask(probabilities, mask, minimum_area=5)
    assert kept[30, 30]
    kept[30, 30] = False
    assert np.array_equal(kept, truth)
    cautious = repaired_mask(probabilities, mask, margin=0.35)
    assert cautious[8:23, 5:20].sum() == 12 * 15
    assert not cautious[5:8, 5:20].any()


def test_missed_regions_touch_no_object() -> None:
    mask = np.zeros((60, 80), dtype=bool)
    mask[10:20, 10:20] = True
    truth = np.full(mask.shape, 0.1)
    truth[10:20, 10:30] = 0.9
    truth[40:50, 40:60] = 0.8
    truth[40:44, 70:74] = 0.9
    probabilities = probabilities_of(truth, mask)
    regions = missed_regions(probabilities, mask, minimum_area=20)
    assert regions.area.tolist() == [200]
    assert regions.boxes.tolist() == [[40, 40, 50, 60]]
    np.testing.assert_allclose(regions.probability, [0.8])
    assert np.array_equal(regions.labels > 0, truth == 0.8)
    both = missed_regions(probabilities, mask, minimum_area=16)
    assert both.area.tolist() == [200, 16]
    valid = np.ones_like(mask)
    valid[45:] = False
    assert missed_regions(probabilities, mask, 20, valid).area.tolist() == [100]
    none = missed_regions(probabilities, np.ones_like(mask))
    assert none.area.size == 0
    assert none.boxes.shape == (0, 4)


def test_empty_mask_misses_every_object() -> None:
    mask = np.zeros((50, 50), dtype=bool)
    truth = np.full(mask.shape, 0.05)
    truth[:10, :10] = truth[30:45, 20:30] = 0.7
    regions = missed_regions(probabilities_of(truth, mask), mask)
    assert regions.area.tolist() == [100, 150]


def test_ranks() -> None:
    priority = fix_priority([0.9, 0.2, np.nan, 0.2, 0.0], [1.0, 0.5, 0.9, 0.5, 0.9])
    np.testing.assert_allclose(priority, [0.1, 0.4, np.nan, 0.4, 0.9])
    assert fix_rank(priority, [9, 50, 99, 70, 1]).tolist() == [4, 3, 5, 2, 1]


def test_classes_one_at_a_time() -> None:
    classes = np.array([[0, 2, 2], [5, 0, 2]])
    masks = dict(class_masks(classes))
    assert list(masks) == [2, 5]
    assert masks[2].tolist() == [[False, True, True], [False, False, True]]
    assert [value for value, _ in class_masks(classes, np.array([0, 7]))] == [7]


@pytest.mark.parametrize("variant", ["raw", "constrained"])
def test_contradiction_of_no_valid_pixel_is_zero(variant: str) -> None:
    probabilities = random_probabilities((4, 6, 6))
    mask = np.zeros((6, 6), dtype=bool)
    chosen = apply_variant(probabilities, mask, variant)  # type: ignore[arg-type]
    assert contradiction(chosen, mask, mask) == 0.0
