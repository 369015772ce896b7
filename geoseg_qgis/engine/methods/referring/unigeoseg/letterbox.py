"""Fitting an image into the network's square, and masks back onto the image's pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg_qgis.engine.raster.resampling.arrays import resize_fixed_point, resize_nearest_array
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear

# ImageNet's mean and standard deviation in 0..255, as published for the tower.
_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)


@dataclasses.dataclass(frozen=True)
class Letterbox:
    """Where an image of ``height`` x ``width`` pixels lies in a square of ``side`` pixels.

    The aspect is kept, the image is centred, and the short side is truncated to whole pixels.
    """

    height: int
    width: int
    side: int

    @property
    def fitted(self) -> tuple[int, int]:
        """Height and width of the resized image inside the square."""
        if self.width > self.height:
            return max(int(self.height * (self.side / self.width)), 1), self.side
        return self.side, max(int(self.width * (self.side / self.height)), 1)

    @property
    def offset(self) -> tuple[int, int]:
        """First row and column of the resized image; odd remainders go below and right."""
        height, width = self.fitted
        return (self.side - height) // 2, (self.side - width) // 2

    def fractions_of(self, x: float, y: float) -> tuple[float, float]:
        """Return where a position on the image, in pixels, lies in the square, as fractions."""
        (top, left), (height, width) = self.offset, self.fitted
        across, down = x * (width / self.width), y * (height / self.height)
        return (left + across) / self.side, (top + down) / self.side

    def place_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize and centre an image (H, W, 3) on black: (side, side, 3)."""
        square = np.zeros((self.side, self.side, image.shape[2]), dtype=np.uint8)
        square[self._inside] = resize_fixed_point(image, self.fitted)
        return square

    def place_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize and centre a mask (H, W) on zero, nearest pixel: (side, side)."""
        square = np.zeros((self.side, self.side), dtype=np.uint8)
        square[self._inside] = resize_nearest_array(mask, self.fitted)
        return square

    def restore(self, logits: Tensor) -> Tensor:
        """Bring mask logits back onto the image.

        Args:
            logits: (B, h, w) on the whole square, at any resolution.

        Returns:
            (B, H, W) float32: upsampled to the square, cropped, resized to the image.
        """
        square = resize_bilinear(logits.float()[:, None], (self.side, self.side))
        rows, columns = self._inside
        return resize_bilinear(square[:, :, rows, columns], (self.height, self.width))[:, 0]

    @property
    def _inside(self) -> tuple[slice, slice]:
        (top, left), (height, width) = self.offset, self.fitted
        return slice(top, top + height), slice(left, left + width)


def normalise(square: NDArray[np.uint8]) -> Tensor:
    """Turn an RGB square (S, S, 3) into the network's input (1, 3, S, S) float32."""
    pixels = torch.from_numpy(square).permute(2, 0, 1).float()
    mean = torch.tensor(_MEAN).view(3, 1, 1)
    deviation = torch.tensor(_DEVIATION).view(3, 1, 1)
    return ((pixels - mean) / deviation)[None]
