"""Noise fields of several octaves: what keeps every surface from being one flat colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

FloatArray = NDArray[np.float32]
_TILE = 512


def fractal(
    random: np.random.Generator,
    shape: tuple[int, int],
    wavelength: float,
    octaves: int,
    persistence: float = 0.55,
) -> FloatArray:
    """Return smooth noise of zero mean and unit deviation.

    Args:
        random: Source of the values.
        shape: Rows and columns.
        wavelength: Longest wave in pixels; each further octave halves it.
        octaves: Number of waves added.
        persistence: Amplitude of an octave relative to the one before.

    Returns:
        float32 of that shape.
    """
    total = np.zeros(shape, np.float32)
    amplitude = 1.0
    for _ in range(octaves):
        if wavelength < 1.0:
            break
        total += amplitude * _octave(random, shape, wavelength)
        amplitude *= persistence
        wavelength /= 2
    total -= total.mean()
    return total / max(float(total.std()), 1e-6)


def _octave(random: np.random.Generator, shape: tuple[int, int], wavelength: float) -> FloatArray:
    rows, columns = (int(np.ceil(side / wavelength)) + 4 for side in shape)
    grid = random.standard_normal((rows, columns), np.float32)
    start = float(random.uniform(1, 2)), float(random.uniform(1, 2))
    box = (
        start[0],
        start[1],
        start[0] + shape[1] / wavelength,
        start[1] + shape[0] / wavelength,
    )
    image = Image.fromarray(grid).resize((shape[1], shape[0]), Image.Resampling.BICUBIC, box=box)
    return np.asarray(image, np.float32)


def enlarge(field: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Return the field resized to a shape by bilinear interpolation."""
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(field).resize(size, Image.Resampling.BILINEAR), np.float32)


@dataclass(frozen=True)
class NoiseBank:
    """Fields of unit deviation and canvas shape, from pixel grain to whole landscapes.

    Attributes:
        grain: Waves of one to two pixels.
        fine: Waves of about a metre, never below two pixels.
        medium: Waves of 3 to 14 m.
        coarse: Waves of 25 to 110 m.
    """

    grain: FloatArray
    fine: FloatArray
    medium: FloatArray
    coarse: FloatArray


def noise_bank(random: np.random.Generator, shape: tuple[int, int], scale: float) -> NoiseBank:
    """Return the fields for a canvas.

    Args:
        random: Source of the values.
        shape: Rows and columns of the canvas.
        scale: Canvas pixels in a metre.
    """
    white = random.standard_normal((_TILE, _TILE), np.float32)
    grain = ndimage.gaussian_filter(white, 0.6, mode="wrap", truncate=3)
    rolled = np.roll(white.T, 137, axis=0)
    fine = ndimage.gaussian_filter(rolled, max(1.2, 0.35 * scale), mode="wrap", truncate=2.5)
    half = (shape[0] // 2, shape[1] // 2)
    eighth = (shape[0] // 8 + 2, shape[1] // 8 + 2)
    return NoiseBank(
        _tiled(grain, shape),
        _tiled(fine, shape),
        enlarge(fractal(random, half, 7.0 * scale, 3), shape),
        enlarge(fractal(random, eighth, 110.0 * scale / 8, 3), shape),
    )


def _tiled(tile: FloatArray, shape: tuple[int, int]) -> FloatArray:
    unit = tile / max(float(tile.std()), 1e-6)
    repeats = tuple(-(-side // _TILE) for side in shape)
    return np.ascontiguousarray(np.tile(unit, repeats)[: shape[0], : shape[1]])
