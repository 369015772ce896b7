"""How SegEarth-OV3 turns the answers of SAM 3 into a map, on one image, word by word."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def word_map(  # noqa: PLR0917
    masks: Tensor, logits: Tensor, presence: Tensor, semantic: Tensor,
    confidence: float, size: tuple[int, int],
) -> Tensor:  # fmt: skip
    """Return (H, W) from (N, h, w) mask logits, (N,), () and (h, w) logits."""
    present = torch.sigmoid(presence)
    result = torch.zeros(size)
    for mask, logit in zip(masks, logits, strict=True):
        score = torch.sigmoid(logit) * present
        if score > confidence:
            large = functional.interpolate(
                mask[None, None], size=size, mode="bilinear", align_corners=False
            )
            result = torch.maximum(result, torch.sigmoid(large[0, 0]) * score)
    large = functional.interpolate(
        semantic[None, None], size=size, mode="bilinear", align_corners=False
    )
    return torch.maximum(result, torch.sigmoid(large[0, 0])) * present


def class_map(words: Tensor, classes: list[int], threshold: float) -> Tensor:
    """Return (H, W) class numbers from 1, 0 below the threshold, from (Q, H, W) word maps."""
    count = max(classes) + 1
    rows = [
        words[[number for number, item in enumerate(classes) if item == index]].amax(0)
        for index in range(count)
    ]
    best, index = torch.stack(rows).max(0)
    return torch.where(best < threshold, 0, index + 1)
