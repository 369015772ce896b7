"""Semantic segmentation metrics from histograms summed over a data set.

Intersection, prediction and reference pixels of each class are counted image by image and divided
once at the end, never averaged over images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORED = 255


@dataclass(frozen=True)
class SemanticMetrics:
    """Metrics of a data set, shares of 1; NaN where a class occurs nowhere.

    Attributes:
        iou: (C,) float64 intersection over union of each class.
        accuracy: (C,) float64 recall of each class.
        overall_accuracy: Share of the reference pixels that are right.
    """

    iou: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    overall_accuracy: float

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that occur in prediction or reference, background included."""
        return _mean(self.iou)

    @property
    def mean_accuracy(self) -> float:
        """Mean over the classes that occur in the reference."""
        return _mean(self.accuracy)

    @property
    def foreground_iou(self) -> float:
        """IoU of class 1, the metric of data sets with background and one class.

        Raises:
            ValueError: There are not exactly two classes.
        """
        if len(self.iou) != 2:
            raise ValueError("The foreground IoU is defined for background and one class only.")
        return float(self.iou[1])

    def percentages(self) -> dict[str, float]:
        """`mIoU`, `mAcc`, `aAcc` (and `fgIoU` of two classes) times 100, to 2 decimals."""
        values = {
            "mIoU": self.mean_iou,
            "mAcc": self.mean_accuracy,
            "aAcc": self.overall_accuracy,
        }
        if len(self.iou) == 2:
            values["fgIoU"] = self.foreground_iou
        return {name: round(value * 100, 2) for name, value in values.items()}


class SemanticEvaluation:
    """Counts over a data set.

    Args:
        class_count: Classes 0 to this, exclusive.
        ignored: Reference id of pixels that do not count.
    """

    def __init__(self, class_count: int, ignored: int = IGNORED) -> None:
        self._ignored = ignored
        self._matches: NDArray[np.int64] = np.zeros(class_count, dtype=np.int64)
        self._predicted: NDArray[np.int64] = np.zeros(class_count, dtype=np.int64)
        self._reference: NDArray[np.int64] = np.zeros(class_count, dtype=np.int64)

    def update(self, prediction: NDArray[np.integer], reference: NDArray[np.integer]) -> None:
        """Count one image or one tile of it.

        Ids outside the classes are in no histogram, so such a prediction is a miss of the
        reference class and no false alarm of any.

        Args:
            prediction: (H, W) class ids.
            reference: (H, W) class ids.

        Raises:
            ValueError: The shapes differ.
        """
        if prediction.shape != reference.shape:
            raise ValueError(
                f"Prediction {prediction.shape} and reference {reference.shape} differ in size."
            )
        counted = reference != self._ignored
        predicted = prediction[counted].astype(np.int64)
        expected = reference[counted].astype(np.int64)
        self._matches += self._histogram(predicted[predicted == expected])
        self._predicted += self._histogram(predicted)
        self._reference += self._histogram(expected)

    def result(self) -> SemanticMetrics:
        """Metrics of everything counted so far."""
        union = self._predicted + self._reference - self._matches
        with np.errstate(invalid="ignore", divide="ignore"):
            return SemanticMetrics(
                self._matches / union,
                self._matches / self._reference,
                float(np.float64(self._matches.sum()) / self._reference.sum()),
            )

    def _histogram(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        count = len(self._matches)
        inside = ids[(ids >= 0) & (ids < count)]
        return np.bincount(inside, minlength=count).astype(np.int64)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
