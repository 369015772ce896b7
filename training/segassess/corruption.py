"""Masks with known faults, made from true ones.

They stand for masks that people have (old maps, shifted cadastre, missing and extra
objects, coarse outlines), so that a network trained on them can judge masks that no network made.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

BoolArray = NDArray[np.bool_]
Corruption = Callable[[BoolArray, np.random.Generator], BoolArray]

DISK = ndimage.generate_binary_structure(2, 1)


def shift(mask: BoolArray, generator: np.random.Generator) -> BoolArray:
    """Move the whole mask by up to 16 pixels; what enters is background."""
    offset = generator.integers(-16, 17, 2)
    return np.asarray(ndimage.shift(mask.astype(np.uint8), offset, order=0) > 0)


def shift_objects(mask: BoolArray, generator: np.random.Generator) -> BoolArray:
    """Move every object by its own offset of up to 10 pixels."""
    labels, count = ndimage.label(mask)
    offsets = generator.integers(-10, 11, (count + 1, 2))
    rows, columns = np.nonzero(mask)
    moved = offsets[labels[rows, columns]]
    rows, columns = rows + moved[:, 0], columns + moved[:, 1]
    inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    result = np.zeros_like(mask)
    result[rows[inside], columns[inside]] = True
    return result


def erode(mask: BoolArray, generator: np.random.Generator) -> BoolArray:
    """Take 1 to 6 pixels off the outlines."""
    depth = int(generator.integers(1, 7))
    return np.asarray(ndimage.binary_erosion(mask, DISK, iterations=depth, border_value=1))


def dilate(mask: BoolArray, generator: np.random.Generator) -> BoolArray:
    """Add 1 to 6 pixels to the outlines."""
    return np.asarray(ndimage.binary_dilation(mask, DISK, iterations=int(generator.integers(1, 7))))


def drop_objects(mask: BoolArray, generator: np.random.Generator) -> BoolArray:
    """Lose each object with a probability that is drawn once for the mask."""
    labels, count = ndimage.label(mask)
    keep = generator.random(count + 1) > generator.uniform(0.2, 0.8)
    keep[0] = False
    return np.asarray(keep[labels])


def add_objects(mask: BoolArray, generator: np.random.Generator) -> BoolArray:
    """Add one to five rectangles where nothing is."""
    result = mask.copy()
    height, width = mask.shape
    for _ in range(int(generator.integers(1, 6))):
        tall = int(generator.integers(height // 16, height // 4))
        wide = int(generator.integers(width // 16, width // 4))
        row, column = generator.integers(0, height - tall), generator.integers(0, width - wide)
        result[row : row + tall, column : column + wide] = True
    return result


def roughen(mask: BoolArray, generator: np.random.Generator) -> BoolArray:
    """Make wavy outlines by a smooth random displacement."""
    scale = generator.uniform(3, 10)
    waves = ndimage.gaussian_filter(generator.normal(size=(2, *mask.shape)), (0, 8, 8))
    waves *= scale / (waves.std() + 1e-9) / 2
    rows, columns = np.indices(mask.shape)
    moved = ndimage.map_coordinates(
        mask.astype(np.uint8), (rows + waves[0], columns + waves[1]), order=0, mode="nearest"
    )
    return np.asarray(moved > 0)


def coarsen(mask: BoolArray, generator: np.random.Generator) -> BoolArray:
    """Keep only blocks of 4 to 16 pixels that are at least half object."""
    side = int(generator.integers(4, 17))
    share = ndimage.uniform_filter(mask.astype(np.float32), side)
    rows = np.minimum(np.arange(mask.shape[0]) // side * side + side // 2, mask.shape[0] - 1)
    columns = np.minimum(np.arange(mask.shape[1]) // side * side + side // 2, mask.shape[1] - 1)
    return np.asarray(share[np.ix_(rows, columns)] >= 0.5)


def empty(mask: BoolArray, generator: np.random.Generator) -> BoolArray:
    """Lose everything."""
    del generator
    return np.zeros_like(mask)


CORRUPTIONS: tuple[Corruption, ...] = (
    shift,
    shift_objects,
    erode,
    dilate,
    drop_objects,
    add_objects,
    roughen,
    coarsen,
)


class CorruptedTruth:
    """Source of masks: the truth with up to three faults, sometimes without any, sometimes empty.

    Args:
        seed: Start of the random numbers.
        clean_share: Share of masks left as they are.
        empty_share: Share of masks emptied.
    """

    def __init__(self, seed: int, clean_share: float = 0.1, empty_share: float = 0.05) -> None:
        self._generator = np.random.default_rng(seed)
        self._clean_share = clean_share
        self._empty_share = empty_share

    def corrupt(self, mask: BoolArray) -> BoolArray:
        """Return a mask (H, W) with random faults."""
        chance = self._generator.random()
        if chance < self._clean_share:
            return mask.copy()
        if chance < self._clean_share + self._empty_share:
            return empty(mask, self._generator)
        picked = self._generator.choice(
            len(CORRUPTIONS), size=int(self._generator.integers(1, 4)), replace=False
        )
        for index in picked:
            mask = CORRUPTIONS[index](mask, self._generator)
        return mask

    def __call__(self, images: Tensor, truth: Tensor) -> Tensor:
        """Return masks (B, 1, S, S) for the truth of the same shape; images are ignored."""
        del images
        masks = [self.corrupt(one[0].cpu().numpy() > 0.5) for one in truth]
        return torch.from_numpy(np.stack(masks)[:, None]).to(truth)
