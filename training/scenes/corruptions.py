"""Corrupted masks: true masks with the faults of mapping, for quality assessment."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from .noise import enlarge, fractal

Mask = NDArray[np.bool_]
Corruption = Callable[[Mask, np.random.Generator, float], Mask]
_CROSS: Final = ndimage.generate_binary_structure(2, 1)


def shift(mask: Mask, random: np.random.Generator, strength: float) -> Mask:
    """Move the mask by up to 2 % of its diagonal, like a badly registered layer."""
    reach = max(1.0, 0.02 * strength * math.hypot(*mask.shape))
    angle = random.uniform(0, 2 * math.pi)
    rows, columns = round(reach * math.sin(angle)), round(reach * math.cos(angle))
    return _moved(mask, rows, columns)


def erode(mask: Mask, random: np.random.Generator, strength: float) -> Mask:
    """Remove a margin from every object."""
    steps = _steps(mask, random, strength)
    return np.asarray(ndimage.binary_erosion(mask, _CROSS, steps, border_value=1))


def dilate(mask: Mask, random: np.random.Generator, strength: float) -> Mask:
    """Add a margin to every object."""
    return np.asarray(ndimage.binary_dilation(mask, _CROSS, _steps(mask, random, strength)))


def drop(mask: Mask, random: np.random.Generator, strength: float) -> Mask:
    """Remove objects; of a single object, remove one side."""
    labels, count = ndimage.label(mask)
    if count == 1:
        return mask & _half_plane(mask, random)
    kept = random.random(count + 1) > 0.35 * strength
    kept[1 + int(random.integers(count))] = False
    kept[0] = False
    return np.asarray(kept[labels])


def add(mask: Mask, random: np.random.Generator, strength: float) -> Mask:
    """Add false objects: copies of true ones elsewhere, and blobs."""
    result = mask.copy()
    labels, count = ndimage.label(mask)
    boxes = ndimage.find_objects(labels)
    height, width = mask.shape
    for _ in range(max(1, round(strength * random.uniform(1, 0.4 * count + 2)))):
        index = int(random.integers(count))
        part = labels[boxes[index]] == index + 1
        if part.size > mask.size / 9:
            part = _ellipse(random, 0.12 * min(height, width))
        top = int(random.integers(0, max(1, height - part.shape[0] + 1)))
        left = int(random.integers(0, max(1, width - part.shape[1] + 1)))
        result[top : top + part.shape[0], left : left + part.shape[1]] |= part[:height, :width]
    return result


def merge(mask: Mask, random: np.random.Generator, strength: float) -> Mask:
    """Close the gaps between neighbouring objects."""
    steps = max(2, round(strength * random.uniform(0.012, 0.03) * math.hypot(*mask.shape)))
    padded = np.pad(mask, steps)
    closed = ndimage.binary_closing(padded, ndimage.generate_binary_structure(2, 2), steps)
    return np.asarray(closed[steps:-steps, steps:-steps]) | mask


def simplify(mask: Mask, random: np.random.Generator, strength: float) -> Mask:
    """Draw the outline on a grid of coarse cells, as a network of low resolution does."""
    cell = max(3, round(strength * random.uniform(0.012, 0.03) * math.hypot(*mask.shape)))
    height, width = mask.shape
    small = (
        Image.fromarray(mask)
        .convert("L")
        .resize((max(2, width // cell), max(2, height // cell)), Image.Resampling.BOX)
    )
    filter_ = Image.Resampling.NEAREST if random.random() < 0.5 else Image.Resampling.BICUBIC
    return np.asarray(small.resize((width, height), filter_)) > 127


def rotate(mask: Mask, random: np.random.Generator, strength: float) -> Mask:
    """Turn every object about its own centre."""
    labels, count = ndimage.label(mask)
    result = np.zeros_like(mask)
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[box] == index
        angle = strength * random.uniform(8, 35) * random.choice([-1, 1])
        margin = int(0.25 * max(part.shape)) + 1
        turned = Image.fromarray(np.pad(part, margin)).convert("L").rotate(angle)
        _paste(result, np.asarray(turned) > 127, box[0].start - margin, box[1].start - margin)
    return result if count else mask.copy()


def ragged(mask: Mask, random: np.random.Generator, strength: float) -> Mask:
    """Make the outline irregular, as an uncertain network does."""
    reach = max(2.0, 0.012 * strength * math.hypot(*mask.shape))
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    small = (max(8, mask.shape[0] // 2), max(8, mask.shape[1] // 2))
    noise = enlarge(fractal(random, small, max(4.0, reach * 2), 3), mask.shape)
    return np.asarray(inside - outside + reach * noise > 0)


CORRUPTIONS: Final[dict[str, Corruption]] = {
    "shift": shift,
    "erode": erode,
    "dilate": dilate,
    "drop": drop,
    "add": add,
    "merge": merge,
    "simplify": simplify,
    "rotate": rotate,
    "ragged": ragged,
}


def corrupt(mask: Mask, seed: int, kind: str | None = None, strength: float | None = None) -> Mask:
    """Return a mask with faults.

    Args:
        mask: True mask (H, W).
        seed: Whole number from 0.
        kind: One of `CORRUPTIONS`; when None, one to three of them one after the other.
        strength: 1 for the usual amount; 0.25 to 1.75 is drawn when None.

    Returns:
        (H, W) bool. An empty mask gets false objects only.

    Raises:
        ValueError: The kind is unknown.
    """
    if kind is not None and kind not in CORRUPTIONS:
        raise ValueError(
            f"There is no corruption {kind!r}. Choose one of {', '.join(CORRUPTIONS)}."
        )
    random = np.random.default_rng([seed, 8])
    mask = np.asarray(mask, np.bool_)
    kinds = [kind] if kind else list(random.choice(list(CORRUPTIONS), random.integers(1, 4), False))
    for name in kinds:
        amount = strength if strength is not None else float(random.uniform(0.25, 1.75))
        if mask.any():
            mask = np.asarray(CORRUPTIONS[str(name)](mask, random, amount), np.bool_)
        elif name == "add":
            mask = mask.copy()
            side = 0.12 * min(mask.shape)
            part = _ellipse(random, side)
            _paste(mask, part, *(int(random.integers(0, max(1, n - 1))) for n in mask.shape))
    return mask


def _steps(mask: Mask, random: np.random.Generator, strength: float) -> int:
    typical = math.sqrt(float(mask.sum()) / max(1, ndimage.label(mask)[1]))
    return max(1, round(strength * typical * random.uniform(0.05, 0.14)))


def _moved(mask: Mask, rows: int, columns: int) -> Mask:
    result = np.zeros_like(mask)
    _paste(result, mask, rows, columns)
    return result


def _paste(target: Mask, part: Mask, top: int, left: int) -> None:
    height, width = target.shape
    row0, column0 = max(0, top), max(0, left)
    row1, column1 = min(height, top + part.shape[0]), min(width, left + part.shape[1])
    if row0 < row1 and column0 < column1:
        target[row0:row1, column0:column1] |= part[row0 - top : row1 - top,
                                                   column0 - left : column1 - left]  # fmt: skip


def _half_plane(mask: Mask, random: np.random.Generator) -> Mask:
    rows, columns = np.nonzero(mask)
    angle = random.uniform(0, 2 * math.pi)
    along = columns * math.cos(angle) + rows * math.sin(angle)
    limit = np.quantile(along, random.uniform(0.4, 0.75))
    y, x = np.indices(mask.shape)
    return np.asarray(x * math.cos(angle) + y * math.sin(angle) <= limit)


def _ellipse(random: np.random.Generator, largest: float) -> Mask:
    a, b = (max(2.0, random.uniform(0.25, 1) * largest) for _ in range(2))
    y, x = np.mgrid[-math.ceil(b) : math.ceil(b) + 1, -math.ceil(a) : math.ceil(a) + 1]
    return np.asarray((x / a) ** 2 + (y / b) ** 2 <= 1)
