"""Training tiles from labelled scenes: one kind of object each, with faulty masks of it."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from geoseg_qgis.engine.training.crops import CropSampler
from geoseg_qgis.engine.training.datasets import Scene
from geoseg_qgis.engine.training.surfaces import UNKNOWN, partial_label

from .corruption import CorruptedTruth

KINDS: Final = {
    "building": partial_label("building"),
    "road": partial_label("road", "car"),
    "water": partial_label("water"),
    "vegetation": partial_label("tree", "grass", "field"),
}
SMALLEST_SHARE = 0.02
SMALLEST_KNOWN = 0.5
ATTEMPTS = 50


class SceneBatch(NamedTuple):
    """Tiles (B, 3, S, S), masks under test, truth and where it is known, (B, 1, S, S), float."""

    images: Tensor
    masks: Tensor
    truth: Tensor
    valid: Tensor


def truth_of_kind(labels: Tensor, kind: int) -> tuple[Tensor, Tensor]:
    """Tell where a kind of object is, from partial labels.

    Args:
        labels: Bit masks of the surfaces that each pixel may be, 0 where unknown, any shape.
        kind: Bit mask of the surfaces that count as object.

    Returns:
        Where the object certainly is, and where it is known whether it is; bool.
    """
    known = labels != UNKNOWN
    is_object = known & ((labels & ~kind) == 0)
    is_other = known & ((labels & kind) == 0)
    return is_object, is_object | is_other


class SceneTiles:
    """Endless seeded batches from labelled scenes.

    Args:
        scenes: Scenes to draw from.
        size: Side of the tiles, in pixels.
        seed: Start of every random choice.
        kinds: Names from `KINDS`.
    """

    def __init__(
        self, scenes: list[Scene], size: int, seed: int, kinds: tuple[str, ...] = tuple(KINDS)
    ) -> None:
        self._crops = CropSampler(scenes, size, seed)
        self._random = np.random.default_rng(seed + 1)
        self._source = CorruptedTruth(seed + 2)
        self._kinds = [KINDS[name] for name in kinds]

    def batch(self, count: int) -> SceneBatch:
        """Return a batch of tiles, each with a kind of object that it shows.

        Raises:
            ValueError: The scenes hardly show any of the kinds.
        """
        tiles: list[tuple[Tensor, Tensor, Tensor]] = []
        for _ in range(ATTEMPTS):
            crops = self._crops.batch(count)
            for pixels, labels in zip(crops.pixels, crops.labels):
                chosen = self._choose(labels)
                if chosen is not None:
                    tiles.append((pixels, *chosen))
            if len(tiles) >= count:
                break
        else:
            raise ValueError("the scenes show too little of the wanted kinds of objects")
        images, truth, valid = (torch.stack(part) for part in zip(*tiles[:count]))
        return SceneBatch(images, self._source(images, truth), truth, valid)

    def _choose(self, labels: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return truth and validity (1, S, S) of one kind that the tile shows, or None."""
        shown = []
        for kind in self._kinds:
            is_object, known = truth_of_kind(labels, kind)
            share = float(is_object.float().mean())
            if SMALLEST_SHARE <= share <= 0.95 and float(known.float().mean()) >= SMALLEST_KNOWN:
                shown.append((is_object[None].float(), known[None].float()))
        return shown[self._random.integers(len(shown))] if shown else None
