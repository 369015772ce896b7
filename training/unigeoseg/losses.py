"""Losses of UniGeoSeg: masks on uncertain points, and the words of the answer.

Mask losses follow Cheng et al., "Masked-attention Mask Transformer", CVPR 2022, with points chosen
as in Kirillov et al., "PointRend", CVPR 2020.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.models.unigeoseg.template import IGNORED_LABEL


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """Weights and sampling of the losses; the defaults are the published ones."""

    mask_weight: float = 5.0
    dice_weight: float = 5.0
    points: int = 12544
    oversampling: float = 3.0
    uncertain_share: float = 0.75


@dataclasses.dataclass(frozen=True)
class Losses:
    """Losses of one batch, weighted and summed over predictions."""

    language: Tensor
    mask: Tensor
    dice: Tensor

    @property
    def total(self) -> Tensor:
        """The loss to minimise."""
        return self.language + self.mask + self.dice


def mask_losses(
    predictions: Sequence[Tensor],
    targets: Tensor,
    settings: LossSettings,
    *,
    generator: torch.Generator | None = None,
    points: Tensor | None = None,
    mask_count: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Compare every prediction of the decoder with the truth on sampled points.

    Args:
        predictions: Logits (B, 1, h, w) each.
        targets: Binary masks (B, 1, S, S).
        settings: Weights and sampling.
        generator: Source of the points.
        points: Use these (B, P, 2) for all predictions instead of drawing.
        mask_count: Masks of a batch over all processes divided by the processes; the batch's own
            number by default.

    Returns:
        Weighted cross entropy and weighted Dice loss, each summed over predictions.
    """
    count = max(float(len(targets)) if mask_count is None else mask_count, 1.0)
    cross_entropy = targets.new_zeros((), dtype=torch.float32)
    dice = torch.zeros_like(cross_entropy)
    for logits in predictions:
        chosen = uncertain_points(logits, settings, generator) if points is None else points
        with torch.no_grad():
            labels = sample_points(targets.float(), chosen)
        sampled = sample_points(logits.float(), chosen)
        cross_entropy = cross_entropy + point_cross_entropy(sampled, labels, count)
        dice = dice + point_dice(sampled, labels, count)
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
