"""Losses that make patch features agree inside one land cover or object and differ between them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

NEUTRAL_COSINE = 0.4
SHARPNESS = 8.0


def pair_targets(labels: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return for every pair of cells whether it must agree and whether it must differ.

    Args:
        labels: (M,) int64 bit masks of possible land covers.
        known: (M,) bool, cells whose mask is one class of a legend rather than the rest.

    Returns:
        Two (M, M) bool matrices: same class, and no land cover in common.
    """
    same = (labels[:, None] == labels[None]) & known[:, None] & known[None]
    apart = ((labels[:, None] & labels[None]) == 0) & (labels != 0)[:, None] & (labels != 0)[None]
    return same, apart


def affinity_loss(features: Tensor, labels: Tensor, known: Tensor) -> Tensor:
    """Return the balanced binary cross-entropy of cosines against pair targets.

    Args:
        features: (M, D) unit rows.
        labels: (M,) bit masks.
        known: (M,) bool.
    """
    same, apart = pair_targets(labels, known)
    logits = SHARPNESS * (features @ features.T - NEUTRAL_COSINE)
    attract, repel = functional.softplus(-logits), functional.softplus(logits)
    zero = features.sum() * 0
    pull = attract[same].mean() if bool(same.any()) else zero
    push = repel[apart].mean() if bool(apart.any()) else zero
    return pull + push


def cell_labels(labels: Tensor, cells: int) -> Tensor:
    """Return the mask of each cell: what all of its sampled pixels agree on, else unknown.

    Args:
        labels: (B, S, S) int64 bit masks.
        cells: Cells a side.

    Returns:
        (B, cells * cells) int64; 0 where the pixels disagree.
    """
    stride = labels.shape[-1] // cells
    blocks = labels.unfold(1, stride, stride).unfold(2, stride, stride)
    picked = blocks[..., :: max(1, stride // 3), :: max(1, stride // 3)].flatten(3)
    first = picked[..., :1]
    agreed = (picked == first).all(-1)
    return torch.where(agreed, first[..., 0], torch.zeros_like(first[..., 0])).flatten(1)
