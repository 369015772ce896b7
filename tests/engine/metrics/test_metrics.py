"""Scores of class maps against scikit-learn, brute force and cases counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn import metrics

from geoseg_qgis.engine.metrics.boundary import BoundaryCounts, MatchScores, outline_pixels
from geoseg_qgis.engine.metrics.confusion import count_pairs, foreground_iou, score_confusion
from geoseg_qgis.engine.metrics.object_matching import ObjectCounts

ClassMap = NDArray[np.uint8]


def random_maps(seed: int, classes: int, size: int = 60) -> tuple[ClassMap, ClassMap]:
    """Return two patchy maps that agree in most places."""
    generator = np.random.default_rng(seed)
    maps = []
    base = ndimage.gaussian_filter(generator.normal(size=(classes, size, size)), (0, 3, 3))
    for _ in range(2):
        noise = ndimage.gaussian_filter(generator.normal(size=base.shape), (0, 2, 2))
        maps.append((base + 0.3 * noise).argmax(axis=0).astype(np.uint8))
    return maps[0], maps[1]


@pytest.mark.parametrize("seed", range(4))
def test_scores_agree_with_scikit_learn(seed: int) -> None:
    result, reference = random_maps(seed, 5)
    scores = score_confusion(count_pairs(reference, result, (5, 5)))
    truth, found = reference.ravel(), result.ravel()
    labels = list(range(5))
    assert np.array_equal(
        count_pairs(reference, result, (5, 5)), metrics.confusion_matrix(truth, found)
    )
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(truth, found))
    assert scores.kappa == pytest.approx(metrics.cohen_kappa_score(truth, found))
    for name, function in (
        ("iou", metrics.jaccard_score),
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        ("f1", metrics.f1_score),
    ):
        expected = function(truth, found, labels=labels, average=None)
        assert [getattr(item, name) for item in scores.per_class] == pytest.approx(list(expected))
        assert getattr(scores.mean, name) == pytest.approx(expected.mean())


def test_scores_counted_by_hand() -> None:
    scores = score_confusion(np.array([[50, 10], [20, 20]]))
    assert scores.accuracy == pytest.approx(0.7)
    assert scores.kappa == pytest.approx((0.7 - 0.54) / 0.46)
    assert scores.per_class[1].iou == pytest.approx(0.4)
    assert scores.per_class[1].precision == pytest.approx(2 / 3)
    assert scores.per_class[1].recall == pytest.approx(0.5)
    assert scores.mean.iou == pytest.approx((0.4 + 50 / 80) / 2)
    assert foreground_iou(np.array([[50, 10], [20, 20]])) == pytest.approx(0.4)


def test_unclassified_pixels_are_missed_but_no_class() -> None:
    scores = score_confusion(np.array([[0, 0, 0], [30, 70, 0], [0, 0, 100]]))
    assert scores.accuracy == pytest.approx(0.85)
    assert scores.per_class[1].recall == pytest.approx(0.7)
    assert scores.per_class[1].precision == 1.0
    assert scores.mean.iou == pytest.approx((0.7 + 1.0) / 2)
    assert math.isnan(foreground_iou(np.array([[0, 0, 0], [30, 70, 0], [0, 0, 100]])))


def test_class_that_occurs_nowhere_leaves_the_means_alone() -> None:
    scores = score_confusion(np.array([[10, 0, 0], [0, 10, 0], [0, 0, 0]]))
    assert math.isnan(scores.per_class[2].iou)
    assert scores.mean.iou == 1.0
    empty = score_confusion(np.zeros((2, 2), np.int64))
    assert math.isnan(empty.accuracy)
    assert math.isnan(empty.mean.iou)


def boundary(result: ClassMap, reference: ClassMap, tolerance: float, block: int) -> MatchScores:
    """Count the outlines of class 1 block by block."""
    counts = BoundaryCounts(int(max(result.max(), reference.max(), 1)), tolerance)
    margin = counts.margin((1.0, 1.0))
    height, width = result.shape
    for top in range(0, height, block):
        for left in range(0, width, block):
            up, start = max(top - margin, 0), max(left - margin, 0)
            view = (slice(up, top + block + margin), slice(start, left + block + margin))
            core = (slice(top - up, top - up + block), slice(left - start, left - start + block))
            counts.update(result[view], reference[view], core, (1.0, 1.0))
    return counts.scores()[1]


def test_boundary_of_a_shifted_square() -> None:
    reference = np.zeros((40, 40), np.uint8)
    reference[10:20, 10:20] = 1
    result = np.roll(reference, 3, axis=1)
    exact = boundary(reference, reference, 0.0, 40)
    assert (exact.result, exact.reference, exact.f1) == (36, 36, 1.0)
    # Only the top and bottom rows still lie on each other: 7 columns each.
    assert boundary(result, reference, 0.0, 40).result_matched == 14
    assert boundary(result, reference, 2.0, 40).precision == pytest.approx(22 / 36)
    assert boundary(result, reference, 3.0, 40).f1 == 1.0


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.5, 4.2, 9.0])
def test_boundary_matches_brute_force(tolerance: float) -> None:
    result, reference = random_maps(7, 3)
    first = np.argwhere(outline_pixels(result) & (result == 1))
    second = np.argwhere(outline_pixels(reference) & (reference == 1))
    distances = np.hypot(*(first[:, None] - second[None]).transpose(2, 0, 1))
    scores = boundary(result, reference, tolerance, 60)
    assert scores.precision == pytest.approx((distances.min(axis=1) <= tolerance).mean())
    assert scores.recall == pytest.approx((distances.min(axis=0) <= tolerance).mean())


def test_boundary_of_things_smaller_than_the_tolerance() -> None:
    result, reference = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    result[5, 5] = reference[5:8, 6] = 1
    scores = boundary(result, reference, 4.0, 20)
    assert scores == MatchScores(1, 3, 1, 3)
    assert boundary(result, reference, 2.0, 20) == MatchScores(1, 3, 1, 2)


@pytest.mark.parametrize("block", [7, 16, 33])
def test_boundary_does_not_depend_on_blocks(block: int) -> None:
    result, reference = random_maps(8, 3)
    result[:5] = reference[:5] = 255
    assert boundary(result, reference, 2.0, block) == boundary(result, reference, 2.0, 60)


def test_what_is_left_out_has_no_outline() -> None:
    classes = np.ones((6, 6), np.uint8)
    classes[:, 3:] = 255
    assert not outline_pixels(classes).any()


def test_pixels_that_are_not_square() -> None:
    reference = np.zeros((9, 9), np.uint8)
    reference[:, 5:] = 1
    result = np.roll(reference, 1, axis=1)
    result[:, 0] = 0
    counts = BoundaryCounts(1, 1.0)
    counts.update(result, reference, (slice(None), slice(None)), (2.0, 0.5))
    assert counts.scores()[1].f1 == 0.0
    counts = BoundaryCounts(1, 2.0)
    counts.update(result, reference, (slice(None), slice(None)), (2.0, 0.5))
    assert counts.scores()[1].f1 == 1.0


def objects(
    result: ClassMap, reference: ClassMap, classes: int, rows: int = 1000
) -> list[MatchScores]:
    """Match the objects of two maps, so many rows at once."""
    counts = ObjectCounts(classes)
    for top in range(0, len(result), rows):
        counts.update(result[top : top + rows], reference[top : top + rows])
    return counts.scores()


def test_objects_counted_by_hand() -> None:
    reference = np.zeros((20, 20), np.uint8)
    reference[1:5, 1:5] = 1  # found
    reference[1:5, 10:14] = 1  # found at exactly a half
    reference[10:14, 1:5] = 1  # missed: hit by a third only
    reference[10:14, 10:14] = 2  # found as another class
    result = np.zeros((20, 20), np.uint8)
    result[1:5, 1:6] = 1
    result[1:3, 10:14] = 1
    result[12:16, 1:5] = 1
    result[10:14, 10:14] = 1
    result[17:19, 17:19] = 2
    scores = objects(result, reference, 2)
    assert scores[0] == MatchScores(0, 0, 0, 0)
    assert scores[1] == MatchScores(4, 3, 2, 2)
    assert scores[2] == MatchScores(1, 1, 0, 0)
    assert scores[1].precision == 0.5
    assert scores[1].recall == pytest.approx(2 / 3)
    assert scores[2].f1 == 0.0


def test_an_object_has_one_partner_only() -> None:
    reference = np.zeros((6, 10), np.uint8)
    reference[1:5, 1:4] = reference[1:5, 5:8] = 1
    result = np.zeros((6, 10), np.uint8)
    result[1:5, 1:8] = 1
    result[1:5, 4] = 1
    assert objects(result, reference, 1)[1] == MatchScores(1, 2, 0, 0)
    halves = np.zeros((2, 8), np.uint8)
    halves[0] = 1
    halves[1] = 2
    whole = np.ones((2, 8), np.uint8)
    assert objects(whole, halves, 2)[1] == MatchScores(1, 1, 1, 1)


def test_no_objects_at_all() -> None:
    empty = np.zeros((5, 5), np.uint8)
    full = np.ones((5, 5), np.uint8)
    assert objects(empty, empty, 1)[1] == MatchScores(0, 0, 0, 0)
    assert math.isnan(objects(empty, empty, 1)[1].f1)
    assert objects(empty, full, 1)[1].f1 == 0.0
    assert objects(full, empty, 1)[1] == MatchScores(1, 0, 0, 0)


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_objects_do_not_depend_on_bands(rows: int) -> None:
    result, reference = random_maps(9, 4)
    expected = objects(result, reference, 3)
    assert sum(item.result_matched for item in expected) > 0
    assert objects(result, reference, 3, rows) == expected


def test_objects_match_brute_force() -> None:
    result, reference = random_maps(10, 3)
    for class_id, scores in enumerate(objects(result, reference, 2)[1:], start=1):
        one, first = ndimage.label(result == class_id)
        other, second = ndimage.label(reference == class_id)
        ious = np.array(
            [
                [
                    np.sum((one == i) & (other == j)) / np.sum((one == i) | (other == j))
                    for j in range(1, second + 1)
                ]
                for i in range(1, first + 1)
            ]
        )
        partners = int((ious >= 0.5).sum())
        assert scores == MatchScores(first, second, partners, partners)
