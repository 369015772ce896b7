"""Sliding windows over an image: where they lie, how they are padded, how scores are merged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings

WindowNetwork = Callable[[Tensor, Tensor, "Tensor | None"], Tensor]
"""Images (B, 3, H, W), regions (B, H, W), valid (B, H, W) or None to scores (B, C, H, W)."""


@dataclass(frozen=True)
class Window:
    """A window of an image and the padding that completes it, in pixels."""

    top: int
    bottom: int
    left: int
    right: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int

    @property
    def network_size(self) -> tuple[int, int]:
        """Rows and columns with the padding."""
        return (
            self.bottom - self.top + self.pad_top + self.pad_bottom,
            self.right - self.left + self.pad_left + self.pad_right,
        )


def plan_windows(height: int, width: int, settings: GumixSettings) -> list[Window]:
    """Windows over an image, row by row; the last ones are shifted back inside.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        settings: Window side, stride and pad multiple.

    Returns:
        The windows in row-major order; a short side gives shorter windows.
    """
    columns = list(_spans(width, settings))
    return [
        Window(top, bottom, left, right, pad_top, pad_bottom, pad_left, pad_right)
        for top, bottom, pad_top, pad_bottom in _spans(height, settings)
        for left, right, pad_left, pad_right in columns
    ]


def slide(
    network: WindowNetwork,
    image: Tensor,
    regions: Tensor,
    *,
    settings: GumixSettings,
    valid: Tensor | None = None,
    batch_size: int = 1,
) -> Tensor:
    """Mean over the windows of the scores of a network.

    Args:
        network: Scores of a batch of windows.
        image: (3, H, W) CLIP-normalised.
        regions: (H, W) integer ids.
        settings: Window plan and the meaning of padding.
        valid: (H, W) bool, False on nodata.
        batch_size: Windows of one size given to the network together.

    Returns:
        (C, H, W) float32.
    """
    height, width = image.shape[-2:]
    groups: dict[tuple[int, int], list[Window]] = defaultdict(list)
    for window in plan_windows(height, width, settings):
        groups[window.network_size].append(window)
    batches = [
        group[start : start + batch_size]
        for group in groups.values()
        for start in range(0, len(group), batch_size)
    ]
    total: Tensor | None = None
    count = torch.zeros(height, width, device=image.device)
    for batch in batches:
        scores = network(*_stack_windows(image, regions, valid, batch, settings)).float()
        if total is None:
            total = torch.zeros(scores.shape[1], height, width, device=image.device)
        for window, score in zip(batch, scores, strict=True):
            rows, columns = slice(window.top, window.bottom), slice(window.left, window.right)
            total[:, rows, columns] += _without_padding(score, window)
            count[rows, columns] += 1
    if total is None:
        raise ValueError("The image has no pixels; give at least one row and one column.")
    return total / count


def _spans(size: int, settings: GumixSettings) -> Iterator[tuple[int, int, int, int]]:
    steps = max(size - settings.window + settings.stride - 1, 0) // settings.stride + 1
    for step in range(steps):
        end = min(step * settings.stride + settings.window, size)
        start = max(end - settings.window, 0)
        missing = -(end - start) % settings.pad_multiple
        yield start, end, missing // 2, missing - missing // 2


def _stack_windows(
    image: Tensor,
    regions: Tensor,
    valid: Tensor | None,
    windows: list[Window],
    settings: GumixSettings,
) -> tuple[Tensor, Tensor, Tensor | None]:
    images = torch.stack([_padded(image, window, 0) for window in windows])
    fill = settings.padding_id if settings.padding_is_region else 0
    ids = torch.stack([_padded(regions, window, fill) for window in windows])
    padded = windows[0].network_size != (
        windows[0].bottom - windows[0].top,
        windows[0].right - windows[0].left,
    )
    if valid is None and (settings.padding_is_region or not padded):
        return images, ids, None
    known = torch.ones_like(regions, dtype=torch.bool) if valid is None else valid
    fill = 1 if settings.padding_is_region else 0
    return images, ids, torch.stack([_padded(known, window, fill) for window in windows])


def _padded(values: Tensor, window: Window, fill: int) -> Tensor:
    part = values[..., window.top : window.bottom, window.left : window.right]
    pads = (window.pad_left, window.pad_right, window.pad_top, window.pad_bottom)
    return functional.pad(part, pads, value=fill)


def _without_padding(score: Tensor, window: Window) -> Tensor:
    bottom = score.shape[-2] - window.pad_bottom
    right = score.shape[-1] - window.pad_right
    return score[:, window.pad_top : bottom, window.pad_left : right]
