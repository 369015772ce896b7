"""Objects to click on: connected label components and plain regions of even colour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from .datasets import CROWN_EDGE, SOURCES, VEGETATION, LabelledImage
from .land_cover import BIT, UNKNOWN, partial_label

Mask = npt.NDArray[np.bool_]

NAMED = (
    BIT["building"],
    BIT["car"],
    BIT["tree"],
    BIT["water"],
    BIT["land"],
    BIT["field"],
    BIT["grass"],
    BIT["road"],
    partial_label("road", "car"),
    VEGETATION,
)
SMALLEST = 12
STRIDE = 2


@dataclass(frozen=True)
class Target:
    """An object that a prompt asks for.

    Attributes:
        mask: (h, w) bool at half the crop's size.
        known: (h, w) bool, False where the label does not say whether the object is there.
    """

    mask: Mask
    known: Mask


def outlined(labels: npt.NDArray[np.int32 | np.int64]) -> Mask:
    """Return where labels say whether an object is there, (...) bool."""
    known: Mask = (labels != UNKNOWN) & (labels != CROWN_EDGE)
    return known


def with_labelled_objects(image: LabelledImage) -> LabelledImage:
    """Return an image in which green patches without a drawn outline are no objects.

    Vegetation that is known by its colour alone has ragged borders.
    """
    if image.dataset not in SOURCES or not SOURCES[image.dataset].guesses_vegetation:
        return image
    guessed = image.labels == VEGETATION
    return replace(image, labels=image.labels | guessed * BIT["other"])


def label_components(labels: Tensor, random: np.random.Generator) -> list[Target]:
    """Return the connected components of every named class of one crop.

    Args:
        labels: (S, S) int64 bit masks of possible land covers.
        random: Chooses the pixel that stands for a cell, which keeps outlines in place on average.
    """
    row, column = random.integers(STRIDE, size=2)
    values = labels[row::STRIDE, column::STRIDE].numpy()
    known = outlined(values)
    found: list[Target] = []
    for name in NAMED:
        member = values == name
        if member.sum() < SMALLEST:
            continue
        numbers, count = ndimage.label(member)
        sizes = np.bincount(numbers.ravel(), minlength=count + 1)
        kept = np.flatnonzero(sizes[1:] >= SMALLEST) + 1
        found.extend(Target(numbers == index, known) for index in kept)
    return found


def colour_regions(pixels: Tensor, random: np.random.Generator) -> list[Target]:
    """Return connected regions of even colour, by k-means on a smoothed crop.

    Args:
        pixels: (3, S, S) float32 in 0..1.
        random: Source of the number of colours and their seeds.
    """
    small = functional.avg_pool2d(pixels[None], STRIDE)
    small = functional.avg_pool2d(small, 5, stride=1, padding=2, count_include_pad=False)[0]
    height, width = small.shape[1:]
    samples = small.flatten(1).T
    count = int(random.integers(3, 8))
    centres = samples[torch.from_numpy(random.integers(len(samples), size=count))]
    for _ in range(4):
        nearest = torch.cdist(samples, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, samples)
        sizes = torch.bincount(nearest, minlength=count).clamp_min(1)[:, None]
        centres = sums / sizes
    classes = ndimage.median_filter(nearest.view(height, width).numpy(), 5)
    everything = np.ones((height, width), bool)
    found: list[Target] = []
    for index in range(count):
        numbers, parts = ndimage.label(classes == index)
        sizes_of_parts = np.bincount(numbers.ravel(), minlength=parts + 1)
        kept = np.flatnonzero(sizes_of_parts[1:] >= 4 * SMALLEST) + 1
        found.extend(Target(numbers == part, everything) for part in kept)
    return found
