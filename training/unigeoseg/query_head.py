"""Auxiliary head on queries: what a request is about.

Linear layers on the query must say which classes the mask consists of, where the centre of a single
object lies, what the landmark is that the words name and, once the query has read the image, where
it is. Words and coordinates so find their way to the query without waiting for the masks to become
good. The heads serve training alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg_qgis.engine.models.unigeoseg.position_encoding import fourier_features
from training.scenes.legend import CLASS_NAMES

from .pixel_head import CENTRE_FREQUENCIES
from .queries import Mirror, SceneRequest
from .stored_scenes import StoredScene

_CENTRES = 4 * CENTRE_FREQUENCIES + 2
_CENTRE_WEIGHT = 5.0
NO_LANDMARK = -1


class QueryTargets(NamedTuple):
    """What R requests about each of B images are about."""

    classes: Tensor
    """(B, R, classes) float32, shares of the mask's pixels; zeros where unknown."""
    places: Tensor
    """(B, R, 4) float32: centre x, y, width and height as fractions; NaN for several objects."""
    stated: Tensor
    """(B, R) bool, True where the request itself states the place by coordinates."""
    landmarks: Tensor
    """(B, R, 4) float32: the place of the landmark; NaN for none."""
    landmark_classes: Tensor
    """(B, R) int64: the class of the landmark; ``NO_LANDMARK`` for none."""


class QueryHead(nn.Module):
    """Linear layers from the query, one before and one after the decoder."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(CLASS_NAMES) + _CENTRES))
            for _ in range(2)
        )

    def forward(self, queries: Sequence[Tensor]) -> list[Tensor]:
        """Map the queries (B, R, C) before and after the decoder to classes and places."""
        return [layer(query).float() for layer, query in zip(self.layers, queries, strict=True)]


class LandmarkHead(nn.Module):
    """Linear layers from queries to class and place of a landmark; they begin without effect."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kind = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(CLASS_NAMES)))
        self.place = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, _CENTRES))
        for layers in (self.kind, self.place):
            for parameter in layers[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, first: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        """Map the query of the words alone to a class, one that has read the image to a place."""
        return self.kind(first).float(), self.place(later).float()


def query_targets(
    scene: StoredScene, mirror: Mirror, requests: Sequence[SceneRequest]
) -> QueryTargets:
    """Return what requests about one drawn scene are about, B = 1."""
    classes = mirror.turn(scene.classes)
    shares = [
        np.bincount(classes[one.mask], minlength=len(CLASS_NAMES)) / max(int(one.mask.sum()), 1)
        for one in requests
    ]
    places = [_place(one.mask) if one.single else [np.nan] * 4 for one in requests]
    stated = [one.kind in ("points", "box") for one in requests]
    landmarks = [[np.nan] * 4 if one.landmark is None else _place(one.landmark) for one in requests]
    kinds = [NO_LANDMARK if one.landmark is None else _class(classes, one) for one in requests]
    return QueryTargets(
        torch.from_numpy(np.stack(shares).astype(np.float32))[None],
        torch.tensor(places, dtype=torch.float32)[None],
        torch.tensor(stated)[None],
        torch.tensor(landmarks, dtype=torch.float32)[None],
        torch.tensor(kinds)[None],
    )


def unknown_query_targets(count: int) -> QueryTargets:
    """Return the targets of requests about a labelled image, of which only masks are known."""
    return QueryTargets(
        torch.zeros(1, count, len(CLASS_NAMES)),
        torch.full((1, count, 4), torch.nan),
        torch.zeros(1, count, dtype=torch.bool),
        torch.full((1, count, 4), torch.nan),
        torch.full((1, count), NO_LANDMARK),
    )


def query_loss(read: Sequence[Tensor], targets: QueryTargets) -> Tensor:
    """Compare both outputs of the head with the targets.

    The first output has places only where the words state them.
    """
    total = read[0].new_zeros(())
    known = targets.classes.sum(dim=-1) > 0
    single = ~targets.places[..., 0].isnan()
    for values, placed in zip(read, (single & targets.stated, single), strict=True):
        classes, centres = values[..., : len(CLASS_NAMES)], values[..., len(CLASS_NAMES) :]
        surprise = -(classes.log_softmax(dim=-1) * targets.classes).sum(dim=-1)
        total = total + surprise.sum() / known.sum().clamp(min=1)
        total = total + _CENTRE_WEIGHT * _place_loss(centres[placed], targets.places[placed])
    return total


def landmark_loss(kinds: Tensor, places: Tensor, targets: QueryTargets) -> Tensor:
    """Compare classes and places (B, R, ...) with those of the landmarks."""
    named = targets.landmark_classes != NO_LANDMARK
    wrong = nn.functional.cross_entropy(
        kinds[named], targets.landmark_classes[named], reduction="sum"
    )
    surprise = wrong / named.sum().clamp(min=1)
    return surprise + _CENTRE_WEIGHT * _place_loss(places[named], targets.landmarks[named])


def _place_loss(predicted: Tensor, places: Tensor) -> Tensor:
    """Compare N predicted places with the waves of their centres and their sizes."""
    if not len(places):
        return predicted.sum() * 0.0
    waves = [fourier_features(places[:, axis], CENTRE_FREQUENCIES) for axis in (0, 1)]
    return nn.functional.mse_loss(predicted, torch.cat([*waves, places[:, 2:]], dim=1))


def _class(classes: NDArray[np.uint8], request: SceneRequest) -> int:
    """Return the class of most pixels of a landmark."""
    return int(np.bincount(classes[request.landmark]).argmax())


def _place(mask: NDArray[np.bool_]) -> list[float]:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return [np.nan] * 4
    height, width = mask.shape
    return [
        (float(columns.mean()) + 0.5) / width,
        (float(rows.mean()) + 0.5) / height,
        float(columns.max() - columns.min() + 1) / width,
        float(rows.max() - rows.min() + 1) / height,
    ]
