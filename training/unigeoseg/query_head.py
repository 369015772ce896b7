"""The word lesson: what a request is about, taught beside its mask.

Linear readings of the query must tell which classes the answer consists of, where the centre of a
single object lies, what the landmark is that the words name and, once the query has looked at the
picture, where. Words and coordinates so find their way to the query without waiting for the masks
to become good. The readings serve training alone.
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
from .queries import Asked, Mirror
from .stored_scenes import StoredScene

_CENTRES = 4 * CENTRE_FREQUENCIES + 2
_CENTRE_WEIGHT = 5.0
NO_LANDMARK = -1


class Meaning(NamedTuple):
    """What R requests about each of B pictures are about."""

    classes: Tensor
    """(B, R, classes) float32, shares of the answer's pixels; zeros where unknown."""
    places: Tensor
    """(B, R, 4) float32: centre x, y, width and height as fractions; NaN for several objects."""
    told: Tensor
    """(B, R) bool, True where the request itself tells the place by coordinates."""
    landmarks: Tensor
    """(B, R, 4) float32: the place of what the words name beside the answer; NaN for none."""
    landmark_classes: Tensor
    """(B, R) int64: the class of that; ``NO_LANDMARK`` for none."""

    def to(self, device: torch.device) -> Meaning:
        """Return the meaning on a device."""
        return Meaning(*(tensor.to(device) for tensor in self))


class MeaningReading(nn.Module):
    """Linear layers from the query, one before and one after the decoder."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.readings = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(CLASS_NAMES) + _CENTRES))
            for _ in range(2)
        )

    def forward(self, queries: Sequence[Tensor]) -> list[Tensor]:
        """Map the queries (B, R, C) before and after the decoder to what they mean."""
        return [
            reading(query).float() for reading, query in zip(self.readings, queries, strict=True)
        ]


class LandmarkReading(nn.Module):
    """Linear layers from queries to class and place of a landmark; they begin without effect."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kind = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(CLASS_NAMES)))
        self.place = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, _CENTRES))
        for reading in (self.kind, self.place):
            for parameter in reading[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, told: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Read the class of the query that words alone made, the place of one that has looked."""
        return self.kind(told).float(), self.place(seen).float()


def meaning_of(scene: StoredScene, mirror: Mirror, asked: Sequence[Asked]) -> Meaning:
    """Return what requests about one generated scene are about, B = 1."""
    classes = mirror.turn(scene.classes)
    shares = [
        np.bincount(classes[one.mask], minlength=len(CLASS_NAMES)) / max(int(one.mask.sum()), 1)
        for one in asked
    ]
    places = [_place(one.mask) if one.single else [np.nan] * 4 for one in asked]
    told = [one.kind in ("points", "box") for one in asked]
    landmarks = [[np.nan] * 4 if one.landmark is None else _place(one.landmark) for one in asked]
    kinds = [NO_LANDMARK if one.landmark is None else _class(classes, one) for one in asked]
    return Meaning(
        torch.from_numpy(np.stack(shares).astype(np.float32))[None],
        torch.tensor(places, dtype=torch.float32)[None],
        torch.tensor(told)[None],
        torch.tensor(landmarks, dtype=torch.float32)[None],
        torch.tensor(kinds)[None],
    )


def unknown_meaning(count: int) -> Meaning:
    """Return the meaning of requests about a real picture, which teach by their masks alone."""
    return Meaning(
        torch.zeros(1, count, len(CLASS_NAMES)),
        torch.full((1, count, 4), torch.nan),
        torch.zeros(1, count, dtype=torch.bool),
        torch.full((1, count, 4), torch.nan),
        torch.full((1, count), NO_LANDMARK),
    )


def meaning_loss(read: Sequence[Tensor], meaning: Meaning) -> Tensor:
    """Compare both readings with the meaning; the first tells places only where words do."""
    total = read[0].new_zeros(())
    known = meaning.classes.sum(dim=-1) > 0
    single = ~meaning.places[..., 0].isnan()
    for values, placed in zip(read, (single & meaning.told, single), strict=True):
        classes, centres = values[..., : len(CLASS_NAMES)], values[..., len(CLASS_NAMES) :]
        surprise = -(classes.log_softmax(dim=-1) * meaning.classes).sum(dim=-1)
        total = total + surprise.sum() / known.sum().clamp(min=1)
        total = total + _CENTRE_WEIGHT * _place_loss(centres[placed], meaning.places[placed])
    return total


def landmark_loss(kinds: Tensor, places: Tensor, meaning: Meaning) -> Tensor:
    """Compare classes and places (B, R, ...) that were read with those of the landmarks."""
    named = meaning.landmark_classes != NO_LANDMARK
    wrong = nn.functional.cross_entropy(
        kinds[named], meaning.landmark_classes[named], reduction="sum"
    )
    surprise = wrong / named.sum().clamp(min=1)
    return surprise + _CENTRE_WEIGHT * _place_loss(places[named], meaning.landmarks[named])


def _place_loss(read: Tensor, places: Tensor) -> Tensor:
    """Compare N places that were read with the waves of their centres and their sizes."""
    if not len(places):
        return read.sum() * 0.0
    waves = [fourier_features(places[:, axis], CENTRE_FREQUENCIES) for axis in (0, 1)]
    return nn.functional.mse_loss(read, torch.cat([*waves, places[:, 2:]], dim=1))


def _class(classes: NDArray[np.uint8], asked: Asked) -> int:
    """Return the class of most pixels of a landmark."""
    return int(np.bincount(classes[asked.landmark]).argmax())


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
