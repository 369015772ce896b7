"""Every object of an image: masks of a grid of point prompts, filtered and without duplicates.

The procedure and its defaults are those of SAM 2's automatic mask generator on a single crop.
Masks are kept as logits at a quarter of the model's size, so memory grows with the number of
objects and not with the size of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear

from .device import prompts_per_batch
from .oom_fallback import OutOfMemoryFallback, Work
from .sam2 import MaskChoice, Sam2Embedding, Sam2Model, stability
from .sam2_decoder import SharedImage

Checkpoint = Callable[[float], None]

# Masks are scored in batches of about 128 MiB of float32 logits.
PIXELS_AT_ONCE = 1 << 25


@dataclass(frozen=True)
class AutomaticMaskSettings:
    """The prompts, and which masks are kept.

    Attributes:
        points_per_side: Prompts along one side of the image; n * n in all.
        iou_threshold: Masks with a predicted IoU at or below this are dropped.
        stability_threshold: Masks less stable than this are dropped.
        stability_offset: Distance of the stability's thresholds, in logits.
        overlap_threshold: Of two boxes overlapping more than this, the worse mask goes.
        three_masks: Decode three masks for each point; False: the first mask only.
        minimum_area: Masks of fewer source pixels are dropped (empty masks always are).
        at_source: Score at the source's resolution, as the package does; False: at the decoder's,
            which is faster on large tiles and may keep slightly different masks.
        batch_size: Prompts in a batch; None chooses by the device.
    """

    points_per_side: int = 32
    iou_threshold: float = 0.8
    stability_threshold: float = 0.95
    stability_offset: float = 1.0
    overlap_threshold: float = 0.7
    three_masks: bool = True
    minimum_area: int = 0
    at_source: bool = True
    batch_size: int | None = None


@dataclass(frozen=True)
class AutomaticMasks:
    """Masks found, best predicted IoU first.

    Attributes:
        logits: At a quarter of the model's size, shape (N, h, w), float32, on the model's device.
        iou: Predicted intersection over union, shape (N,).
        stability: See `stability`, shape (N,).
        boxes: Source pixels (left, top, right, bottom), both ends inside the mask, shape (N, 4).
        areas: Source pixels, shape (N,).
        points: The prompts, source pixels (x, y), shape (N, 2).
        source_size: (H, W) in pixels.
    """

    logits: Tensor
    iou: Tensor
    stability: Tensor
    boxes: Tensor
    areas: Tensor
    points: Tensor
    source_size: tuple[int, int]

    def __len__(self) -> int:
        """Return the number of masks."""
        return len(self.logits)

    def masks(self, size: tuple[int, int] | None = None) -> Tensor:
        """Return all masks, shape (N, H, W), bool, at ``size`` or the source's size."""
        batches = list(self.iterate(size))
        if batches:
            return torch.cat(batches)
        return torch.zeros(0, *(size or self.source_size), dtype=torch.bool)

    def iterate(
        self, size: tuple[int, int] | None = None, batch_size: int = 16
    ) -> Iterator[Tensor]:
        """Yield masks in batches, each of shape (up to ``batch_size``, H, W), bool."""
        for logits in torch.split(self.logits, batch_size) if len(self) else ():
            yield resize_bilinear(logits[:, None].float(), size or self.source_size)[:, 0] > 0

    def select(self, keep: Tensor) -> AutomaticMasks:
        """Return the masks at the indices, or under the booleans, ``keep``."""
        return AutomaticMasks(
            logits=self.logits[keep],
            iou=self.iou[keep],
            stability=self.stability[keep],
            boxes=self.boxes[keep],
            areas=self.areas[keep],
            points=self.points[keep],
            source_size=self.source_size,
        )


def point_grid(points_per_side: int, source_size: tuple[int, int]) -> Tensor:
    """Return an even grid of points in source pixels (x, y), shape (n * n, 2), row by row."""
    height, width = source_size
    steps = torch.arange(points_per_side, dtype=torch.float64)
    centres = (steps + 0.5) / points_per_side
    y, x = torch.meshgrid(centres * height, centres * width, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2).float()


