"""Training loss: class cross-entropy, edge loss and the refinement of the mask.

As published, all terms weigh the same; they act on the refined logits and the edge logits only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.models.segassess import SegAssessOutput

from .targets import known_boundary, object_boundary, quality_target

PUBLISHED_CLASS_WEIGHTS = (0.5, 5.0, 0.1, 5.0)
IGNORED = -100
NO_EDGE = -30.0


@dataclass(frozen=True)
class LossOptions:
    """Details of the loss.

    Attributes:
        class_weights: Weights of TP, FP, TN, FN in the cross-entropy.
        as_published: Keep two quirks of the published training: the error of the object
            probability counts twice, and with a batch of one the Dice term takes image rows for
            samples.
        edge_weight: Weight of the two edge terms.
    """

    class_weights: tuple[float, float, float, float] = PUBLISHED_CLASS_WEIGHTS
    as_published: bool = True
    edge_weight: float = 1.0


class SegAssessLosses(NamedTuple):
    """Terms of the loss, scalars.

    Attributes:
        total: The sum that is minimised.
        classes: Weighted cross-entropy of the four classes.
        edge_cross_entropy: Balanced cross-entropy of the edges.
        edge_dice: Dice loss of the edges.
        object_error: Mean squared error of P(TP) + P(FN) against the truth, as often as counted.
        refined_error: Mean squared error of M + P(FN) - P(FP) against the truth.
    """

    total: Tensor
    classes: Tensor
    edge_cross_entropy: Tensor
    edge_dice: Tensor
    object_error: Tensor
    refined_error: Tensor

    def named(self) -> dict[str, Tensor]:
        """Return the terms by name, ``total`` among them."""
        return self._asdict()


def _mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Return the mean over the valid pixels, 0 where there is none."""
    if valid is None:
        return values.mean()
    return (values * valid).sum() / valid.sum().clamp(min=1)


def class_cross_entropy(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return weighted cross-entropy over the pixels whose class is known, 0 where none is.

    Args:
        logits: (B, 4, H, W).
        target: Class codes, or -100 where unknown, (B, H, W).
        weights: Weights of the classes, (4,).
    """
    summed = functional.cross_entropy(
        logits, target, weights, reduction="sum", ignore_index=IGNORED
    )
    mass = (weights[target.clamp(min=0)] * (target != IGNORED)).sum()
    return summed / mass.clamp(min=torch.finfo(mass.dtype).tiny)


def edge_cross_entropy(logits: Tensor, edges: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return cross-entropy balanced by how rare edges are in the batch.

    Args:
        logits: (B, 1, H, W).
        edges: 0 or 1, (B, 1, H, W).
        valid: 1 where the truth is known, (B, 1, H, W); everywhere when absent.
    """
    share = _mean(edges, valid)
    weights = torch.where(edges > 0.5, 1 - share, 1.1 * share)
    losses = functional.binary_cross_entropy_with_logits(logits, edges, weights, reduction="none")
    return _mean(losses, valid)


def edge_dice(logits: Tensor, edges: Tensor, rows_of_single: bool) -> Tensor:
    """Return the mean Dice loss of the samples of a batch.

    Args:
        logits: (B, 1, H, W).
        edges: 0 or 1, (B, 1, H, W).
        rows_of_single: Whether the image rows of a batch of one count as samples.
    """
    rows = rows_of_single and logits.shape[0] == 1
    samples = logits.shape[2] if rows else logits.shape[0]
    found = logits.sigmoid().reshape(samples, -1)
    true = edges.reshape(samples, -1)
    overlap = 2 * (found * true).sum(1) + 1
    return (1 - overlap / (found.sum(1) + true.sum(1) + 1)).mean()


def segassess_losses(
    output: SegAssessOutput,
    masks: Tensor,
    truth: Tensor,
    options: LossOptions | None = None,
    valid: Tensor | None = None,
) -> SegAssessLosses:
    """Compare an output with the truth.

    Args:
        output: Of the network.
        masks: Masks under test (B, 1, H, W), float 0 or 1.
        truth: True masks (B, 1, H, W), float 0 or 1.
        options: Details; as published when absent.
        valid: 1 where the truth is known, float (B, 1, H, W); everywhere when absent.
    """
    chosen = options or LossOptions()
    edges, edges_known = object_boundary(truth), valid
    target = quality_target(masks, truth)[:, 0]
    found = output.edge_logits
    if valid is not None:
        target = target.masked_fill(valid[:, 0] < 0.5, IGNORED)
        edges_known = known_boundary(truth, valid)
        edges = edges * edges_known
        found = found.masked_fill(edges_known < 0.5, NO_EDGE)
    weights = output.logits.new_tensor(chosen.class_weights)
    classes = class_cross_entropy(output.logits, target, weights)
    cross_entropy = edge_cross_entropy(output.edge_logits, edges, edges_known)
    dice = edge_dice(found, edges, chosen.as_published)
    probabilities = output.logits.softmax(1)
    tp, fp, fn = (probabilities[:, channel : channel + 1] for channel in (0, 1, 3))
    object_error = _mean((tp + fn - truth).square(), valid) * (2 if chosen.as_published else 1)
    refined_error = _mean((masks + fn - fp - truth).square(), valid)
    edge_terms = chosen.edge_weight * (cross_entropy + dice)
    total = classes + edge_terms + object_error + refined_error
    return SegAssessLosses(total, classes, cross_entropy, dice, object_error, refined_error)
