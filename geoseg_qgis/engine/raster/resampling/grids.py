"""Values of one grid at the pixel centres of another grid over the same ground."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class AxisMap:
    """How one axis of a target window falls onto a source grid.

    Attributes:
        start: First source index to read.
        count: Number of source indices to read.
        positions: (n,) float64 position of each target centre, in indices from ``start``.
    """

    start: int
    count: int
    positions: NDArray[np.float64]


def map_axis(target: int, source: int, offset: int, length: int) -> AxisMap:
    """Place ``length`` target pixels from ``offset`` on a source axis, pixels being areas.

    Args:
        target: Pixels of the whole target axis.
        source: Pixels of the whole source axis.
        offset: First target pixel.
        length: Number of target pixels.
    """
    centres = (np.arange(offset, offset + length) + 0.5) * (source / target) - 0.5
    start = int(np.clip(np.floor(centres[0]), 0, source - 1))
    end = int(np.clip(np.floor(centres[-1]) + 2, start + 1, source))
    return AxisMap(start, end - start, np.clip(centres - start, 0, end - start - 1))


def nearest_window(
    target_shape: tuple[int, int], source_shape: tuple[int, int], window: Window
) -> tuple[Window, NDArray[np.intp], NDArray[np.intp]]:
    """Return the source window under a target window and the row and column of each pixel in it."""
    rows = map_axis(target_shape[0], source_shape[0], int(window.row_off), int(window.height))
    columns = map_axis(target_shape[1], source_shape[1], int(window.col_off), int(window.width))
    return (
        Window(columns.start, rows.start, columns.count, rows.count),
        np.floor(rows.positions + 0.5).astype(np.intp).clip(max=rows.count - 1),
        np.floor(columns.positions + 0.5).astype(np.intp).clip(max=columns.count - 1),
    )


def sample_bilinear(
    read: Callable[[Window], Tensor],
    source_shape: tuple[int, int],
    target_shape: tuple[int, int],
    window: Window,
) -> Tensor:
    """Return (C, h, w) values at the pixels of a target window, bilinear, edges repeated.

    Args:
        read: Reads (C, h, w) of a source window.
        source_shape: Rows and columns of the source grid.
        target_shape: Rows and columns of the target grid over the same ground.
        window: Part of the target grid.
    """
    if source_shape == target_shape:
        return read(window)
    rows = map_axis(target_shape[0], source_shape[0], int(window.row_off), int(window.height))
    columns = map_axis(target_shape[1], source_shape[1], int(window.col_off), int(window.width))
    values = read(Window(columns.start, rows.start, columns.count, rows.count))
    y = torch.from_numpy((2 * rows.positions + 1) / rows.count - 1).float()
    x = torch.from_numpy((2 * columns.positions + 1) / columns.count - 1).float()
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return functional.grid_sample(
        values[None], points[None], mode="bilinear", padding_mode="border", align_corners=False
    )[0]
