"""Fitting a tile into the network's square, and bringing masks back onto the tile's pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)
_COEFFICIENT_BITS = 11


@dataclasses.dataclass(frozen=True)
class Letterbox:
    """Where a tile of ``height`` x ``width`` pixels lies in a square of ``side`` pixels.

    The aspect is kept, the tile is centred, and the short side is truncated to whole pixels.
    """

    height: int
    width: int
    side: int

    @property
    def fitted(self) -> tuple[int, int]:
        """Height and width of the resized tile inside the square."""
        if self.width > self.height:
            return max(int(self.height * (self.side / self.width)), 1), self.side
        return self.side, max(int(self.width * (self.side / self.height)), 1)

    @property
    def offset(self) -> tuple[int, int]:
        """First row and column of the resized tile; odd remainders go below and right."""
        height, width = self.fitted
        return (self.side - height) // 2, (self.side - width) // 2

    def fractions_of(self, x: float, y: float) -> tuple[float, float]:
        """Return where a place of the tile, in pixels, lies in the square, as fractions of it."""
        (top, left), (height, width) = self.offset, self.fitted
        across, down = x * (width / self.width), y * (height / self.height)
        return (left + across) / self.side, (top + down) / self.side

    def place_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize and centre an image (H, W, 3) on black: (side, side, 3)."""
        square = np.zeros((self.side, self.side, image.shape[2]), dtype=np.uint8)
        square[self._inside] = resize_bilinear(image, *self.fitted)
        return square

    def place_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize and centre a mask (H, W) on zero, nearest pixel: (side, side)."""
        height, width = self.fitted
        rows = np.arange(height) * self.height // height
        columns = np.arange(width) * self.width // width
        square = np.zeros((self.side, self.side), dtype=np.uint8)
        square[self._inside] = mask[rows[:, None], columns]
        return square

    def restore(self, logits: Tensor) -> Tensor:
        """Bring mask logits back onto the tile.

        Args:
            logits: (B, h, w) on the whole square, at any resolution.

        Returns:
            (B, H, W) float32: upsampled to the square, cropped, resized to the tile.
        """
        square = _interpolate(logits.float()[:, None], (self.side, self.side))
        rows, columns = self._inside
        return _interpolate(square[:, :, rows, columns], (self.height, self.width))[:, 0]

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


def resize_bilinear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize (H, W, C) with half-pixel centres, no antialias and 11-bit weights.

    The network was trained on images resized this way; smoother filters shift its input visibly.
    """
    (upper, lower), (upper_weight, lower_weight) = _neighbours(image.shape[0], height)
    (left, right), (left_weight, right_weight) = _neighbours(image.shape[1], width)
    source = image.astype(np.int32)
    across = (
        source[:, left] * left_weight[:, None] + source[:, right] * right_weight[:, None]
    ) >> 4
    down = (across[upper] * upper_weight[:, None, None] >> 16) + (
        across[lower] * lower_weight[:, None, None] >> 16
    )
    resized: NDArray[np.uint8] = ((down + 2) >> 2).clip(0, 255).astype(np.uint8)
    return resized


def _neighbours(
    source: int, target: int
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[np.int32], ...]]:
    """Indices of the two source pixels of every target pixel, and their integer weights.

    Beyond the border both indices name the border pixel.
    """
    positions = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    first = np.floor(positions).astype(np.int64)
    fraction = (positions - first).astype(np.float32)
    scale = np.float32(1 << _COEFFICIENT_BITS)
    weights = tuple(
        np.rint(part * scale).astype(np.int32) for part in (np.float32(1) - fraction, fraction)
    )
    return (np.clip(first, 0, source - 1), np.clip(first + 1, 0, source - 1)), weights


def _interpolate(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    return torch.nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
