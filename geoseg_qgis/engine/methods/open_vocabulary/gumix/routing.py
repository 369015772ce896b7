"""Choice of a scale for each pixel (paper: geometry-uncertainty energy).

A pixel takes the finer scale where its region is thin or small against the median, unless the
entropy of the classes there speaks against it. The pixel arithmetic takes its statistics as an
argument, so that a raster can be routed tile by tile with the statistics of the whole raster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .settings import GumixSettings


@dataclass(frozen=True)
class RoutingStatistics:
    """What the routing needs to know of a whole image.

    Attributes:
        complexity_range: Least and greatest geometric complexity.
        complexity_median: Lower median of the complexity over all pixels, zeros included.
        entropy_ranges: Least and greatest entropy of each scale.
    """

    complexity_range: tuple[float, float]
    complexity_median: float
    entropy_ranges: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Routing:
    """The routed image.

    Attributes:
        choice: (H, W) int64, index of the chosen scale.
        scores: (S, H, W) float32, routing score of each scale.
        logits: (C, H, W), those of the chosen scale.
    """

    choice: Tensor
    scores: Tensor
    logits: Tensor


def class_entropy(logits: Tensor, epsilon: float) -> Tensor:
    """Entropy in nats of the softmax of unscaled cosines.

    Args:
        logits: (..., C, H, W); taken in float32, as half precision cannot tell the values apart.
        epsilon: Least probability inside the logarithm.

    Returns:
        (..., H, W) float32.
    """
    probabilities = torch.softmax(logits.float(), dim=-3)
    return -(probabilities * probabilities.clamp(min=epsilon).log()).sum(dim=-3)


def normalise_range(values: Tensor, least: float, greatest: float, epsilon: float) -> Tensor:
    """Values as a share of their range, (x - least) / (greatest - least + epsilon)."""
    spread = torch.tensor(greatest) - torch.tensor(least) + epsilon
    return (values - least) / spread.to(values.device)


def geometry_preference(scales: Sequence[float]) -> tuple[float, ...]:
    """Preference of each scale for complex regions, -1 for the least to +1 for the greatest."""
    least, greatest = min(scales), max(scales)
    if least == greatest:
        return tuple(0.0 for _ in scales)
    middle = (least + greatest) / 2
    return tuple(2 * (scale - middle) / (greatest - least) for scale in scales)


def routing_scores(
    complexity: Tensor,
    entropies: Tensor,
    statistics: RoutingStatistics,
    settings: GumixSettings,
) -> Tensor:
    """Score of each scale: geometry preference times centred complexity minus entropy.

    Args:
        complexity: (H, W) geometric complexity.
        entropies: (S, H, W) entropy of each scale.
        statistics: Statistics of the whole image.
        settings: Scales, weights and epsilon.

    Returns:
        (S, H, W) float32.
    """
    epsilon = settings.normalisation_epsilon
    least, greatest = statistics.complexity_range
    median = torch.tensor(statistics.complexity_median)
    centre = float(normalise_range(median, least, greatest, epsilon))
    centred = normalise_range(complexity, least, greatest, epsilon) - centre
    scores = [
        settings.geometry_weight * preference * centred
        - settings.uncertainty_weight * normalise_range(entropy, *span, epsilon)
        for preference, entropy, span in zip(
            geometry_preference(settings.scales),
            entropies,
            statistics.entropy_ranges,
            strict=True,
        )
    ]
    return torch.stack(scores)


def choose_scale(scores: Tensor) -> Tensor:
    """Index of the greatest score (S, H, W) to (H, W); the smaller scale wins ties."""
    choice = torch.zeros(scores.shape[1:], dtype=torch.int64, device=scores.device)
    best = scores[0]
    for index in range(1, len(scores)):
        better = scores[index] > best
        choice = torch.where(better, index, choice)
        best = torch.where(better, scores[index], best)
    return choice


def route(
    logits: Tensor,
    complexity: Tensor,
    settings: GumixSettings,
    statistics: RoutingStatistics,
) -> Routing:
    """Choose a scale for each pixel.

    Args:
        logits: (S, C, H, W) cosines of each scale on one grid.
        complexity: (H, W) geometric complexity.
        settings: Scales, weights and epsilons.
        statistics: Statistics of the whole image or raster.

    Returns:
        Choice, scores and the chosen logits.
    """
    entropies = class_entropy(logits, settings.entropy_epsilon)
    scores = routing_scores(complexity, entropies, statistics, settings)
    choice = choose_scale(scores)
    index = choice[None, None].expand(1, logits.shape[1], -1, -1)
    return Routing(choice, scores, torch.gather(logits, 0, index)[0])
