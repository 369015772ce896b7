"""Scores of class maps from a confusion matrix, reference in rows, result in columns.

Class 0 is "no class": pixels of the reference with none of the classes (its row), and unclassified
pixels of the result (its column).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .quality import QualityScores, binary_scores, mean_scores, one_against_rest

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ConfusionScores:
    """Scores, shares of 1; NaN where nothing was counted.

    Attributes:
        per_class: Scores of each class, "no class" first.
        accuracy: Share of the pixels that are right (overall accuracy).
        kappa: Cohen's kappa: agreement beyond that of chance with the same class shares.
        mean: Mean over the classes that occur in reference or result, including "no class" when
            the reference has such pixels.
    """

    per_class: tuple[QualityScores, ...]
    accuracy: float
    kappa: float
    mean: QualityScores


def count_pairs(
    reference: NDArray[np.integer], result: NDArray[np.integer], shape: tuple[int, int]
) -> Counts:
    """Count how often each pair of numbers occurs.

    Args:
        reference: Numbers 0 to ``shape[0]``, exclusive, of any shape.
        result: Numbers 0 to ``shape[1]``, exclusive, of the same shape.
        shape: Rows and columns of the matrix.

    Raises:
        ValueError: The shapes differ.
    """
    if reference.shape != result.shape:
        raise ValueError(f"The maps differ in shape: {reference.shape} and {result.shape}.")
    pairs = reference.astype(np.int64).ravel() * shape[1] + result.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)


def score_confusion(matrix: Counts) -> ConfusionScores:
    """Return the scores of a square matrix of counted pairs."""
    counts = matrix.astype(np.float64)
    per_class = tuple(
        binary_scores(one_against_rest(counts, index)) for index in range(len(counts))
    )
    first = 0 if matrix[0].any() else 1
    total = counts.sum()
    if not total:
        return ConfusionScores(per_class, np.nan, np.nan, mean_scores(list(per_class)))
    accuracy = float(counts.trace() / total)
    chance = float(counts.sum(axis=0) @ counts.sum(axis=1) / total**2)
    kappa = (accuracy - chance) / (1.0 - chance) if chance < 1.0 else float("nan")
    return ConfusionScores(per_class, accuracy, kappa, mean_scores(list(per_class[first:])))


def foreground_iou(matrix: Counts) -> float:
    """Return the IoU of the only class against "no class"; NaN unless there is exactly one class.

    Raises:
        ValueError: The matrix is not square.
    """
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"The matrix has the shape {matrix.shape}.")
    if len(matrix) != 2 or not matrix[0].any():
        return float("nan")
    return binary_scores(matrix.astype(np.float64)).iou