def automatic_masks(  # noqa: PLR0917
    model: Sam2Model,
    embedding: Sam2Embedding,
    settings: AutomaticMaskSettings | None = None,
    checkpoint: Checkpoint | None = None,
    fallback: OutOfMemoryFallback | None = None,
    points: Tensor | None = None,
) -> AutomaticMasks:
    """Find masks all over an image, or at some points.

    Args:
        model: The SAM 2 model that encoded the image.
        embedding: One encoded image.
        settings: Prompts and filters.
        checkpoint: Called between batches with the fraction done; may raise to cancel.
        fallback: What to do when the device's memory runs out.
        points: Source pixels (x, y) of the prompts, shape (n, 2), n > 0; None takes the grid.

    Returns:
        The masks that passed, duplicates removed.
    """
    settings = settings or AutomaticMaskSettings()
    if points is None:
        points = point_grid(settings.points_per_side, embedding.source_size)
    batch_size = settings.batch_size or prompts_per_batch(model.device, model.prompt_bytes)
    shared = model.share(embedding)

    def decode(batch: Sequence[Tensor]) -> list[AutomaticMasks]:
        return [_decoded(model, embedding, shared, torch.stack(list(batch)), settings)]

    fallback = fallback or OutOfMemoryFallback(model.device)
    work: Work[Tensor, AutomaticMasks] = Work(decode, "One point of the image")
    found: list[AutomaticMasks] = []
    for start in range(0, len(points), batch_size):
        if checkpoint is not None:
            checkpoint(start / len(points))
        found += fallback.run(work, list(points[start : start + batch_size]))
    return _without_duplicates(_concatenated(found), settings.overlap_threshold)


def _decoded(
    model: Sam2Model,
    embedding: Sam2Embedding,
    shared: SharedImage,
    points: Tensor,
    settings: AutomaticMaskSettings,
) -> AutomaticMasks:
    """Return the masks of points (N, 2) that pass the filters."""
    output = model.predict(
        embedding,
        points=points[:, None],
        labels=torch.ones(len(points), 1, dtype=torch.int32),
        choice=MaskChoice.THREE if settings.three_masks else MaskChoice.SINGLE,
        shared=shared,
    )
    repeated = points.to(model.device).repeat_interleave(output.iou.shape[1], dim=0)
    return _scored(
        output.logits.flatten(0, 1),
        output.iou.flatten(),
        repeated,
        embedding.source_size,
        settings,
    )


@torch.inference_mode()
def _scored(
    logits: Tensor,
    iou: Tensor,
    points: Tensor,
    source_size: tuple[int, int],
    settings: AutomaticMaskSettings,
) -> AutomaticMasks:
    keep = iou > settings.iou_threshold if settings.iou_threshold > 0 else torch.ones_like(iou) > 0
    logits, iou, points = logits[keep], iou[keep], points[keep]
    height, width = source_size if settings.at_source else tuple(logits.shape[-2:])
    at_once = max(1, PIXELS_AT_ONCE // (height * width))
    measures = [
        _measured(
            resize_bilinear(chunk[:, None].float(), (height, width))[:, 0], settings, source_size
        )
        for chunk in torch.split(logits, at_once)
    ]
    stabilities, boxes, areas = (torch.cat(values) for values in zip(*measures, strict=True))
    found = AutomaticMasks(logits, iou, stabilities, boxes, areas, points, source_size)
    kept = found.stability >= settings.stability_threshold
    return found.select(kept & (found.areas >= max(settings.minimum_area, 1)))


def _measured(
    logits: Tensor, settings: AutomaticMaskSettings, source_size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return stability, boxes and areas of masks (N, h, w), the latter two in source pixels."""
    masks = logits > 0
    scale = (source_size[0] / logits.shape[-2], source_size[1] / logits.shape[-1])
    areas = masks.flatten(1).sum(1) * scale[0] * scale[1]
    return stability(logits, settings.stability_offset, nan=0.0), _boxes(masks, scale), areas


def _boxes(masks: Tensor, scale: tuple[float, float]) -> Tensor:
    """Return (left, top, right, bottom) of masks (N, h, w), zeros for empty ones, shape (N, 4)."""
    rows, columns = masks.any(2), masks.any(1)
    ends = [_ends(columns, scale[1]), _ends(rows, scale[0])]
    boxes = torch.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], dim=1)
    return boxes * masks.flatten(1).any(1)[:, None]


def _ends(line: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return the first and last true position of each row of (N, L), in source pixels."""
    length = line.shape[1]
    whole = line.to(torch.uint8)
    first = whole.argmax(1)
    last = length - 1 - whole.flip(1).argmax(1)
    return first * scale, (last + 1) * scale - 1


def _concatenated(batches: list[AutomaticMasks]) -> AutomaticMasks:
    return AutomaticMasks(
        logits=torch.cat([batch.logits for batch in batches]),
        iou=torch.cat([batch.iou for batch in batches]),
        stability=torch.cat([batch.stability for batch in batches]),
        boxes=torch.cat([batch.boxes for batch in batches]),
        areas=torch.cat([batch.areas for batch in batches]),
        points=torch.cat([batch.points for batch in batches]),
        source_size=batches[0].source_size,
    )


def _without_duplicates(found: AutomaticMasks, threshold: float) -> AutomaticMasks:
    # torchvision takes a second to import, and most jobs do not need it.
    from torchvision.ops import nms  # noqa: PLC0415

    return found.select(nms(found.boxes.float(), found.iou, threshold))
