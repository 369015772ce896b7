"""Scores of quality maps (panoramic quality mapping): how well TP, FP, TN and FN were predicted.

`QualityCounts` sums over all maps and leaves out classes that never occur. `PublishedQualityMeter`
averages over batches as the tables of the SegAssess paper do, where a class that is absent from
both maps of a batch scores 50 % (IoU 33.3 %).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLASS_NAMES = ("TP", "FP", "TN", "FN")
_FALSE_POSITIVE, _FALSE_NEGATIVE = 1, 3
# Added to every count, as in the published code; it makes an absent class score 50 %.
_PUBLISHED_FLOOR = 1e-9

ClassMap = NDArray[np.integer]
Matrix = NDArray[np.floating]


@dataclass(frozen=True)
class QualityScores:
    """Scores of one class or a mean of several; NaN where nothing was counted."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    iou: float

    def as_percent(self) -> QualityScores:
        """Return the scores times 100."""
        return QualityScores(*(100 * value for value in self.as_tuple()))

    def as_tuple(self) -> tuple[float, float, float, float, float]:
        """Return accuracy, precision, recall, F1 and IoU."""
        return self.accuracy, self.precision, self.recall, self.f1, self.iou


def mean_scores(scores: list[QualityScores]) -> QualityScores:
    """Return the mean of each score over those that have it."""
    values = np.array([score.as_tuple() for score in scores])
    known = ~np.isnan(values)
    count = known.sum(0)
    totals = np.where(known, values, 0).sum(0)
    return QualityScores(*(float(t / n) if n else float("nan") for t, n in zip(totals, count)))


def confusion(predicted: ClassMap, truth: ClassMap, valid: NDArray[np.bool_]) -> Matrix:
    """Count the class pairs of two maps of codes 0 TP, 1 FP, 2 TN, 3 FN.

    Returns:
        (4, 4), rows are the truth, columns the prediction.

    Raises:
        ValueError: The shapes differ or a code lies outside 0..3.
    """
    if not predicted.shape == truth.shape == valid.shape:
        raise ValueError(f"the maps differ in shape: {predicted.shape} and {truth.shape}")
    codes = np.stack([truth[valid], predicted[valid]]).astype(np.int64)
    if codes.size and (codes.min() < 0 or codes.max() > 3):
        raise ValueError("quality maps hold the codes 0 to 3; leave other pixels out as not valid")
    return np.bincount(codes[0] * 4 + codes[1], minlength=16).reshape(4, 4).astype(np.float64)


def one_against_rest(matrix: Matrix, positive: int) -> Matrix:
    """Return the (2, 2) matrix of one class (row and column 1) against all others."""
    hit = matrix[positive, positive]
    missed, false = matrix[positive].sum() - hit, matrix[:, positive].sum() - hit
    return np.array([[matrix.sum() - hit - missed - false, false], [missed, hit]])


def error_against_right(matrix: Matrix) -> Matrix:
    """Return the (2, 2) matrix of wrong (FP, FN; row and column 1) against right pixels."""
    wrong = [_FALSE_POSITIVE, _FALSE_NEGATIVE]
    right = [0, 2]
    return np.array(
        [[matrix[np.ix_(rows, columns)].sum() for columns in (right, wrong)]
         for rows in (right, wrong)]
    )  # fmt: skip


def binary_scores(matrix: Matrix, positive: int = 1) -> QualityScores:
    """Return the scores of one class of a (2, 2) matrix, rows the truth; NaN if it is absent."""
    hit, total = matrix[positive, positive], matrix.sum()
    truth, predicted = matrix[positive].sum(), matrix[:, positive].sum()
    return QualityScores(
        _ratio(matrix.trace(), total),
        _ratio(hit, predicted),
        _ratio(hit, truth),
        _ratio(2 * hit, truth + predicted),
        _ratio(hit, truth + predicted - hit),
    )


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


