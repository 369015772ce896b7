"""Objects over a whole raster: SAM 2's masks tile by tile, each pixel in one object at most.

Of masks that overlap, the better one takes the pixels: that with the greater product of predicted
IoU and stability. A mask that would keep less than half of its pixels is left out. Given a class
raster, a mask has to lie in one class, and takes the pixels of that class only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.models.automatic_masks import AutomaticMasks
from geoseg_qgis.engine.progress import Progress

from .journal import Arrays
from .proposals import OVERLAP_SHARE, PAINT_BATCH, Sam2Proposer
from .region_map import RegionMap, RegionPlan, fine_window, stitch_tiles

Value = TypeVar("Value", np.bool_, np.uint8)
ReadLabels = Callable[[Window], NDArray[np.uint8]]
"""Returns the class ids (h, w) of a window on the grid of the results, 0 for none."""


@dataclass(frozen=True)
class ObjectRules:
    """Which masks become objects.

    Attributes:
        purity: Smallest share of a mask in its most frequent class.
        visible: Smallest share of a mask that better ones leave to it.
        largest_share: Masks above this share of a tile are ground, no object.
        smallest_first: Whether the smallest mask wins overlaps, not the best.
    """

    purity: float = 0.85
    visible: float = 0.5
    largest_share: float = 0.6
    smallest_first: bool = False


@dataclass(frozen=True)
class ObjectFacts:
    """What is known of the objects of a map; entry 0 stands for no object.

    Attributes:
        iou: Predicted IoU, (n + 1,).
        stability: Share of a mask that stays when its threshold moves, (n + 1,).
    """

    iou: NDArray[np.float32]
    stability: NDArray[np.float32]


def find_objects(
    objects: RegionMap,
    proposer: Sam2Proposer,
    rules: ObjectRules,
    progress: Progress,
    labels: ReadLabels | None = None,
) -> ObjectFacts:
    """Fill a map of objects, tile by tile; objects that neighbouring tiles agree on are one.

    Args:
        objects: The map to fill; its grid is the result's.
        proposer: Proposes the masks of a tile.
        rules: Which masks become objects.
        progress: Takes the finished fraction.
        labels: Class raster that the objects follow; None for objects of any kind.
    """
    plan = RegionPlan(proposer.size, round(proposer.size * OVERLAP_SHARE), proposer.subdivision)
    side = proposer.size * proposer.subdivision

    def propose(window: Window) -> Arrays:
        ids = np.zeros((side, side), dtype=np.int32)
        nothing = np.zeros(1, dtype=np.float32)
        chip = proposer.chip(window)
        if chip is None or not chip.valid.any():
            return [ids, nothing, nothing]
        classes = None
        if labels is not None:
            fine = fine_window(window, proposer.subdivision, objects.grid)
            classes = np.zeros((side, side), dtype=np.uint8)
            classes[: int(fine.height), : int(fine.width)] = labels(fine)
        valid = np.repeat(np.repeat(chip.valid, proposer.subdivision, 0), proposer.subdivision, 1)
        # Points beside every class would find objects that belong to none.
        points = proposer.points(valid if classes is None else valid & (classes > 0))
        if not len(points):
            return [ids, nothing, nothing]
        masks = proposer.masks(chip, points)
        chosen = paint_objects(masks, ids, valid, classes, rules)
        return [
            ids,
            np.concatenate([nothing, masks.iou[chosen].cpu().numpy()]).astype(np.float32),
            np.concatenate([nothing, masks.stability[chosen].cpu().numpy()]).astype(np.float32),
        ]

    iou, stability = {0: 0.0}, {0: 0.0}
    for names, (tile_iou, tile_stability) in stitch_tiles(
        objects, propose, plan, "objects", progress
    ):
        for own, name in enumerate(names.tolist()):
            # An object seen in several tiles has the numbers of the tile that sees it best.
            if name and tile_iou[own] > iou.get(name, -1.0):
                iou[name], stability[name] = float(tile_iou[own]), float(tile_stability[own])
    numbers = range(objects.count + 1)
    return ObjectFacts(
        np.array([iou.get(number, 0.0) for number in numbers], dtype=np.float32),
        np.array([stability.get(number, 0.0) for number in numbers], dtype=np.float32),
    )


def paint_objects(
    masks: AutomaticMasks,
    ids: NDArray[np.int32],
    valid: NDArray[np.bool_],
    classes: NDArray[np.uint8] | None,
    rules: ObjectRules,
) -> torch.Tensor:
    """Paint masks as objects with numbers from 1, and return the indices of those painted.

    Masks are chosen at the resolution of their logits and painted at that of the ids. Only the
    largest connected part of what an object keeps is painted.

    Args:
        masks: The masks of a tile.
        ids: (H, W) zeros to paint on.
        valid: (H, W) where the tile holds data.
        classes: (H, W) class ids that the objects follow, or None.
        rules: Which masks become objects.
    """
    chosen, kinds = choose_objects(masks, valid, classes, rules)
    index = torch.tensor(chosen, dtype=torch.long)
    number = 0
    for batch in masks.select(index).iterate(ids.shape, PAINT_BATCH):
        for mask in batch.cpu().numpy():
            free = mask & valid & (ids == 0)
            if classes is not None:
                free &= classes == kinds[number]
            number += 1
            ids[_largest_part(free)] = number
    return index


def choose_objects(
    masks: AutomaticMasks,
    valid: NDArray[np.bool_],
    classes: NDArray[np.uint8] | None,
    rules: ObjectRules,
) -> tuple[list[int], list[int]]:
    """Return the masks that become objects, the first one wins overlaps, and their classes.

    Args:
        masks: The masks of a tile.
        valid: (H, W) where the tile holds data.
        classes: (H, W) class ids that the objects follow, or None.
        rules: Which masks become objects.
    """
    if not len(masks):
        return [], []
    small = (masks.logits > 0).cpu().numpy()
    shape = small.shape[1:]
    where = _nearest(valid, shape)
    kinds = where.astype(np.uint8) if classes is None else _nearest(classes, shape) * where
    small &= where
    areas = small.reshape(len(small), -1).sum(axis=1)
    counts = np.stack([np.bincount(kinds[mask], minlength=256) for mask in small])
    found = counts.argmax(axis=1)
    purity = counts.max(axis=1) / np.maximum(areas, 1)
    usable = (areas > 0) & (areas <= rules.largest_share * small[0].size)
    usable &= (found > 0) & (purity >= rules.purity)
    quality = (masks.iou * masks.stability).cpu().numpy() * purity
    order = (
        np.lexsort((-quality, areas))
        if rules.smallest_first
        else np.argsort(-quality, kind="stable")
    )
    taken = np.zeros(shape, dtype=np.bool_)
    chosen: list[int] = []
    for index in order[usable[order]].tolist():
        own = small[index] & (kinds == found[index])
        if int((own & ~taken).sum()) >= rules.visible * max(int(own.sum()), 1):
            taken |= own
            chosen.append(index)
    return chosen, found[chosen].tolist()


def _nearest(values: NDArray[Value], shape: tuple[int, ...]) -> NDArray[Value]:
    """Return (H, W) values at the pixel centres of a smaller shape over the same ground."""
    rows, columns = (
        np.floor((np.arange(small) + 0.5) * large / small).astype(np.intp)
        for small, large in zip(shape, values.shape, strict=True)
    )
    return values[np.ix_(rows, columns)]


def _largest_part(mask: NDArray[np.bool_]) -> tuple[slice, slice] | NDArray[np.bool_]:
    """Return the largest 4-connected part of a mask, as a mask of the same shape."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return mask
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    labels, count = ndimage.label(mask[box])
    if count > 1:
        sizes = np.bincount(labels.ravel())[1:]
        mask = np.zeros_like(mask)
        mask[box] = labels == sizes.argmax() + 1
    return mask
