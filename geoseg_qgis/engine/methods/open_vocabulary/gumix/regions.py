"""Dense codes of the regions of a window.

A region map holds one integer id a pixel, 0 meaning "in no mask". Inside a window the ids are
replaced by dense codes, so that neither large ids nor padding can collide with anything.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