class QualityCounts:
    """Scores from counts that are summed over all maps."""

    def __init__(self) -> None:
        self.matrix: Matrix = np.zeros((4, 4))

    def update(
        self, predicted: ClassMap, truth: ClassMap, valid: NDArray[np.bool_] | None = None
    ) -> None:
        """Add maps of codes 0 TP, 1 FP, 2 TN, 3 FN, of any equal shapes."""
        usable = np.ones(truth.shape, dtype=bool) if valid is None else valid
        self.matrix += confusion(predicted, truth, usable)

    def per_class(self) -> dict[str, QualityScores]:
        """Return the scores of TP, FP, TN and FN, each against the rest."""
        return {
            name: binary_scores(one_against_rest(self.matrix, index))
            for index, name in enumerate(CLASS_NAMES)
        }

    def mean(self) -> QualityScores:
        """Return the mean over the classes that occur in either map."""
        return mean_scores(list(self.per_class().values()))

    def error_map(self) -> QualityScores:
        """Return the scores of finding wrong pixels, macro mean of wrong and right."""
        matrix = error_against_right(self.matrix)
        return mean_scores([binary_scores(matrix, 0), binary_scores(matrix, 1)])


class PublishedQualityMeter:
    """Scores in percent, averaged over batches as published."""

    def __init__(self) -> None:
        self._per_class: list[list[QualityScores]] = []
        self._errors: list[QualityScores] = []

    def update(self, predicted: ClassMap, truth: ClassMap) -> None:
        """Add one batch of maps of codes 0..3."""
        matrix = confusion(predicted, truth, np.ones(truth.shape, dtype=bool))
        self._per_class.append(
            [
                binary_scores(one_against_rest(matrix, index) + _PUBLISHED_FLOOR).as_percent()
                for index in range(4)
            ]
        )
        errors = error_against_right(matrix) + _PUBLISHED_FLOOR
        self._errors.append(
            mean_scores([binary_scores(errors, 0), binary_scores(errors, 1)]).as_percent()
        )

    def per_class(self) -> dict[str, QualityScores]:
        """Return the mean over the batches for each class."""
        return {
            name: mean_scores([batch[index] for batch in self._per_class])
            for index, name in enumerate(CLASS_NAMES)
        }

    def mean(self) -> QualityScores:
        """Return the mean of the four classes."""
        return mean_scores(list(self.per_class().values()))

    def error_map(self) -> QualityScores:
        """Return the mean over the batches of the wrong-against-right scores."""
        return mean_scores(self._errors)

    def selection_score(self) -> float:
        """Return the score by which the published checkpoints were selected.

        It is the mean over the batches of the running means of the FP and FN IoU, so early batches
        count more.

        Raises:
            ValueError: No batch was added.
        """
        if not self._per_class:
            raise ValueError("no batch was added")
        wrong = np.array(
            [
                (batch[_FALSE_POSITIVE].iou + batch[_FALSE_NEGATIVE].iou) / 2
                for batch in self._per_class
            ]
        )
        running = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
        return float(running.mean())


@dataclass(frozen=True)
class Calibration:
    """How predicted scores compare with true ones, bin by bin.

    Attributes:
        predicted: Mean predicted score of each bin, NaN for an empty bin, (bins,).
        actual: Mean true score of each bin, (bins,).
        count: Pairs in each bin, (bins,).
        error: Mean distance between predicted and actual means, weighed by the counts.
        correlation: Pearson correlation of all pairs; NaN if either never varies.
    """

    predicted: NDArray[np.float64]
    actual: NDArray[np.float64]
    count: NDArray[np.int64]
    error: float
    correlation: float


def calibrate(
    predicted: NDArray[np.floating], actual: NDArray[np.floating], bins: int = 10
) -> Calibration:
    """Compare predicted with true scores, both 0..1; pairs with a NaN are left out.

    Args:
        predicted: Predicted scores, such as the IoU of each object, (N,).
        actual: True scores, (N,).
        bins: Number of equal bins of the predicted score.
    """
    known = ~(np.isnan(predicted) | np.isnan(actual))
    first, second = predicted[known].astype(np.float64), actual[known].astype(np.float64)
    place = np.clip((first * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_first = np.bincount(place, first, minlength=bins) / count
        mean_second = np.bincount(place, second, minlength=bins) / count
    filled = count > 0
    gaps = np.abs(mean_first - mean_second)[filled] * count[filled]
    varies = len(first) > 1 and np.ptp(first) > 0 and np.ptp(second) > 0
    return Calibration(
        mean_first,
        mean_second,
        count,
        float(gaps.sum() / count.sum()) if filled.any() else float("nan"),
        float(np.corrcoef(first, second)[0, 1]) if varies else float("nan"),
    )
