"""Training tiles from labelled images: one kind of object each, with faulty masks of it.

The masks come from several sources in turn (augmented mixup sampling): faults made on purpose,
groups of similar pixels, and the class maps that other networks made of the same image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.crops import CropSampler
from training.datasets import LabelledImage
from training.land_cover import SURFACES, UNKNOWN, partial_label
from training.scenes.corruptions import corrupt

from .corruption import CorruptedTruth
from .foreign_maps import CLASSES
from .lookalikes import Lookalikes
from .sampling import MaskSource

KINDS: Final = {
    "building": partial_label("building"),
    "road": partial_label("road", "car"),
    "water": partial_label("water"),
    "vegetation": partial_label("tree", "grass", "field"),
    "land": partial_label("land"),
}
CODES: Final = {kind: CLASSES.index("bare land" if kind == "land" else kind) + 1 for kind in KINDS}
"""Value of each kind in the maps of other networks."""
SMALLEST_SHARE = 0.02
SMALLEST_KNOWN = 0.5
ATTEMPTS = 50
FOREIGN_SHARE = 0.35
GENERATED_SHARE = 0.4
_LABEL_BITS, _CODE_BITS = len(SURFACES), 3


class MaskTileBatch(NamedTuple):
    """A batch of tiles.

    Attributes:
        images: (B, 3, S, S), float 0..1.
        masks: Masks under test, (B, 1, S, S), float 0 or 1.
        truth: (B, 1, S, S), float 0 or 1.
        valid: 1 where the truth is known, (B, 1, S, S), float.
        labels: Bit masks of the land covers that each pixel may have, (B, S, S), int64.
    """

    images: Tensor
    masks: Tensor
    truth: Tensor
    valid: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> MaskTileBatch:
        """Return the batch on a device."""
        return MaskTileBatch(*(tensor.to(device) for tensor in self))


class CorruptedShapes:
    """Source of masks: the truth with the faults of mapping; see `scenes.corruptions`."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def __call__(self, images: Tensor, truth: Tensor) -> Tensor:
        """Return masks (B, 1, S, S) for truth of the same shape; images are ignored."""
        del images
        seeds = self._random.integers(2**31, size=len(truth))
        masks = [corrupt(one[0].numpy() > 0.5, int(seed)) for one, seed in zip(truth, seeds)]
        return torch.from_numpy(np.stack(masks)[:, None]).to(truth)


def truth_of_kind(labels: Tensor, kind: int) -> tuple[Tensor, Tensor]:
    """Return where a kind of object is, from partial labels.

    Args:
        labels: Bit masks of the land covers that each pixel may have, 0 where unknown, any shape.
        kind: Bit mask of the land covers that count as object.

    Returns:
        Where the object certainly is, and where it is known whether it is; bool.
    """
    known = labels != UNKNOWN
    is_object = known & ((labels & ~kind) == 0)
    is_other = known & ((labels & kind) == 0)
    return is_object, is_object | is_other


def with_maps(image: LabelledImage, maps: Tensor | None) -> LabelledImage:
    """Hide class maps (K, H, W) of other networks in the high bits of an image's labels."""
    if maps is None:
        return image
    labels = image.labels.clone()
    for index, codes in enumerate(maps.int()):
        labels |= codes << (_LABEL_BITS + index * _CODE_BITS)
    return dataclasses.replace(image, labels=labels)


def split_labels(packed: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the labels and the class maps hidden in them; empty maps are left out."""
    maps = []
    rest = packed >> _LABEL_BITS
    while bool(rest.any()):
        maps.append(rest & (2**_CODE_BITS - 1))
        rest = rest >> _CODE_BITS
    return packed & (2**_LABEL_BITS - 1), maps


class MaskTiles:
    """Endless seeded batches from labelled images.

    Args:
        images: Scenes to draw from.
        size: Side of the tiles, in pixels.
        seed: Start of every random choice.
        kinds: Names from `KINDS`.
        maps: Class maps (K, H, W) of other networks for each image, or None for those without.
    """

    def __init__(
        self,
        images: list[LabelledImage],
        size: int,
        seed: int,
        kinds: Sequence[str] = tuple(KINDS),
        maps: Sequence[Tensor | None] = (),
    ) -> None:
        self._crops = CropSampler(images, size, seed, GENERATED_SHARE)
        if maps:
            # The sampler has read the plain labels; from now on it crops the maps with them.
            self._crops.images = [with_maps(*pair) for pair in zip(images, maps, strict=True)]
        self._random = np.random.default_rng(seed + 1)
        self._sources: tuple[tuple[float, MaskSource], ...] = (
            (0.4, CorruptedTruth(seed + 2)),
            (0.3, CorruptedShapes(seed + 3)),
            (0.3, Lookalikes(seed + 4)),
        )
        self._kinds = tuple(kinds)

    def batch(self, count: int) -> MaskTileBatch:
        """Return a batch of tiles, each with a kind of object that it or its mask shows.

        Raises:
            ValueError: The images hardly show any of the kinds.
        """
        tiles: list[MaskTileBatch] = []
        for _ in range(ATTEMPTS):
            crops = self._crops.batch(count)
            for pixels, packed in zip(crops.pixels, crops.labels):
                tile = self._tile(pixels, packed)
                if tile is not None:
                    tiles.append(tile)
            if len(tiles) >= count:
                break
        else:
            raise ValueError("the images show too little of the wanted kinds of objects")
        return MaskTileBatch(*(torch.stack(part) for part in zip(*tiles[:count])))

    def _tile(self, pixels: Tensor, packed: Tensor) -> MaskTileBatch | None:
        """Return one tile without the batch axis, or None where it shows no kind."""
        labels, maps = split_labels(packed)
        foreign = None
        if maps and self._random.random() < FOREIGN_SHARE:
            foreign = maps[self._random.integers(len(maps))]
        shown = []
        for kind in self._kinds:
            is_object, known = truth_of_kind(labels, KINDS[kind])
            mask = None if foreign is None else (foreign == CODES[kind])[None].float()
            share = float(is_object.float().mean())
            if mask is not None:
                share = max(share, float(mask.mean()))
            if SMALLEST_SHARE <= share <= 0.95 and float(known.float().mean()) >= SMALLEST_KNOWN:
                shown.append((is_object[None].float(), known[None].float(), mask))
        if not shown:
            return None
        truth, valid, mask = shown[self._random.integers(len(shown))]
        if mask is None:
            mask = self._made(pixels, truth)
        return MaskTileBatch(pixels, mask, truth, valid, labels)

    def _made(self, pixels: Tensor, truth: Tensor) -> Tensor:
        shares = [share for share, _ in self._sources]
        source = self._sources[self._random.choice(len(shares), p=shares)][1]
        return source(pixels[None], truth[None])[0]
