"""Gradient boosting with symmetric trees, for a few thousand samples.

All nodes of one level of a tree ask the same question, as in CatBoost (Prokhorenkova et al. 2018),
so a tree is three small arrays and needs no code of its own in a file: features and thresholds of
its levels, and a value for each class in each of its leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg_qgis.engine.models.weights import State
from geoseg_qgis.engine.progress import Progress

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BoostingSettings:
    """How trees are grown.

    Attributes:
        trees: Number of trees.
        depth: Levels of a tree.
        rate: Learning rate.
        bins: Thresholds that are tried for a feature, plus one.
        share: Share of the features that a tree may ask for.
        penalty: L2 penalty of the values of leaves, in samples.
    """

    trees: int = 80
    depth: int = 4
    rate: float = 0.15
    bins: int = 32
    share: float = 0.25
    penalty: float = 3.0


@dataclass(frozen=True)
class BoostedTrees:
    """Symmetric trees of T trees of depth D for C classes.

    Attributes:
        features: (T, D) int64.
        thresholds: (T, D); a feature above it sets the bit of its level.
        leaves: (T, 2 ** D, C).
        start: (C,) logits before the first tree.
    """

    features: Tensor
    thresholds: Tensor
    leaves: Tensor
    start: Tensor

    def logits(self, samples: Tensor) -> Tensor:
        """Return (n, C) of samples (n, F)."""
        device = samples.device
        result = self.start.to(device).expand(len(samples), -1).clone()
        places = (2 ** torch.arange(self.features.shape[1])).to(device)
        trees = zip(self.features, self.thresholds, self.leaves, strict=True)
        for features, thresholds, leaves in trees:
            above = samples[:, features.to(device)] > thresholds.to(device)
            result += leaves.to(device)[(above * places).sum(dim=1)]
        return result

    def state(self) -> State:
        """Return the tensors to save."""
        return {
            "features": self.features,
            "thresholds": self.thresholds,
            "leaves": self.leaves,
            "start": self.start,
        }


def grow(  # noqa: PLR0917
    samples: Tensor,
    classes: Tensor,
    weights: Tensor,
    count: int,
    settings: BoostingSettings,
    seed: int,
    progress: Progress,
) -> BoostedTrees:
    """Return trees that minimise the weighted cross-entropy.

    Args:
        samples: (n, F).
        classes: (n,) int64.
        weights: (n,), with a mean of one.
        count: Number of classes.
        settings: How trees are grown.
        seed: Of the features that each tree may ask for.
        progress: Called with the finished fraction; raises to stop.
    """
    rng = np.random.default_rng(seed)
    values = samples.double().numpy()
    weight = weights.double().numpy()
    truth = np.eye(count)[classes.numpy()]
    edges = _edges(values, settings.bins)
    binned = np.stack(
        [np.searchsorted(edge, column, side="left") for edge, column in zip(edges, values.T)]
    ).astype(np.int64)
    prior = (truth * weight[:, None]).sum(axis=0) + 1e-3
    start = np.log(prior / prior.sum())
    logits = np.tile(start, (len(values), 1))
    chosen = np.zeros((settings.trees, settings.depth), np.int64)
    thresholds = np.zeros((settings.trees, settings.depth))
    leaves = np.zeros((settings.trees, 2**settings.depth, count))
    asked = max(1, round(settings.share * values.shape[1]))
    for tree in range(settings.trees):
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)
        gradient = (truth - probabilities) * weight[:, None]
        curvature = (probabilities * (1 - probabilities)) * weight[:, None]
        offered = rng.choice(values.shape[1], asked, replace=False)
        nodes = np.zeros(len(values), np.int64)
        for level in range(settings.depth):
            feature, cut = _best_question(
                binned, offered, nodes, 2**level, (gradient, curvature), settings
            )
            chosen[tree, level] = feature
            edge = edges[feature]
            # Equal quantiles leave fewer thresholds than bins; beyond them nothing is divided.
            thresholds[tree, level] = edge[cut] if cut < len(edge) else np.inf
            nodes += (values[:, feature] > thresholds[tree, level]).astype(np.int64) << level
        total, bend = (
            np.stack([np.bincount(nodes, one, 2**settings.depth) for one in part.T], axis=1)
            for part in (gradient, curvature)
        )
        leaves[tree] = settings.rate * total / (bend + settings.penalty)
        logits += leaves[tree][nodes]
        progress((tree + 1) / settings.trees)
    return BoostedTrees(
        torch.from_numpy(chosen),
        torch.from_numpy(thresholds).float(),
        torch.from_numpy(leaves).float(),
        torch.from_numpy(start).float(),
    )


def _edges(values: Floats, bins: int) -> list[Floats]:
    """Return the thresholds to try for each feature: quantiles, as float32 numbers hold them."""
    shares = np.linspace(0, 1, bins + 1)[1:-1]
    quantiles = np.quantile(values, shares, axis=0).astype(np.float32).astype(np.float64)
    return [np.unique(column) for column in quantiles.T]


def _best_question(  # noqa: PLR0917
    binned: NDArray[np.int64],
    offered: NDArray[np.int64],
    nodes: NDArray[np.int64],
    count: int,
    sums: tuple[Floats, Floats],
    settings: BoostingSettings,
) -> tuple[int, int]:
    """Return the feature and the threshold that lower the loss most, over all nodes of a level."""
    size = count * settings.bins
    starts = size * np.arange(len(offered))[:, None]
    # All features are counted at once, which is many times faster for few samples.
    keys = (binned[offered] + nodes * settings.bins + starts).ravel()
    gain = np.zeros((len(offered), settings.bins - 1))
    for gradient, curvature in zip(sums[0].T, sums[1].T, strict=True):
        total, bend = (
            np.bincount(keys, np.tile(part, len(offered)), size * len(offered))
            .reshape(len(offered), count, settings.bins)
            .cumsum(axis=2)
            for part in (gradient, curvature)
        )
        left, left_bend = total[..., :-1], bend[..., :-1]
        right, right_bend = total[..., -1:] - left, bend[..., -1:] - left_bend
        gain += (left**2 / (left_bend + settings.penalty)).sum(axis=1)
        gain += (right**2 / (right_bend + settings.penalty)).sum(axis=1)
    place, cut = np.unravel_index(int(gain.argmax()), gain.shape)
    return int(offered[place]), int(cut)
