"""Spatially blocked cross-validation: accuracy on places far from those that were learnt from.

Pixels near each other are alike, so a random division would test on what it learnt. Places are
therefore held back in whole square blocks (Roberts et al. 2017, doi:10.1111/ecog.02881).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from geoseg_qgis.engine.progress import Progress, share_of

from .heads import BOOSTING, LOGISTIC, NETWORK, fit_head
from .labels import Labels

FOLDS = 5
# Sides of the blocks that are tried, as parts of the longer side of what is labelled.
_PARTS = (4, 6, 8, 12, 16, 24, 32)
_DRAWS = 400
_INTERVAL = (2.5, 97.5)
_CANDIDATES = (LOGISTIC, NETWORK, BOOSTING)
# A more complicated head has to be better by this much in mean IoU.
_MARGIN = 0.005
_MOST_SAMPLES = 6000


@dataclass(frozen=True)
class Blocks:
    """The division of the labels.

    Attributes:
        block: Number of the block of each pixel, (n,).
        fold: Number of the fold of each pixel, (n,).
        side: Side of a block in pixels; 0 when every place is a block of its own.
    """

    block: NDArray[np.int64]
    fold: NDArray[np.int64]
    side: float


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Accuracy:
    """How well held-back places were classified.

    Attributes:
        names: The classes.
        matrix: Held-back places, labelled in rows, predicted in columns; a place counts once.
        iou: Of each class.
        f1: Of each class.
        mean_iou: Of the tested classes.
        overall: Share of the places that are right.
        places: Number of places of each class that were tested.
        head: Kind of the head.
        mean_ious: Mean IoU of every head that was tried.
        side: Side of the blocks in pixels, 0 for single places.
    """

    names: tuple[str, ...]
    matrix: NDArray[np.float64]
    iou: tuple[Interval, ...]
    f1: tuple[Interval, ...]
    mean_iou: Interval
    overall: Interval
    places: tuple[int, ...]
    head: str
    mean_ious: dict[str, float]
    side: float

    @property
    def untested(self) -> tuple[str, ...]:
        """Classes of which no place could be held back."""
        return tuple(
            name for name, count in zip(self.names, self.places, strict=True) if count == 0
        )


def divide(labels: Labels, seed: int) -> Blocks:
    """Return blocks as large as leaves each class in several of them, and their folds."""
    index = np.unique(labels.places, return_inverse=True)[1]
    members = np.bincount(index)
    rows = (np.bincount(index, labels.rows) / members)[index]
    columns = (np.bincount(index, labels.columns) / members)[index]
    extent = max(float(np.ptp(rows)), float(np.ptp(columns)), 1.0)
    wanted = [
        min(FOLDS, len(np.unique(index[labels.classes == number])))
        for number in range(len(labels.names))
    ]
    block, side = index.astype(np.int64), 0.0
    for parts in _PARTS:
        length = extent / parts
        keys = np.floor((rows - rows.min()) / length) * (parts + 2) + np.floor(
            (columns - columns.min()) / length
        )
        found = [
            len(np.unique(keys[labels.classes == number])) for number in range(len(labels.names))
        ]
        if all(have >= want for have, want in zip(found, wanted, strict=True)):
            block, side = np.unique(keys, return_inverse=True)[1].astype(np.int64), length
            break
    return Blocks(block, _folds(block, labels, seed), side)


def _folds(block: NDArray[np.int64], labels: Labels, seed: int) -> NDArray[np.int64]:
    """Spread blocks over the folds so that each fold has its share of every class."""
    count = int(block.max()) + 1
    held = np.zeros((count, len(labels.names)))
    np.add.at(held, (block, labels.classes), 1.0)
    held /= held.sum(axis=0)
    filled = np.zeros((FOLDS, len(labels.names)))
    fold = np.zeros(count, np.int64)
    shuffled = np.random.default_rng(seed).permutation(count)
    for number in shuffled[np.argsort(-held[shuffled].sum(axis=1), kind="stable")].tolist():
        after = ((filled + held[number]) ** 2).sum(axis=1) - (filled**2).sum(axis=1)
        fold[number] = int(after.argmin())
        filled[fold[number]] += held[number]
    return fold[block]


@dataclass(frozen=True)
class Chosen:
    """The head that was chosen, its temperature and its accuracy."""

    kind: str
    temperature: float
    accuracy: Accuracy


def cross_validate(
    labels: Labels, samples: torch.Tensor, deep: int, seed: int, progress: Progress
) -> Chosen:
    """Choose the head that does best on held-back blocks.

    Args:
        labels: The labelled pixels.
        samples: Their features, (n, F).
        deep: How many of the first features are principal components.
        seed: Of all random choices.
        progress: Called with the finished fraction; raises to stop.
    """
    rng = np.random.default_rng(seed)
    if len(labels) > _MOST_SAMPLES:
        kept = np.sort(rng.choice(len(labels), _MOST_SAMPLES, replace=False))
        labels, samples = labels.take(kept), samples[torch.from_numpy(kept)]
    blocks = divide(labels, seed)
    weights = _place_weights(labels)
    found: dict[str, NDArray[np.float64]] = {}
    steps = len(_CANDIDATES) * FOLDS
    for number, kind in enumerate(_CANDIDATES):
        logits = np.full((len(labels), len(labels.names)), np.nan)
        for fold in range(FOLDS):
            start = (number * FOLDS + fold) / steps
            share = share_of(progress, start, start + 1 / steps)
            tested = blocks.fold == fold
            learnt = np.unique(labels.classes[~tested])
            # A class that is nowhere else cannot be found, which says nothing about the head.
            tested &= np.isin(labels.classes, learnt)
            if not tested.any() or len(learnt) < 2:
                continue
            train = torch.from_numpy(blocks.fold != fold)
            head = fit_head(
                kind, samples[train], labels.classes[train.numpy()], len(labels.names), deep, seed,
                share,
            )  # fmt: skip
            logits[tested] = head.logits(samples[torch.from_numpy(tested)]).numpy()
        found[kind] = logits
    scores = {kind: _mean_iou(labels, logits, weights) for kind, logits in found.items()}
    best = _CANDIDATES[0]
    for kind in _CANDIDATES[1:]:
        if not scores[best] >= scores[kind] - _MARGIN:
            best = kind
    tested = np.isfinite(found[best]).all(axis=1)
    temperature = fit_temperature(found[best][tested], labels.classes[tested], weights[tested])
    accuracy = _accuracy(labels, found[best], weights, blocks, best, scores, seed)
    return Chosen(best, temperature, accuracy)


def _place_weights(labels: Labels) -> NDArray[np.float64]:
    """Return the weight of each pixel, so that each place counts once."""
    index = np.unique(labels.places, return_inverse=True)[1]
    return np.asarray(1.0 / np.bincount(index)[index])


def _matrix(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], weights: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    pairs = truth * count + predicted
    sums = np.asarray(np.bincount(pairs, weights, count * count), dtype=np.float64)
    return sums.reshape(count, count)


def _mean_iou(labels: Labels, logits: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    tested = np.isfinite(logits).all(axis=1)
    if not tested.any():
        return float("nan")
    matrix = _matrix(
        labels.classes[tested], logits[tested].argmax(axis=1), weights[tested], len(labels.names)
    )
    return float(np.nanmean(_ious(matrix)))


def _ious(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the IoU of each class, NaN for those that were not tested."""
    hits, labelled = np.diag(matrix), matrix.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = hits / (labelled + matrix.sum(axis=0) - hits)
    return np.where(labelled > 0, iou, np.nan)


