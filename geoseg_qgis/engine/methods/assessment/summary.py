"""Quality of a whole layer, with an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .object_pixels import Core
from .object_quality import scores
from .quality_classes import BoolArray, FloatArray


@dataclass(frozen=True)
class Estimate:
    """A score and its interval, all 0..1; the interval is NaN where nothing varies."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LayerSummary:
    """Quality of a whole mask.

    Attributes:
        precision: Of the mask's pixels, from sums of probabilities.
        recall: Share of the true object pixels that the mask has.
        iou: Intersection over union.
        f1: Harmonic mean of precision and recall.
        soft_pixels: Expected pixels of TP, FP, TN, FN.
        hard_pixels: Pixels whose most likely class is TP, FP, TN, FN.
        level: Probability that the intervals are made for.
    """

    precision: Estimate
    recall: Estimate
    iou: Estimate
    f1: Estimate
    soft_pixels: tuple[float, float, float, float]
    hard_pixels: tuple[int, int, int, int]
    level: float


class LayerAccumulator:
    """Sums of the four classes, one row a tile, and one a run of each tile."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.float64]] = []
        self._hard = np.zeros(4, dtype=np.int64)

    def update(
        self,
        probabilities: FloatArray,
        core: Core = (slice(None), slice(None)),
        valid: BoolArray | None = None,
        run_probabilities: FloatArray | None = None,
    ) -> None:
        """Add one tile.

        Args:
            probabilities: (4, H, W), raw or constrained.
            core: The rows and columns that count.
            valid: Pixels that hold imagery, (H, W).
            run_probabilities: The same of each run, (R, 4, H, W); NaN where a run saw nothing.

        Raises:
            ValueError: The number of runs differs from that of the tiles before.
        """
        usable = np.ones(probabilities.shape[1:], dtype=bool) if valid is None else valid
        where = usable[core]
        inner = probabilities[(slice(None), *core)][:, where]
        rows = [inner.sum(1, dtype=np.float64)]
        if run_probabilities is not None:
            kept = run_probabilities[(slice(None), slice(None), *core)][:, :, where]
            rows.extend(np.nan_to_num(kept).sum(2, dtype=np.float64))
        if self._rows and len(self._rows[0]) != len(rows):
            raise ValueError("every tile must have the same number of runs")
        self._rows.append(np.stack(rows))
        self._hard += np.bincount(inner.argmax(0), minlength=4)

    def result(
        self,
        level: float = 0.95,
        resamples: int = 1000,
        seed: int = 0,
        run_totals: NDArray[np.float64] | None = None,
    ) -> LayerSummary:
        """Return the scores of all tiles with bootstrap intervals.

        Each resample draws the tiles with replacement and, where there are runs, takes one run for
        all of them, so that both the extent and the network's own wavering count.

        Args:
            level: Probability of the intervals, 0..1.
            resamples: Number of resamples.
            seed: Start of the random numbers.
            run_totals: Expected pixels of the four classes in each run over the whole layer,
                (R, 4), where the runs of single tiles were not kept.
        """
        rows = np.stack(self._rows) if self._rows else np.zeros((0, 1, 4))
        total = rows[:, 0].sum(0)
        if run_totals is not None and len(run_totals) > 1:
            rows = _with_runs(rows, run_totals)
        drawn = _resample(rows, resamples, seed)
        point, many = scores(*_counts(total)), scores(*_counts(drawn))
        tail = (1 - level) / 2
        estimates = {
            name: _estimate(getattr(point, name), getattr(many, name), tail)
            for name in ("precision", "recall", "iou", "f1")
        }
        return LayerSummary(
            **estimates,
            soft_pixels=(float(total[0]), float(total[1]), float(total[2]), float(total[3])),
            hard_pixels=tuple(int(count) for count in self._hard),  # type: ignore[arg-type]
            level=level,
        )


def _counts(
    rows: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    return rows[..., 0], rows[..., 1], rows[..., 3]


def _with_runs(rows: NDArray[np.float64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows (T, 1 + R, 4) whose runs differ from the mean by what the layer's runs do."""
    mean = totals.mean(0)
    factors = np.divide(totals, mean, out=np.ones_like(totals), where=mean > 0)
    return np.concatenate([rows[:, :1], rows[:, :1] * factors], axis=1)


def _resample(rows: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Return the class sums of each resample, (resamples, 4), from (tiles, 1 + runs, 4)."""
    tiles, columns = rows.shape[:2]
    if tiles == 0 or (tiles == 1 and columns < 3):
        return np.empty((0, 4))
    generator = np.random.default_rng(seed)
    runs = generator.integers(1, columns, resamples) if columns > 2 else np.zeros(resamples, int)
    drawn = np.empty((resamples, 4))
    for index, run in enumerate(runs):
        times = np.bincount(generator.integers(0, tiles, tiles), minlength=tiles)
        drawn[index] = times @ rows[:, run]
    return drawn


def _estimate(value: NDArray[np.float64], many: NDArray[np.float64], tail: float) -> Estimate:
    known = many[~np.isnan(many)]
    if not len(known):
        return Estimate(float(value), float("nan"), float("nan"))
    low, high = np.quantile(known, (tail, 1 - tail))
    return Estimate(float(value), float(low), float(high))
