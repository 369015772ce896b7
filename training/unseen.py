"""Validation labels on ground that no training image shows: files of a split may overlap."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.windows

from .land_cover import UNKNOWN

REPEATED: Final = {"kit_street_MOS171": "kit_street_MOS163"}
"""Validation images without coordinates, and the training image that shows the same ground."""


def unseen_labels(
    image: Path, labels: npt.NDArray[np.int32], trained: Iterable[Path]
) -> npt.NDArray[np.int32]:
    """Return the labels of a validation image, unknown where a training image shows its ground.

    Args:
        image: The validation image.
        labels: (H, W) bit masks of possible land covers.
        trained: Training images of the same set; those of another CRS or without one are ignored.
    """
    paths = list(trained)
    result = labels.copy()
    if REPEATED.get(image.stem) in {path.stem for path in paths}:
        result[:] = UNKNOWN
    with rasterio.open(image) as source:
        if source.crs is None:
            return result
        for path in paths:
            with rasterio.open(path) as other:
                if other.crs == source.crs:
                    result[_common(source, other.bounds)] = UNKNOWN
    return result


def _common(
    source: rasterio.DatasetReader, bounds: rasterio.coords.BoundingBox
) -> tuple[slice, slice]:
    """Return rows and columns of the pixels whose centres lie inside of bounds."""
    window = rasterio.windows.from_bounds(*bounds, transform=source.transform)
    rows = (window.row_off, window.row_off + window.height, source.height)
    columns = (window.col_off, window.col_off + window.width, source.width)
    return _inside(*rows), _inside(*columns)


def _inside(start: float, stop: float, length: int) -> slice:
    first, last = (min(max(round(value), 0), length) for value in (start, stop))
    return slice(first, max(first, last))