def _accuracy(  # noqa: PLR0917
    labels: Labels,
    logits: NDArray[np.float64],
    weights: NDArray[np.float64],
    blocks: Blocks,
    head: str,
    scores: dict[str, float],
    seed: int,
) -> Accuracy:
    count = len(labels.names)
    tested = np.isfinite(logits).all(axis=1)
    truth, predicted = labels.classes[tested], logits[tested].argmax(axis=1)
    weight, block = weights[tested], blocks.block[tested]
    matrix = _matrix(truth, predicted, weight, count)
    # Blocks are drawn, not pixels, because those of a block are alike.
    rng = np.random.default_rng(seed)
    numbers = np.unique(block, return_inverse=True)[1]
    total = int(numbers.max()) + 1 if len(numbers) else 1
    draws = []
    for _ in range(_DRAWS if total > 1 else 0):
        often = np.bincount(rng.integers(0, total, total), minlength=total)
        draws.append(_scores(_matrix(truth, predicted, weight * often[numbers], count)))
    sampled = np.array(draws).reshape(len(draws), 2 * count + 2)
    intervals = tuple(
        _interval(value, sampled[:, place]) for place, value in enumerate(_scores(matrix))
    )
    places = tuple(
        len(np.unique(labels.places[tested][truth == number])) for number in range(count)
    )
    return Accuracy(
        labels.names, matrix, intervals[:count], intervals[count : 2 * count], intervals[-2],
        intervals[-1], places, head, scores, blocks.side,
    )  # fmt: skip


def _scores(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return IoU and F1 of each class, mean IoU and overall accuracy in one row."""
    iou = _ious(matrix)
    total = matrix.sum()
    overall = matrix.trace() / total if total else np.nan
    mean = float(np.nanmean(iou)) if np.isfinite(iou).any() else np.nan
    return np.concatenate([iou, 2 * iou / (1 + iou), [mean, overall]])


def _interval(value: float, draws: NDArray[np.float64]) -> Interval:
    known = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(known) < _DRAWS // 2:
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.percentile(known, _INTERVAL)
    return Interval(float(value), float(low), float(high))


def fit_temperature(
    logits: NDArray[np.float64], classes: NDArray[np.int64], weights: NDArray[np.float64]
) -> float:
    """Return the temperature that calibrates logits best (Guo et al. 2017), 0.25 to 8.

    Args:
        logits: (n, C) of held-back samples.
        classes: (n,).
        weights: (n,).
    """
    if not len(logits):
        return 1.0
    values, known = torch.from_numpy(logits), torch.from_numpy(classes)
    weight = torch.from_numpy(weights)
    steps = np.geomspace(0.25, 8.0, 61)
    losses = [
        float((functional.cross_entropy(values / step, known, reduction="none") * weight).sum())
        for step in steps
    ]
    return float(steps[int(np.argmin(losses))])
