"""Several views of the same tile: shifted patch grids and flips.

Of the mask, the network reads only the central half of the rows and columns of each patch. Moving
the patch grid by half a patch in both directions makes four views that together read every pixel.
The flips and quarter turns are those used in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Orientations = Literal["one", "flips", "all"]


@dataclass(frozen=True)
class View:
    """One view of a tile: the patch grid moved up and left, then turned, then mirrored.

    Attributes:
        rows: Pixels by which the grid moves up.
        columns: Pixels by which the grid moves left.
        quarter_turns: Counter-clockwise quarter turns.
        mirrored: Whether left and right are swapped after turning.
    """

    rows: int = 0
    columns: int = 0
    quarter_turns: int = 0
    mirrored: bool = False


@dataclass(frozen=True)
class ViewResult:
    """Probabilities of one view in the tile's own frame.

    Attributes:
        view: The view.
        probabilities: (B, 4, H, W).
        covered: Which pixels the view covers, (H, W), bool.
    """

    view: View
    probabilities: Tensor
    covered: Tensor


def plan_views(
    shifted: bool = False, orientations: Orientations = "one", half_patch: int = 8
) -> tuple[View, ...]:
    """List the views of each tile; the first is always the plain tile.

    Args:
        shifted: Whether to add the three grids moved by half a patch.
        orientations: ``one``, the four ``flips`` (with the half turn) or ``all`` eight.
        half_patch: Half the side of a patch, in pixels.
    """
    steps = (0, half_patch) if shifted else (0,)
    turned = {
        "one": ((0, False),),
        "flips": ((0, False), (0, True), (2, False), (2, True)),
        "all": tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4)),
    }[orientations]
    return tuple(
        View(rows, columns, turns, mirrored)
        for turns, mirrored in turned
        for rows in steps
        for columns in steps
    )


def to_view(tensor: Tensor, view: View) -> Tensor:
    """Turn (B, C, H, W) into the frame of a view; the shift mirrors the top and left edges."""
    height, width = tensor.shape[-2:]
    if view.rows or view.columns:
        padded = functional.pad(tensor, (view.columns, 0, view.rows, 0), mode="reflect")
        tensor = padded[..., :height, :width]
    tensor = torch.rot90(tensor, view.quarter_turns, (-2, -1))
    return tensor.flip(-1) if view.mirrored else tensor


def from_view(tensor: Tensor, view: View) -> Tensor:
    """Undo `to_view`; rows and columns that the view does not cover are zero."""
    if view.mirrored:
        tensor = tensor.flip(-1)
    tensor = torch.rot90(tensor, -view.quarter_turns, (-2, -1))
    return functional.pad(tensor[..., view.rows :, view.columns :], (0, view.columns, 0, view.rows))


def assess_views(
    model: nn.Module, images: Tensor, masks: Tensor, views: Sequence[View]
) -> Iterator[ViewResult]:
    """Run the network on each view.

    Args:
        model: SegAssess network in eval mode.
        images: (B, 3, H, W), RGB, float 0..1.
        masks: (B, 1, H, W), 0 or 1.
        views: From `plan_views`.

    Yields:
        The probabilities of each view, float32, in the frame of the images.
    """
    height, width = images.shape[-2:]
    for view in views:
        with torch.inference_mode():
            output = model(to_view(images, view), to_view(masks, view))
            probabilities = from_view(output.logits.float().softmax(1), view)
        covered = torch.zeros(height, width, dtype=torch.bool, device=images.device)
        covered[: height - view.rows, : width - view.columns] = True
        yield ViewResult(view, probabilities, covered)


def average_views(results: Iterable[ViewResult]) -> Tensor:
    """Return the mean of the probabilities over the views that cover each pixel, (B, 4, H, W).

    Raises:
        ValueError: There is no view.
    """
    total: Tensor | None = None
    count: Tensor | None = None
    for result in results:
        covered = result.covered.to(result.probabilities.dtype)
        total = result.probabilities + (0 if total is None else total)
        count = covered + (0 if count is None else count)
    if total is None or count is None:
        raise ValueError("at least one view is needed")
    return total / count
