"""Scores of a whole image to labels: threshold to background, vote inside each region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geoseg_qgis.engine.methods.open_vocabulary.gumix.regions import dense_codes
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.methods.open_vocabulary.probabilities import class_probabilities
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear, resize_nearest


@dataclass(frozen=True)
class Labelling:
    """Labels of an image.

    Attributes:
        labels: (H, W) int64 class indices after the vote.
        pixel_labels: (H, W) int64 class indices before the vote.
        probabilities: (C, H, W) float32.
    """

    labels: Tensor
    pixel_labels: Tensor
    probabilities: Tensor


def threshold_labels(probabilities: Tensor, threshold: float, background: int) -> Tensor:
    """Most probable class of each pixel, background where its probability is too small.

    Args:
        probabilities: (C, H, W).
        threshold: Least probability.
        background: Class index given below it.

    Returns:
        (H, W) int64.
    """
    greatest, labels = probabilities.max(dim=0)
    return labels.masked_fill(greatest < threshold, background)


def vote_in_regions(
    labels: Tensor,
    regions: Tensor,
    class_count: int,
    *,
    first_id_is_unsegmented: bool,
    valid: Tensor | None = None,
) -> Tensor:
    """Give every region its most frequent label; the smaller label wins ties.

    Args:
        labels: (H, W) int64 class indices.
        regions: (H, W) integer ids.
        class_count: Number of classes.
        first_id_is_unsegmented: The smallest id keeps its pixel labels, else ids up to 0 do.
        valid: (H, W) bool; other pixels do not vote and keep their labels.

    Returns:
        (H, W) int64.
    """
    codes = dense_codes(regions[None], first_id_is_unsegmented)[0]
    counted = codes > 0 if valid is None else (codes > 0) & valid
    count = int(codes.max()) + 1
    ballots = codes[counted] * class_count + labels[counted]
    votes = torch.bincount(ballots, minlength=count * class_count).reshape(count, class_count)
    ranks = torch.arange(class_count - 1, -1, -1, device=labels.device)
    winners = (votes * class_count + ranks).argmax(dim=1)
    return torch.where(counted, winners[codes], labels)


def label_image(
    logits: Tensor, regions: Tensor, class_index: Sequence[int], settings: GumixSettings
) -> Labelling:
    """Labels of one image from its cosines (paper: post-processing).

    Args:
        logits: (Q, H, W) cosines.
        regions: (H, W) region ids on the same grid.
        class_index: Class of each query.
        settings: Logit scale, threshold, background and the unsegmented id.

    Returns:
        Labels before and after the vote, and probabilities.
    """
    probabilities = class_probabilities(logits, class_index, settings.logit_scale)
    pixel_labels = threshold_labels(
        probabilities, settings.probability_threshold, settings.background_index
    )
    labels = vote_in_regions(
        pixel_labels,
        regions,
        max(len(probabilities), settings.background_index + 1),
        first_id_is_unsegmented=settings.first_id_is_unsegmented,
    )
    return Labelling(labels, pixel_labels, probabilities)


def resize_labelling(labelling: Labelling, size: tuple[int, int]) -> Labelling:
    """Labels by nearest, probabilities by bilinear resize, to (rows, columns)."""
    return Labelling(
        resize_nearest(labelling.labels, size),
        resize_nearest(labelling.pixel_labels, size),
        resize_bilinear(labelling.probabilities[None], size)[0],
    )
