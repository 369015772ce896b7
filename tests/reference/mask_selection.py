"""The published mask selection on one whole image, with all the choices that it leaves open.

With one class a mask is kept when enough of it is foreground; with several it takes the class that
dominates inside (contrastive pipeline).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.methods.open_vocabulary.mask_selection import mask_means

Score = Literal["mean", "count"]
Overlap = Literal["score", "area"]
Probabilities = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SelectionSettings:
    """Rules of the selection.

    Attributes:
        pixel_threshold: Probability above which a pixel is foreground (one class), or below
            which it is background (several classes).
        mask_threshold: A proposal is kept when its score is above this (one class).
        score: Score of a proposal: "mean" probability inside, or "count", the share of its
            pixels that are foreground (one class) or have the class (several).
        uncovered: Pixels in no proposal take their "pixel" label, or "background".
        overlap: Who keeps a pixel of several proposals: the better "score", or the smaller
            "area".
        largest_share: With several classes, proposals above this share of the image are left
            out unless their class is a stuff class.
        background_index: Class index of background pixels with several classes.
    """

    pixel_threshold: float = 0.5
    mask_threshold: float = 0.5
    score: str = "mean"
    uncovered: str = "pixel"
    overlap: str = "score"
    largest_share: float = 0.6
    background_index: int = 0

    def __post_init__(self) -> None:
        choices = {
            "score": ("mean", "count"),
            "uncovered": ("pixel", "background"),
            "overlap": ("score", "area"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}.")


@dataclass(frozen=True)
class SingleSelection:
    """Result with one class.

    Attributes:
        foreground: (H, W) bool, union of the kept proposals.
        scores: (N,) float32 score of each proposal, so that a threshold can move without a rerun.
        kept: (N,) bool.
    """

    foreground: Mask
    scores: Probabilities
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class MultipleSelection:
    """Result with several classes.

    Attributes:
        labels: (H, W) int64 class indices.
        regions: (H, W) int64 index of the proposal that gave the label, -1 for none.
        winners: (N,) int64 class of each proposal.
        scores: (N,) float32 score of that class.
    """

    labels: NDArray[np.int64]
    regions: NDArray[np.int64]
    winners: NDArray[np.int64]
    scores: Probabilities


def select_single(
    probability: Probabilities, masks: Sequence[Mask], settings: SelectionSettings
) -> SingleSelection:
    """Keep the proposals that are foreground, their union is the result.

    Pixels in no proposal are background.

    Args:
        probability: (H, W) of the class against everything else.
        masks: N boolean proposals (H, W), may overlap.
        settings: Thresholds and the kind of score.

    Returns:
        Foreground, scores and which proposals were kept.
    """
    values = probability
    if settings.score == "count":
        values = (probability > settings.pixel_threshold).astype(np.float32)
    scores = mask_means(values[None], masks)[:, 0]
    kept = scores > settings.mask_threshold
    foreground = np.zeros(probability.shape, dtype=bool)
    for index in np.flatnonzero(kept):
        foreground |= masks[int(index)]
    return SingleSelection(foreground, scores, kept)


def select_multiple(
    probabilities: Probabilities,
    masks: Sequence[Mask],
    settings: SelectionSettings,
    stuff: frozenset[int] = frozenset(),
) -> MultipleSelection:
    """Give each proposal its dominant class and paint the proposals.

    Args:
        probabilities: (C, H, W), synonyms already merged.
        masks: N boolean proposals (H, W), may overlap.
        settings: Kind of score, overlaps, uncovered pixels and background.
        stuff: Classes without a shape, for which a proposal may fill the image.

    Returns:
        Labels, the proposal under each pixel, and class and score of each proposal.
    """
    pixel_labels = probabilities.argmax(axis=0).astype(np.int64)
    pixel_labels[probabilities.max(axis=0) < settings.pixel_threshold] = settings.background_index
    means = class_scores(probabilities, masks, settings)
    winners = means.argmax(axis=1).astype(np.int64)
    scores = means.max(axis=1) if len(masks) else np.zeros(0, dtype=np.float32)
    regions = np.full(pixel_labels.shape, -1, dtype=np.int64)
    for index in painting_order(masks, means, settings, stuff):
        regions[masks[index]] = index
    labels = np.full_like(pixel_labels, settings.background_index)
    if settings.uncovered == "pixel":
        labels = pixel_labels.copy()
    covered = regions >= 0
    labels[covered] = winners[regions[covered]]
    return MultipleSelection(labels, regions, winners, scores)


def class_scores(
    probabilities: Probabilities, masks: Sequence[Mask], settings: SelectionSettings
) -> Probabilities:
    """Score of every class in each proposal: mean probability, or share of the pixels it wins.

    Args:
        probabilities: (C, H, W), synonyms already merged.
        masks: N boolean proposals (H, W).
        settings: Kind of score and the threshold below which a pixel counts for no class.

    Returns:
        (N, C) float32.
    """
    values = probabilities
    if settings.score == "count":
        winner = probabilities.argmax(axis=0)
        winner[probabilities.max(axis=0) < settings.pixel_threshold] = settings.background_index
        classes = np.arange(len(probabilities))[:, None, None]
        values = (winner == classes).astype(np.float32)
    return mask_means(values, masks)


def painting_order(
    masks: Sequence[Mask],
    means: Probabilities,
    settings: SelectionSettings,
    stuff: frozenset[int] = frozenset(),
) -> list[int]:
    """Indices of the usable proposals, last the one that wins every overlap.

    Args:
        masks: N boolean proposals (H, W).
        means: (N, C) scores of `class_scores`.
        settings: Rule of overlaps and the largest share of the image.
        stuff: Classes without a shape, for which a proposal may fill the image.
    """
    if not masks:
        return []
    areas = np.array([int(mask.sum()) for mask in masks], dtype=np.int64)
    winners, scores = means.argmax(axis=1), means.max(axis=1)
    usable = [
        index
        for index, mask in enumerate(masks)
        if areas[index] > 0
        and (areas[index] <= settings.largest_share * mask.size or int(winners[index]) in stuff)
    ]
    keys = scores if settings.overlap == "score" else -areas
    return sorted(usable, key=lambda index: (cast("float", keys[index]), -index))
