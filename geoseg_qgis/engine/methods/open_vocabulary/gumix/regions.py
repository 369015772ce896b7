"""Region maps: overlapping masks to a partition, and dense codes of the regions of a window.

A region map holds one integer id a pixel, 0 meaning "in no mask". Inside a window the ids are
replaced by dense codes, so that neither large ids nor padding can collide with anything.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def paint_partition(
    masks: Iterable[NDArray[np.bool_]], shape: tuple[int, int]
) -> NDArray[np.int32]:
    """One region map of overlapping masks: ascending by area, later ones overwrite.

    Masks of equal area keep their order. The largest mask wins every overlap, so ids grow with
    the area of the mask (paper: the SAM 2 branch).

    Args:
        masks: Boolean masks (H, W) in the order of the generator.
        shape: Rows and columns of the map, needed when there are no masks.

    Returns:
        (H, W) int32, 0 where no mask lies, ids 1..N else.
    """
    arrays = [np.asarray(mask, dtype=bool) for mask in masks]
    partition = np.zeros(shape, dtype=np.int32)
    order = np.argsort([int(mask.sum()) for mask in arrays], kind="stable")
    for number, index in enumerate(order, start=1):
        partition[arrays[int(index)]] = number
    return partition


def dense_codes(regions: Tensor, first_id_is_unsegmented: bool) -> Tensor:
    """Replace the ids of each window by dense codes in ascending order of id.

    Args:
        regions: (B, ...) integer ids, any size up to 62 bits over the batch.
        first_id_is_unsegmented: The smallest id of each window gets code 0; else ids up to 0 get
            code 0 and the smallest positive id code 1.

    Returns:
        (B, ...) int64 codes; code 0 means "unsegmented".
    """
    ids = regions.reshape(len(regions), -1).to(torch.int64)
    if not first_id_is_unsegmented:
        ids = ids.clamp(min=0)
    ids = ids - ids.min()
    span = int(ids.max()) + 1
    starts = torch.arange(len(ids), device=ids.device) * span
    unique, inverse = torch.unique(ids + starts[:, None], return_inverse=True)
    first = torch.searchsorted(unique, starts)
    codes: Tensor = inverse.reshape(ids.shape) - first[:, None]
    if not first_id_is_unsegmented:
        smallest = regions.reshape(len(regions), -1).amin(dim=1)
        codes = codes + (smallest > 0).to(torch.int64)[:, None]
    return codes.reshape(regions.shape)
