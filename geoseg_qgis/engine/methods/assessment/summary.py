"""Quality of a whole mask, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .object_pixels import Core
from .object_quality import scores
from .quality_classes import BoolArray, FloatArray

SCORES = ("precision", "recall", "iou", "f1")


@dataclass(frozen=True)
class Estimate:
    """A score and its interval, all 0..1; the interval is NaN where nothing varies."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class MaskSummary:
    """Quality of a whole mask.

    Attributes:
        precision: Of the mask's pixels, from sums of probabilities.
        recall: Share of the true object pixels that the mask has.
        iou: Intersection over union.
        f1: Harmonic mean of precision and recall.
        soft_pixels: Expected pixels of TP, FP, TN, FN.
        hard_pixels: Pixels whose most likely class is TP, FP, TN, FN.
        level: Probability of the intervals.
    """

    precision: Estimate
    recall: Estimate
    iou: Estimate
    f1: Estimate
    soft_pixels: tuple[float, float, float, float]
    hard_pixels: tuple[int, int, int, int]
    level: float


class MaskAccumulator:
    """Sums of the four classes, one row a tile."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.float64]] = []
        self._hard = np.zeros(4, dtype=np.int64)

    def update(
        self,
        probabilities: FloatArray,
        core: Core = (slice(None), slice(None)),
        valid: BoolArray | None = None,
    ) -> None:
        """Add one tile.

        Args:
            probabilities: (4, H, W), raw or constrained.
            core: The rows and columns that count.
            valid: Pixels that hold imagery, (H, W).
        """
        usable = np.ones(probabilities.shape[1:], dtype=bool) if valid is None else valid
        inner = probabilities[(slice(None), *core)][:, usable[core]]
        self._rows.append(inner.sum(1, dtype=np.float64))
        self._hard += np.bincount(inner.argmax(0), minlength=4)

    def result(
        self,
        level: float = 0.95,
        resamples: int = 1000,
        seed: int = 0,
        view_totals: NDArray[np.float64] | None = None,
    ) -> MaskSummary:
        """Return the scores of all tiles with bootstrap intervals.

        Each resample draws the tiles with replacement. Where there are several views it takes one
        of them for all tiles, so the intervals hold the variation over the area and over views.

        Args:
            level: Probability of the intervals, 0..1.
            resamples: Number of resamples.
            seed: Start of the random numbers.
            view_totals: Expected pixels of the four classes in each view over the whole mask,
                (V, 4); None without.
        """
        rows = np.stack(self._rows)[:, None] if self._rows else np.zeros((0, 1, 4))
        total = rows[:, 0].sum(0)
        if view_totals is not None and len(view_totals) > 1:
            rows = _with_views(rows, view_totals)
        drawn = _resample(rows, resamples, seed)
        point, many = scores(*_counts(total)), scores(*_counts(drawn))
        tail = (1 - level) / 2
        estimates = {
            name: _estimate(getattr(point, name), getattr(many, name), tail) for name in SCORES
        }
        return MaskSummary(
            **estimates,
            soft_pixels=(float(total[0]), float(total[1]), float(total[2]), float(total[3])),
            hard_pixels=tuple(int(count) for count in self._hard),  # type: ignore[arg-type]
            level=level,
        )


def _counts(
    rows: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    return rows[..., 0], rows[..., 1], rows[..., 3]


def _with_views(rows: NDArray[np.float64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows (T, 1 + V, 4) whose views differ from the mean as those of the whole mask do."""
    mean = totals.mean(0)
    factors = np.divide(totals, mean, out=np.ones_like(totals), where=mean > 0)
    return np.concatenate([rows[:, :1], rows[:, :1] * factors], axis=1)


def _resample(rows: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Return the class sums of each resample, (resamples, 4), from (tiles, 1 + views, 4)."""
    tiles, columns = rows.shape[:2]
    if tiles == 0 or (tiles == 1 and columns < 3):
        return np.empty((0, 4))
    generator = np.random.default_rng(seed)
    views = generator.integers(1, columns, resamples) if columns > 2 else np.zeros(resamples, int)
    drawn = np.empty((resamples, 4))
    for index, view in enumerate(views):
        times = np.bincount(generator.integers(0, tiles, tiles), minlength=tiles)
        drawn[index] = times @ rows[:, view]
    return drawn


def _estimate(value: NDArray[np.float64], many: NDArray[np.float64], tail: float) -> Estimate:
    known = many[~np.isnan(many)]
    if not len(known):
        return Estimate(float(value), float("nan"), float("nan"))
    low, high = np.quantile(known, (tail, 1 - tail))
    return Estimate(float(value), float(low), float(high))
