"""Augmented mixup sampling (AMS): turned views of each tile, each with another network's mask.

"Mixup" means that several sources of masks take turns, not that pixels are blended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

PUBLISHED_VIEWS = 4
_QUARTER_TURNS, _FLIPS = 4, 3


class MaskSource(Protocol):
    """A maker of the masks to be judged."""

    def __call__(self, images: Tensor, truth: Tensor) -> Tensor:
        """Return masks (B, 1, S, S), float 0 or 1, for images (B, 3, S, S) of known truth."""
        ...


class FrozenNetwork:
    """Masks of a segmentation network that is not trained.

    Args:
        network: Maps images (B, 3, S, S) to logits (B, 1, S, S), in evaluation mode.
        threshold: Probability above which a pixel is object (0.5; DeepGlobe 0.4).
    """

    def __init__(self, network: Callable[[Tensor], Tensor], threshold: float = 0.5) -> None:
        self._network = network
        self._threshold = threshold

    def __call__(self, images: Tensor, truth: Tensor) -> Tensor:
        """Return the network's masks; the truth is ignored."""
        del truth
        half = images.device.type == "cuda"
        context = torch.autocast("cuda", dtype=torch.float16) if half else nullcontext()
        with torch.no_grad(), context:
            logits = self._network(images)
        return (logits.float().sigmoid() > self._threshold).float()


class AssessBatch(NamedTuple):
    """What the network is trained on: images (N, 3, S, S), masks and truth (N, 1, S, S)."""

    images: Tensor
    masks: Tensor
    truth: Tensor


def draw_views(batch: int, views: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw quarter turns 0..3 and flips 0 none, 1 left-right, 2 up-down.

    Args:
        batch: Number of tiles.
        views: Views of each tile.
        generator: CPU random numbers; torch's own when absent.

    Returns:
        (batch, views, 2), int64, drawn tile by tile, view by view, turns first.
    """
    drawn = [
        torch.randint(0, limit, (1,), generator=generator)
        for _ in range(batch * views)
        for limit in (_QUARTER_TURNS, _FLIPS)
    ]
    return torch.cat(drawn).reshape(batch, views, 2)


def make_views(tiles: Tensor, parameters: Tensor) -> Tensor:
    """Turn and flip square tiles.

    Args:
        tiles: (B, C, S, S).
        parameters: (B, V, 2) from `draw_views`.

    Returns:
        (B, V, C, S, S).
    """
    rows = []
    for tile, views in zip(tiles, parameters.tolist()):
        for turns, flip in views:
            turned = torch.rot90(tile, turns, (-2, -1))
            rows.append(turned.flip(-flip) if flip else turned)
    return torch.stack(rows).reshape(*parameters.shape[:2], *tiles.shape[1:])


def mixed_batch(
    images: Tensor,
    truth: Tensor,
    sources: Sequence[MaskSource],
    views: int = PUBLISHED_VIEWS,
    generator: torch.Generator | None = None,
) -> AssessBatch:
    """Make a training batch: view v of every tile gets its mask from source v.

    Args:
        images: (B, 3, S, S), float 0..1.
        truth: (B, 1, S, S), 0 or 1.
        sources: Makers of masks, one a view; they repeat when there are fewer.
        views: Views of each tile.
        generator: CPU random numbers.

    Returns:
        B x views samples in random order.

    Raises:
        ValueError: There is no source.
    """
    if not sources:
        raise ValueError("at least one source of masks is needed")
    parameters = draw_views(images.shape[0], views, generator)
    image_views, truth_views = make_views(images, parameters), make_views(truth, parameters)
    masks = torch.stack(
        [
            sources[index % len(sources)](image_views[:, index], truth_views[:, index])
            for index in range(views)
        ],
        dim=1,
    )
    order = torch.randperm(images.shape[0] * views, generator=generator)
    return AssessBatch(*(t.flatten(0, 1)[order] for t in (image_views, masks, truth_views)))
