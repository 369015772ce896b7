"""How well clicks outline real objects: the standard protocol of interactive segmentation.

The first click lies deepest inside the object, every further one deepest inside an error and never
on the pixel of an earlier one. All clicks so far are one prompt, as in the plugin, and of a mask
those areas count that the clicks touch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from geoseg_qgis.engine.methods.prompted.masks import areas_touching
from geoseg_qgis.engine.methods.prompted.predictions import Predictor
from geoseg_qgis.engine.methods.prompted.prompted_objects import ObjectPrompt
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear

from .clickable_objects import Mask, outlined
from .datasets import LabelledImage

SMALLEST = 150
REACH = 4
"""Pixels between a click and an area that it still touches: the side of a cell of the mask."""


@dataclass(frozen=True)
class Example:
    """One object to outline.

    Attributes:
        pixels: (3, S, S) uint8 window around it, mirrored beyond the image as in the plugin.
        mask: (S, S) bool.
        valid: (S, S) bool, False beyond the image and where the label does not decide.
    """

    pixels: torch.Tensor
    mask: Mask
    valid: Mask


def examples(
    images: Sequence[LabelledImage], mask_value: int, size: int, limit: int
) -> Iterator[Example]:
    """Yield the largest connected objects of a class, each in a window around it.

    Args:
        images: Images with labels.
        mask_value: The partial label of the class.
        size: Side of a window in pixels.
        limit: Most objects in an image.
    """
    for image in images:
        numbers, count = ndimage.label(image.labels.numpy() == mask_value)
        sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
        order = np.argsort(-sizes, kind="stable")[:limit]
        boxes = ndimage.find_objects(numbers)
        for index in order:
            if sizes[index] < SMALLEST:
                continue
            top, left = (
                _start(box, length, size) for box, length in zip(boxes[index], numbers.shape)
            )
            window = slice(top, top + size), slice(left, left + size)
            mask = numbers[window] == index + 1
            known = outlined(image.labels[window].numpy())
            pixels = image.pixels[:, window[0], window[1]]
            right, bottom = size - mask.shape[1], size - mask.shape[0]
            around = ((0, bottom), (0, right))
            yield Example(
                torch.from_numpy(np.pad(pixels.numpy(), ((0, 0), *around), mode="symmetric")),
                np.pad(mask, around),
                np.pad(known, around),
            )


def _start(box: slice, length: int, size: int) -> int:
    middle = (int(box.start) + int(box.stop)) // 2
    return max(0, min(middle - size // 2, length - size))


def deepest_point(
    mask: Mask, points: Sequence[tuple[int, int]] = ()
) -> tuple[tuple[int, int], float]:
    """Return the (x, y) of the pixel farthest from the mask's border and the window's, and how far.

    Args:
        mask: Where to search, (H, W).
        points: Pixels (x, y) that are left out.
    """
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    for x, y in points:
        depth[y, x] = 0
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return (int(column), int(row)), float(depth[row, column])


def click_scores(predictor: Predictor, example: Example, clicks: int) -> list[float]:
    """Return the IoU after each of some clicks.

    Args:
        predictor: The network.
        example: The object.
        clicks: How many clicks.
    """
    tile = predictor.encode(example.pixels.numpy())
    found = np.zeros_like(example.mask)
    points: list[tuple[int, int]] = []
    marks: list[int] = []
    scores: list[float] = []
    for _ in range(clicks):
        missing, depth_of_missing = deepest_point(example.mask & ~found, points)
        extra, depth_of_extra = deepest_point(found & ~example.mask, points)
        if not depth_of_missing and not depth_of_extra:
            scores.append(scores[-1])
            continue
        positive = depth_of_missing > depth_of_extra
        points.append(missing if positive else extra)
        marks.append(int(positive))
        prompt = _prompt(points, marks)
        ((_, prediction),) = predictor.predict(tile, [prompt])
        logits = resize_bilinear(
            torch.from_numpy(prediction.logits)[None, None].float(), example.mask.shape
        )
        found = areas_touching((logits[0, 0] > 0).numpy(), prompt, REACH) & example.valid
        union = (found | example.mask).sum()
        scores.append(float((found & example.mask).sum() / max(union, 1)))
    return scores


def _prompt(points: list[tuple[int, int]], marks: list[int]) -> ObjectPrompt:
    places, on_object = np.array(points, np.float64) + 0.5, np.array(marks, bool)
    return ObjectPrompt(0, 0, len(points), places, on_object)
