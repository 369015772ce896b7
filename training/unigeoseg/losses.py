"""Losses of UniGeoSeg: masks on uncertain points or on all cells, and the words of the answer.

Point losses follow Cheng et al., "Masked-attention Mask Transformer", CVPR 2022, with points chosen
as in Kirillov et al., "PointRend", CVPR 2020.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.models.unigeoseg.template import IGNORED_LABEL

RAREST_SHARE = 1 / 1024
"""Share of the image below which a mask's cells get no more weight."""


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """Weights and sampling of the point losses; the defaults are the published ones."""

    mask_weight: float = 5.0
    dice_weight: float = 5.0
    points: int = 12544
    oversampling: float = 3.0
    uncertain_share: float = 0.75


def mask_losses(
    predictions: Sequence[Tensor],
    targets: Tensor,
    settings: LossSettings,
    *,
    generator: torch.Generator | None = None,
    points: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compare every prediction of the decoder with the truth on sampled points.

    Args:
        predictions: Logits (B, R, h, w) each.
        targets: Binary masks (B, R, S, S).
        settings: Weights and sampling.
        generator: Source of the points.
        points: Use these (B * R, P, 2) for all predictions instead of drawing.

    Returns:
        Weighted cross entropy and weighted Dice loss, each summed over predictions.
    """
    truth = targets.flatten(0, 1)[:, None].float()
    cross_entropy = targets.new_zeros((), dtype=torch.float32)
    dice = torch.zeros_like(cross_entropy)
    for prediction in predictions:
        logits = prediction.flatten(0, 1)[:, None].float()
        chosen = uncertain_points(logits, settings, generator) if points is None else points
        sampled, labels = sample_points(logits, chosen), sample_points(truth, chosen)
        cross_entropy = cross_entropy + point_cross_entropy(sampled, labels, len(truth))
        dice = dice + point_dice(sampled, labels, len(truth))
    return settings.mask_weight * cross_entropy, settings.dice_weight * dice


def point_cross_entropy(logits: Tensor, labels: Tensor, mask_count: float) -> Tensor:
    """Binary cross entropy of (B, P): mean over points, sum over masks, by ``mask_count``."""
    losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses.mean(dim=1).sum() / mask_count


def point_dice(logits: Tensor, labels: Tensor, mask_count: float) -> Tensor:
    """Soft Dice loss of (B, P), smoothed by one: sum over masks, by ``mask_count``."""
    probability = logits.sigmoid()
    overlap = 2.0 * (probability * labels).sum(dim=1) + 1.0
    size = probability.sum(dim=1) + labels.sum(dim=1) + 1.0
    return (1.0 - overlap / size).sum() / mask_count


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Read maps (B, 1, H, W) at points (B, P, 2), x and y in 0..1, bilinearly: (B, P)."""
    grid = 2.0 * points[:, :, None] - 1.0
    sampled = nn.functional.grid_sample(maps, grid, align_corners=False)
    return sampled[:, 0, :, 0]


@torch.no_grad()
def uncertain_points(
    logits: Tensor, settings: LossSettings, generator: torch.Generator | None = None
) -> Tensor:
    """Draw points, most of them where the prediction is closest to its threshold.

    Args:
        logits: (B, 1, h, w).
        settings: Numbers of points.
        generator: Source of randomness, on the processor or on the logits' device.

    Returns:
        (B, P, 2), x and y in 0..1.
    """
    batch = len(logits)
    candidates = _uniform(batch, int(settings.points * settings.oversampling), logits, generator)
    doubt = -sample_points(logits.float(), candidates).abs()
    kept = int(settings.points * settings.uncertain_share)
    chosen = doubt.topk(kept, dim=1).indices
    uncertain = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
    fresh = _uniform(batch, settings.points - kept, logits, generator)
    return torch.cat([uncertain, fresh], dim=1)


def language_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Next-word cross entropy.

    Args:
        logits: (B, T, V).
        labels: (B, T), words of the sequence itself, ``IGNORED_LABEL`` where nothing is learned.

    Returns:
        Mean over the learned words; zero when there are none.
    """
    targets = labels[:, 1:].flatten()
    if bool((targets == IGNORED_LABEL).all()):
        return logits.sum() * 0.0
    return nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), targets, ignore_index=IGNORED_LABEL
    )


def _uniform(batch: int, count: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    device = like.device if generator is None else generator.device
    return torch.rand(batch, count, 2, generator=generator, device=device).to(like.device)


def cell_losses(logits: Tensor, masks: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Compare logits (B, R, h, w) with the shares of cells that masks cover.

    In the cross entropy the cells of a mask weigh up to 32 times more, the rarer they are.

    Args:
        logits: (B, R, h, w).
        masks: (B, R, h, w), 0..1.
        weights: (B, R, h, w), 0 where the mask is not known.

    Returns:
        Mean cross entropy and mean Dice loss.
    """
    wrong = nn.functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    # Small masks would otherwise drown in their surroundings: an empty mask is nearly right.
    total = weights.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    share = (masks * weights).sum(dim=(2, 3), keepdim=True) / total
    rare = share.clamp(min=RAREST_SHARE).rsqrt()
    boosted = weights * (1 + (rare - 1) * masks)
    amount = boosted.sum(dim=(2, 3)).clamp(min=1)
    cross_entropy = ((wrong * boosted).sum(dim=(2, 3)) / amount).mean()
    found, wanted = logits.sigmoid() * weights, masks * weights
    overlap = 2 * (found * wanted).sum(dim=(2, 3)) + 1
    size = found.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3)) + 1
    return cross_entropy, (1 - overlap / size).mean()
