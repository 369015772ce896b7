"""Masks that follow the colours of the image, as simple classifiers make them.

Faults of real masks are systematic: similar pixels are taken for the object, and unusual objects
are missed. Grouping the pixels of a tile by colour and texture, and keeping the groups that
are mostly object, gives such masks from any labelled tile.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

FINE, COARSE = 4, 8
ROUNDS = 5


class Lookalikes:
    """Source of masks: groups of similar pixels that are more object than not.

    Args:
        seed: Start of the random numbers.
    """

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def __call__(self, images: Tensor, truth: Tensor) -> Tensor:
        """Return masks (B, 1, S, S) for images (B, 3, S, S) and truth of the masks' shape."""
        return torch.stack([self._mask(image, mask) for image, mask in zip(images, truth)])

    def _mask(self, image: Tensor, truth: Tensor) -> Tensor:
        cell = FINE if self._generator.random() < 0.6 else COARSE
        colours = functional.avg_pool2d(image[None], cell)
        spread = (functional.avg_pool2d(image[None] ** 2, cell) - colours**2).clamp_min(0).sqrt()
        features = torch.cat([colours, self._generator.uniform(0, 2) * spread], dim=1)[0]
        features = features.flatten(1).T
        share = functional.avg_pool2d(truth[None], cell).flatten().numpy()
        groups = self._groups(features.numpy(), int(self._generator.integers(5, 17)))
        mass = np.bincount(groups, share, minlength=groups.max() + 1)
        purity = mass / np.maximum(np.bincount(groups, minlength=len(mass)), 1)
        chosen = purity > self._generator.uniform(0.2, 0.6) * purity.max()
        side = image.shape[-1] // cell
        coarse = torch.from_numpy(chosen[groups].astype(np.float32)).view(1, 1, side, side)
        width = 2 * int(self._generator.integers(0, 3)) + 1
        smooth = functional.avg_pool2d(coarse, width, 1, width // 2, count_include_pad=False)
        full = functional.interpolate(smooth, truth.shape[-2:], mode="bilinear")
        return (full[0] > 0.5).to(truth.dtype)

    def _groups(self, features: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Return the group of each row of (N, F) by a few rounds of k-means."""
        centres = features[self._generator.choice(len(features), count, replace=False)]
        nearest = np.zeros(len(features), np.int64)
        for _ in range(ROUNDS):
            distance = (centres**2).sum(1) - 2 * features @ centres.T
            nearest = distance.argmin(1)
            sizes = np.maximum(np.bincount(nearest, minlength=count), 1)
            sums = [np.bincount(nearest, column, minlength=count) for column in features.T]
            centres = (np.stack(sums, axis=1) / sizes[:, None]).astype(np.float32)
        return nearest
