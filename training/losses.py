"""Losses over partial labels."""

from __future__ import annotations

import torch
from torch.nn import functional


def compatible(labels: torch.Tensor, surfaces: torch.Tensor) -> torch.Tensor:
    """Return which queries a partially labelled pixel may match.

    Args:
        labels: (...) int64 bit masks of possible land covers.
        surfaces: (Q,) int64 bit masks of the queries.

    Returns:
        (..., Q) bool.
    """
    return (labels[..., None] & surfaces) != 0


def rarity(labels: torch.Tensor, exponent: float = 0.75, limit: float = 12.0) -> torch.Tensor:
    """Return weights that grow as a label becomes rare in its batch, with mean 1.

    The frequency of a class in training says little about the rasters of users.

    Args:
        labels: (M,) int64 bit masks.
        exponent: 0 for equal weights, 1 for equal sums of weights of all labels.
        limit: Largest weight before the mean is made 1.
    """
    _, group, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    weights: torch.Tensor = (counts.float() / len(labels)).pow(-exponent).clamp(max=limit)[group]
    return weights / weights.mean()


def partial_cross_entropy(
    logits: torch.Tensor, positive: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the weighted mean of -log of the probability that falls on the possible queries.

    Args:
        logits: (M, Q).
        positive: (M, Q) bool; rows without or with only positives do not count.
        weights: (M,) weight of each row; equal when absent.
    """
    informative = positive.any(1) & ~positive.all(1)
    if not bool(informative.any()):
        return logits.sum() * 0
    logits, positive = logits[informative], positive[informative]
    gain = logits.masked_fill(~positive, float("-inf")).logsumexp(1)
    surprise = logits.logsumexp(1) - gain
    if weights is None:
        return surprise.mean()
    weights = weights[informative]
    return (surprise * weights).sum() / weights.sum()


def area_targets(positive: torch.Tensor) -> torch.Tensor:
    """Return the share of an image that each query may cover.

    Args:
        positive: (B, M, Q) bool.

    Returns:
        (B, Q) rows summing to 1, or zeros where nothing is labelled.
    """
    informative = positive.any(2) & ~positive.all(2)
    share = positive.float() / positive.float().sum(2, keepdim=True).clamp_min(1)
    total = (share * informative[..., None].float()).sum(1)
    return total / total.sum(1, keepdim=True).clamp_min(1e-6)


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of (B, Q) logits with (B, Q) distributions."""
    return -(targets * functional.log_softmax(logits, dim=1)).sum(1).mean()
