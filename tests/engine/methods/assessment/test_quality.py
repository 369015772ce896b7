"""Quality classes from probabilities: variants, small and missed regions, ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.methods.assessment.object_pixels import missed_regions
from geoseg_qgis.engine.methods.assessment.quality_classes import (
    QualityClass,
    apply_variant,
    constrain,
    small_regions,
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
    result = constrain(probabilities, mask)
    assert result.shape == probabilities.shape
    np.testing.assert_allclose(result.sum(1), 1, atol=1e-12)
    assert np.array_equal(result.argmax(1) <= QualityClass.FALSE_POSITIVE, np.stack([mask] * 3))
    assert (probabilities.argmax(1) <= QualityClass.FALSE_POSITIVE).sum() != 3 * mask.sum()
    assert apply_variant(probabilities, mask, "raw") is probabilities
    assert np.array_equal(apply_variant(probabilities, mask, "constrained"), result)


def test_constrained_values() -> None:
    probabilities = np.array([0.1, 0.3, 0.4, 0.2]).reshape(4, 1, 1).repeat(2, axis=2)
    result = constrain(probabilities, np.array([[True, False]]))
    np.testing.assert_allclose(result[:, 0, 0], [0.3, 0.7, 0, 0])
    np.testing.assert_allclose(result[:, 0, 1], [0, 0, 0.7, 0.3])
    assert constrain(probabilities.astype(np.float32), np.ones((1, 2), bool)).dtype == np.float32


def test_raster_values_and_colours() -> None:
    assert [entry.raster_value for entry in QualityClass] == [1, 2, 3, 4]
    assert len({entry.colour for entry in QualityClass}) == 4


def test_small_regions_are_eight_connected() -> None:
    regions = np.zeros((8, 8), dtype=bool)
    regions[0, 0] = regions[1, 1] = regions[2, 2] = True
    regions[5:7, 5:7] = True
    assert small_regions(regions, 4).sum() == 3
    assert not small_regions(regions, 3).any()
    assert np.array_equal(small_regions(regions, 5), regions)


def test_missed_regions_touch_no_object() -> None:
    mask = np.zeros((60, 80), dtype=bool)
    mask[10:20, 10:20] = True
    truth = np.full(mask.shape, 0.1)
    truth[10:20, 10:30] = 0.9
    truth[40:50, 40:60] = 0.8
    truth[40:44, 70:74] = 0.9
    probabilities = probabilities_of(truth, mask)
    valid = np.ones_like(mask)
    assert np.array_equal(missed_regions(probabilities, mask, 20, valid), truth == 0.8)
    assert missed_regions(probabilities, mask, 16, valid).sum() == 200 + 16
    valid[45:] = False
    assert missed_regions(probabilities, mask, 20, valid).sum() == 100
    assert not missed_regions(probabilities, np.ones_like(mask), 1, valid).any()


def test_empty_mask_misses_every_object() -> None:
    mask = np.zeros((50, 50), dtype=bool)
    truth = np.full(mask.shape, 0.05)
    truth[:10, :10] = truth[30:45, 20:30] = 0.7
    found = missed_regions(probabilities_of(truth, mask), mask, 64, ~mask)
    assert np.array_equal(found, truth == 0.7)


def test_ranks() -> None:
    priority = fix_priority([0.9, 0.2, np.nan, 0.2, 0.0], [1.0, 0.5, 0.9, 0.5, 0.9])
    np.testing.assert_allclose(priority, [0.1, 0.4, np.nan, 0.4, 0.9])
    assert fix_rank(priority, [9, 50, 99, 70, 1]).tolist() == [4, 3, 5, 2, 1]
