"""How well clicks outline real objects: the standard protocol of interactive segmentation.

The first click lies deepest inside the object; every further one deepest inside the larger of
what is missing and what is too much. All clicks so far are asked as the plugin asks them, and of an
answer counts what it would keep: the parts that the clicks touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, List, Sequence, Tuple

import numpy as np
import torch
from scipy import ndimage

from geoseg_qgis.engine.methods.prompted.answers import Answerer
from geoseg_qgis.engine.methods.prompted.masks import touching_parts
from geoseg_qgis.engine.methods.prompted.objects import ObjectPrompt
from geoseg_qgis.engine.models.sam2 import upsample
from geoseg_qgis.engine.training.datasets import Scene
from geoseg_qgis.engine.training.objects import Mask

SMALLEST = 150
REACH = 4
"""Pixels that a part may lie away from a click, the side of a cell of the answer."""


@dataclass(frozen=True)
class Example:
    """One object to outline.

    Attributes:
        pixels: (3, S, S) uint8 window round it, mirrored beyond a smaller image as the plugin
            continues it.
        mask: (S, S) bool.
        valid: (S, S) bool, False beyond the image.
    """

    pixels: torch.Tensor
    mask: Mask
    valid: Mask


def examples(scenes: Sequence[Scene], mask_value: int, size: int, limit: int) -> Iterator[Example]:
    """Yield the largest connected objects of a class, each in a window round it.

    Args:
        scenes: Where to look.
        mask_value: The partial label of the class.
        size: Side of a window in pixels.
        limit: Most objects a scene.
    """
    for scene in scenes:
        numbers, count = ndimage.label(scene.labels.numpy() == mask_value)
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
            pixels = scene.pixels[:, window[0], window[1]]
            right, bottom = size - mask.shape[1], size - mask.shape[0]
            around = ((0, bottom), (0, right))
            yield Example(
                torch.from_numpy(np.pad(pixels.numpy(), ((0, 0), *around), mode="symmetric")),
                np.pad(mask, around),
                np.pad(np.ones_like(mask), around),
            )


def _start(box: slice, length: int, size: int) -> int:
    middle = (int(box.start) + int(box.stop)) // 2
    return max(0, min(middle - size // 2, length - size))


def deepest_point(mask: Mask) -> Tuple[int, int]:
    """Return the (x, y) of the pixel farthest from the mask's border and the window's."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(x), int(y)


def click_scores(answerer: Answerer, example: Example, clicks: int) -> List[float]:
    """Return the IoU after each of some clicks.

    Args:
        answerer: The network that is asked.
        example: The object.
        clicks: How many clicks.
    """
    tile = answerer.read(example.pixels.numpy())
    found = np.zeros_like(example.mask)
    points: List[Tuple[int, int]] = []
    marks: List[int] = []
    scores = []
    for _ in range(clicks):
        missing, extra = example.mask & ~found, found & ~example.mask
        positive = missing.sum() >= extra.sum()
        points.append(deepest_point(missing if positive else extra))
        marks.append(int(positive))
        prompt = _prompt(points, marks)
        ((_, answer),) = answerer.answer(tile, [prompt])
        logits = upsample(torch.from_numpy(answer.logits)[None, None], example.mask.shape)
        found = touching_parts((logits[0, 0] > 0).numpy() & example.valid, prompt, REACH)
        union = (found | example.mask).sum()
        scores.append(float((found & example.mask).sum() / max(union, 1)))
    return scores


def _prompt(points: List[Tuple[int, int]], marks: List[int]) -> ObjectPrompt:
    places, on_object = np.array(points, np.float64) + 0.5, np.array(marks, bool)
    return ObjectPrompt(0, 0, len(points), places, on_object)
