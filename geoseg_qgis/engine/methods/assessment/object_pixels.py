"""Which pixels of a tile belong to which object: inside of it, around it, near its outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .quality_classes import EIGHT_NEIGHBOURS, BoolArray, FloatArray, QualityClass

Core = tuple[slice, slice]


@dataclass(frozen=True)
class ObjectOptions:
    """How objects are assessed, all lengths in pixels of the tiles.

    Attributes:
        buffer: Background pixels up to this far count their FN for the nearest object.
        boundary_width: Errors up to this far from an object's outline are boundary errors.
        minimum_width: Narrower objects are too small for the network, whose cells are 8 pixels.
        minimum_valid: Smallest share of an object's pixels that must hold imagery.
        missed_area: Smallest missed object, whose pixels count for no neighbour; 64 pixels are one
            cell of the network.
        false_precision: Objects of lower precision are likely false.
    """

    buffer: float = 16.0
    boundary_width: float = 4.0
    minimum_width: float = 8.0
    minimum_valid: float = 0.5
    missed_area: int = 64
    false_precision: float = 0.5


@dataclass(frozen=True)
class ObjectPixels:
    """The counted pixels of one tile, flat, and their objects.

    Attributes:
        inside: Pixels of objects, flat indices into the tile.
        inside_ids: Their objects.
        near_outline: Whether each is near its object's outline.
        around: Background pixels whose FN counts for an object, flat indices.
        around_ids: The nearest objects.
        near_object: Whether each is near that object's outline.
        depth: Distance of every object pixel to its outline, (H, W).
    """

    inside: NDArray[np.intp]
    inside_ids: NDArray[np.integer]
    near_outline: BoolArray
    around: NDArray[np.intp]
    around_ids: NDArray[np.integer]
    near_object: BoolArray
    depth: FloatArray


def outline_distance(object_ids: NDArray[np.integer]) -> FloatArray:
    """Return each object pixel's distance to its object's outline pixels, 0 on them, (H, W).

    Outline pixels have a 4-neighbour with another id; the edge of the tile is no outline.
    """
    outline = np.zeros(object_ids.shape, dtype=bool)
    for axis in (0, 1):
        differs = np.diff(object_ids, axis=axis) != 0
        first, second = [slice(None)] * 2, [slice(None)] * 2
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        outline[tuple(first)] |= differs
        outline[tuple(second)] |= differs
    if not outline.any():
        return np.full(object_ids.shape, float(max(object_ids.shape)))
    return np.asarray(ndimage.distance_transform_edt(~outline))


def nearest_objects(
    object_ids: NDArray[np.integer], buffer: float
) -> tuple[NDArray[np.integer], FloatArray]:
    """Return the nearest object of each background pixel, 0 beyond the buffer, and its distance."""
    background = object_ids == 0
    if background.all():
        return np.zeros_like(object_ids), np.full(object_ids.shape, np.inf)
    distance, indices = ndimage.distance_transform_edt(background, return_indices=True)
    nearest = object_ids[tuple(indices)]
    return np.where(background & (distance <= buffer), nearest, 0), distance


def missed_regions(
    probabilities: FloatArray, occupied: BoolArray, minimum_area: int, valid: BoolArray
) -> BoolArray:
    """Return the pixels of regions that look like objects of their own, (H, W).

    These are 8-connected regions where FN is the most likely class and no object is adjacent. A
    region that touches an object is a missing part of that object.

    Args:
        probabilities: (4, H, W).
        occupied: Pixels of the mask's objects, (H, W).
        minimum_area: Smallest region, in pixels.
        valid: Pixels that hold imagery, (H, W).
    """
    missed = (probabilities.argmax(0) == QualityClass.FALSE_NEGATIVE) & ~occupied & valid
    labels, count = ndimage.label(missed, structure=EIGHT_NEIGHBOURS)
    kept = np.bincount(labels.ravel(), minlength=count + 1) >= minimum_area
    kept[labels[ndimage.binary_dilation(occupied, structure=EIGHT_NEIGHBOURS)]] = False
    kept[0] = False
    return np.asarray(kept[labels])


def object_pixels(
    probabilities: FloatArray,
    object_ids: NDArray[np.integer],
    usable: BoolArray,
    counted: BoolArray,
    options: ObjectOptions,
) -> ObjectPixels:
    """Return the pixels that count for the objects of a tile.

    Args:
        probabilities: (4, H, W); they decide which regions are missed objects of their own.
        object_ids: Object of each pixel, 0 for background, (H, W).
        usable: Pixels that hold imagery, (H, W).
        counted: Pixels of the tile's core, (H, W).
        options: Buffer, boundary width and smallest missed object.
    """
    depth = outline_distance(object_ids)
    missed = missed_regions(probabilities, object_ids > 0, options.missed_area, usable)
    nearest, distance = nearest_objects(object_ids, options.buffer)
    inside = np.flatnonzero(counted & usable & (object_ids > 0))
    around = np.flatnonzero(counted & usable & (nearest > 0) & ~missed)
    width = options.boundary_width
    return ObjectPixels(
        inside,
        object_ids.ravel()[inside],
        depth.ravel()[inside] < width,
        around,
        nearest.ravel()[around],
        distance.ravel()[around] <= width,
        depth,
    )
