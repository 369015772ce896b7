"""Masks of COCO-style annotations: run lengths and polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize

_FIRST_CHARACTER = 48
_VALUE_BITS = 5


def decode_segmentation(segmentation: Any, height: int, width: int) -> NDArray[np.uint8]:
    """Draw an annotation's mask.

    Args:
        segmentation: Run lengths (``size``, ``counts``), or a list of them, or a list of polygons
            (x, y, x, y, ...).
        height: Rows of the image.
        width: Columns of the image.

    Returns:
        (H, W) uint8, 1 inside any member of the list.
    """
    members = [segmentation] if isinstance(segmentation, Mapping) else segmentation
    mask = np.zeros((height, width), dtype=np.uint8)
    for one in members:
        mask |= decode_runs(one) if isinstance(one, Mapping) else _fill(one, height, width)
    return mask


def decode_runs(runs: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Decode run lengths, column by column, given as numbers or as compressed text.

    Raises:
        ValueError: The runs do not fill the mask.
    """
    height, width = runs["size"]
    counts = runs["counts"]
    lengths = _decompress(counts) if isinstance(counts, str | bytes) else list(counts)
    values = np.arange(len(lengths)) % 2
    flat = np.repeat(values.astype(np.uint8), lengths)
    if flat.size != height * width:
        raise ValueError("The run lengths do not fill the mask.")
    return flat.reshape(width, height).T.copy()


def _decompress(text: str | bytes) -> list[int]:
    """Read 6-bit characters: five bits of value, one that says more follow; then differences."""
    codes = text.encode("ascii") if isinstance(text, str) else text
    lengths: list[int] = []
    value, shift = 0, 0
    for code in codes:
        bits = code - _FIRST_CHARACTER
        value |= (bits & 0x1F) << shift
        shift += _VALUE_BITS
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value, shift = 0, 0
    return lengths


def _fill(polygon: Sequence[float], height: int, width: int) -> NDArray[np.uint8]:
    ring = [(x, y) for x, y in zip(polygon[::2], polygon[1::2], strict=True)]
    shape = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    filled: NDArray[np.uint8] = rasterize([(shape, 1)], out_shape=(height, width), dtype="uint8")
    return filled
