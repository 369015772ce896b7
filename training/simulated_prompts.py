"""Clicks and boxes as people draw them on an object."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .clickable_objects import STRIDE, Mask, Target

POINTS = 8
PADDING, NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3


class Prompts(NamedTuple):
    """Prompts of one step, padded to the same number of points.

    Attributes:
        points: (N, P, 2) float32 pixels of the crop, x before y.
        marks: (N, P) int32: 1 positive, 0 negative, 2 and 3 corners of a box, -1 padding.
        masks: (N, h, w) float32 targets at half the crop's size.
        known: (N, h, w) float32, 0 where the target is unknown.
        image: (N,) int64 crop of each prompt.
    """

    points: Tensor
    marks: Tensor
    masks: Tensor
    known: Tensor
    image: Tensor

    def to(self, device: torch.device) -> Prompts:
        """Return the prompts on a device."""
        return Prompts(*(tensor.to(device) for tensor in self))


class PromptSampler:
    """Draws prompts for targets.

    Args:
        random: Source of every choice.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random

    def prompts(self, targets: list[tuple[int, Target]]) -> Prompts:
        """Return one prompt for each (crop index, target)."""
        points = np.zeros((len(targets), POINTS, 2), np.float32)
        marks = np.full((len(targets), POINTS), PADDING, np.int32)
        for row, (_, target) in enumerate(targets):
            places, kinds = self._one(target)
            points[row, : len(places)] = places
            marks[row, : len(kinds)] = kinds
        return Prompts(
            torch.from_numpy(points),
            torch.from_numpy(marks),
            torch.from_numpy(np.stack([t.mask for _, t in targets])).float(),
            torch.from_numpy(np.stack([t.known for _, t in targets])).float(),
            torch.tensor([index for index, _ in targets]),
        )

    def corrected(self, prompts: Prompts, found: Mask) -> Prompts:
        """Return the prompts with one more click each, in the larger error of a mask.

        Half of the clicks lie deepest inside the error, like a careful user's, the others anywhere.

        Args:
            prompts: Prompts on the CPU, each with a free place.
            found: (N, h, w) bool, the predicted masks at half the crop's size.
        """
        points, marks = prompts.points.clone(), prompts.marks.clone()
        wanted, known = prompts.masks.numpy() > 0.5, prompts.known.numpy() > 0.5
        for row, predicted in enumerate(found):
            missing, extra = wanted[row] & ~predicted, ~wanted[row] & predicted & known[row]
            positive = bool(missing.sum() >= extra.sum())
            error = missing if positive else extra
            free = np.flatnonzero(prompts.marks[row].numpy() == PADDING)
            if not error.any() or not free.size:
                continue
            points[row, free[0]] = torch.tensor(self._click(error))
            marks[row, free[0]] = POSITIVE if positive else NEGATIVE
        return prompts._replace(points=points, marks=marks)

    def _click(self, error: Mask) -> tuple[float, float]:
        if self.random.random() < 0.5:
            return self._pick(*np.nonzero(error))
        depth = ndimage.distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1]
        return self._pick(*np.nonzero(depth >= depth.max() * 0.9))

    def _one(self, target: Target) -> tuple[list[tuple[float, float]], list[int]]:
        draw = self.random.random()
        if draw < 0.2:
            return self._box(target.mask), [TOP_LEFT, BOTTOM_RIGHT]
        positives = 1 if draw < 0.75 else int(self.random.integers(2, 4))
        places = [self._inside(target.mask) for _ in range(positives)]
        kinds = [POSITIVE] * positives
        if draw > 0.65:
            for _ in range(int(self.random.integers(1, 3))):
                place = self._outside(target)
                if place is not None:
                    places.append(place)
                    kinds.append(NEGATIVE)
        return places, kinds

    def _inside(self, mask: Mask) -> tuple[float, float]:
        core = ndimage.binary_erosion(mask) if self.random.random() < 0.7 else mask
        rows, columns = np.nonzero(core if core.any() else mask)
        return self._pick(rows, columns)

    def _outside(self, target: Target) -> tuple[float, float] | None:
        near = ndimage.binary_dilation(target.mask, iterations=int(self.random.integers(3, 12)))
        rows, columns = np.nonzero(near & ~target.mask & target.known)
        return self._pick(rows, columns) if rows.size else None

    def _pick(self, rows: np.ndarray, columns: np.ndarray) -> tuple[float, float]:
        index = int(self.random.integers(len(rows)))
        shift = self.random.random(2)
        x = (float(columns[index]) + shift[0]) * STRIDE - 0.5
        y = (float(rows[index]) + shift[1]) * STRIDE - 0.5
        return x, y

    def _box(self, mask: Mask) -> list[tuple[float, float]]:
        rows, columns = np.nonzero(mask)
        left, right = columns.min() * STRIDE, (columns.max() + 1) * STRIDE
        top, bottom = rows.min() * STRIDE, (rows.max() + 1) * STRIDE
        jitter = self.random.normal(0, 0.05, 4)
        width, height = right - left, bottom - top
        return [
            (left + jitter[0] * width, top + jitter[1] * height),
            (right + jitter[2] * width, bottom + jitter[3] * height),
        ]
