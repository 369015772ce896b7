"""The camera: blur, haze, colour cast, gamma, noise, compression, grey and near-infrared bands."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from .legend import CLASS_NAMES, NEAR_INFRARED_GAIN
from .noise import FloatArray

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Sensor:
    """How a camera and the air between change colours.

    Attributes:
        blur: Deviation of the point spread in pixels.
        haze: Share of scattered light, 0..1.
        cast: Gain of red, green and blue.
        gamma: Exponent on values of 0..1.
        contrast: Gain about the middle.
        saturation: 0 for grey, 1 for colours as they are.
        noise: Deviation of the noise in digital numbers.
        quality: JPEG quality, 0 for no compression.
        grey: Whether the camera is panchromatic.
    """

    blur: float = 0.45
    haze: float = 0.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    noise: float = 1.2
    quality: int = 0
    grey: bool = False

    def expose(self, colour: FloatArray, random: np.random.Generator) -> NDArray[np.uint8]:
        """Return the image of a scene.

        Args:
            colour: (3, H, W) float32 in 0..255.
            random: Source of the noise.

        Returns:
            (H, W, 3) uint8.
        """
        image = colour * np.asarray(self.cast, np.float32)[:, None, None]
        if self.blur > 0.2:
            image = ndimage.gaussian_filter(image, (0, self.blur, self.blur), truncate=2.5)
        luminance = np.tensordot(_LUMINANCE, image, 1)
        saturation = 0.0 if self.grey else self.saturation
        image = luminance + np.float32(saturation) * (image - luminance)
        air = np.array([186, 196, 208], np.float32)[:, None, None]
        if self.grey:
            air = np.full((3, 1, 1), 196, np.float32)
        image = image + np.float32(self.haze) * (air - image)
        image = np.float32(118) + np.float32(self.contrast) * (image - np.float32(118))
        image = 255 * np.clip(image / 255, 0, 1) ** np.float32(self.gamma)
        bands = 1 if self.grey else 3
        grain = random.standard_normal((bands, *image.shape[1:]), np.float32)
        image += np.float32(self.noise) * grain
        pixels = np.clip(image + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
        pixels = np.ascontiguousarray(pixels)
        if self.quality:
            pixels = compressed(pixels, self.quality)
        if self.grey:
            pixels = np.repeat(pixels[:, :, :1], 3, axis=2)
        return np.asarray(pixels, np.uint8)


def compressed(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return pixels (H, W, 3) after JPEG compression."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    stream.seek(0)
    return np.array(Image.open(stream).convert("RGB"))


def random_sensor(random: np.random.Generator) -> Sensor:
    """Return a camera; four in ten are good ones on a clear day."""
    if random.random() > 0.6:
        cast = 1 + random.normal(0, 0.012, 3)
        return Sensor(0.4, 0.02, (cast[0], cast[1], cast[2]), 0.92, 1.04, 0.95, 1.6)
    cast = 1 + random.normal(0, 0.035, 3)
    return Sensor(
        blur=float(random.uniform(0.2, 1.1)),
        haze=float(random.beta(1.0, 11)),
        cast=(float(cast[0]), float(cast[1]), float(cast[2])),
        gamma=float(np.exp(random.normal(0, 0.16))),
        contrast=float(random.uniform(0.85, 1.25)),
        saturation=float(random.uniform(0.5, 1.2)),
        noise=float(random.gamma(2.0, 1.6)),
        quality=int(random.integers(40, 95)) if random.random() < 0.5 else 0,
        grey=bool(random.random() < 0.07),
    )


def near_infrared(pixels: NDArray[np.uint8], classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a near-infrared band (H, W): plants bright, water dark.

    Args:
        pixels: (H, W, 3) image.
        classes: (H, W) class map.
    """
    gains = np.array([NEAR_INFRARED_GAIN.get(name, 1.05) for name in CLASS_NAMES], np.float32)
    gain = ndimage.gaussian_filter(gains[classes], 0.6)
    return np.asarray(np.clip(pixels @ _LUMINANCE * gain, 0, 255), np.uint8)


def sixteen_bit(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint16]:
    """Return an image as sensors of 11 bits store it: values of 120 to about 2000, uint16."""
    random = np.random.default_rng([seed, 16])
    values = 120 + pixels.astype(np.float32) * np.float32(random.uniform(5, 7.2))
    values += random.uniform(-3, 3, pixels.shape).astype(np.float32)
    return np.asarray(np.clip(values + 0.5, 1, 2047), np.uint16)
