"""Random crops: geometry, then colour, as sensors and atmospheres vary it."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from .datasets import GENERATED, GENERATED_SHARE, SOURCES, LabelledImage
from .land_cover import BIT

UNCHANGED_SHARE = 0.4
"""Share of crops that keep their colours."""


@dataclass(frozen=True)
class Batch:
    """A batch of crops.

    Attributes:
        pixels: (B, 3, S, S) float32 in 0..1.
        clean: The same crops before their colours were changed.
        labels: (B, S, S) int64 bit masks of possible land covers.
    """

    pixels: torch.Tensor
    clean: torch.Tensor
    labels: torch.Tensor


class CropSampler:
    """Draws augmented crops from images, endless and seeded.

    Args:
        images: Images to draw from.
        size: Side of a crop in pixels.
        seed: Seed of every random choice.
        generated_share: Weight of drawn scenes beside the labelled images, whose weights sum to 1.
        real_shares: Weight of each set of labelled images; those of `SOURCES` when None.
    """

    def __init__(
        self,
        images: list[LabelledImage],
        size: int,
        seed: int,
        generated_share: float = GENERATED_SHARE,
        real_shares: Mapping[str, float] | None = None,
    ) -> None:
        self.images = images
        self.size = size
        self.random = np.random.default_rng(seed)
        area = np.array([s.labels.numel() for s in images], np.float64) ** 0.5
        weights = np.zeros(len(images))
        shares = real_shares or {name: source.weight for name, source in SOURCES.items()}
        for dataset, share in {**shares, GENERATED: generated_share}.items():
            member = np.array([s.dataset == dataset for s in images])
            if member.any():
                weights[member] = share * area[member] / area[member].sum()
        self._weights = weights / weights.sum()
        self._anchors = [_rare_pixels(image, self.random) for image in images]
        self._levels = [_pyramid(image.pixels) for image in images]

    def batch(self, count: int) -> Batch:
        """Return `count` crops."""
        chosen = self.random.choice(len(self.images), count, p=self._weights)
        crops = [self._crop(int(index)) for index in chosen]
        clean = torch.stack([pixels for pixels, _ in crops])
        labels = torch.stack([labels for _, labels in crops])
        kept = torch.from_numpy(self.random.random(count) < UNCHANGED_SHARE)
        pixels = torch.where(kept[:, None, None, None], clean, self.recolour(clean))
        return Batch(pixels, clean, labels)

    def recolour(self, clean: torch.Tensor) -> torch.Tensor:
        """Return the crops (B, 3, S, S) in 0..1 with colours changed at random."""
        return torch.stack([vary_colour(pixels, self.random) for pixels in clean])

    def _crop(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = self.images[index]
        low, high = image.zoom
        zoom = math.exp(self.random.uniform(math.log(low), math.log(high)))
        height, width = image.labels.shape
        half = self.size / zoom / 2
        centre = self._centre(index, half, height, width)
        angle = self.random.uniform(0, 2 * math.pi) if self.random.random() < 0.5 else 0.0
        angle += math.pi / 2 * self.random.integers(4)
        mirror = -1.0 if self.random.random() < 0.5 else 1.0
        stretch = math.exp(self.random.normal(0, 0.08))
        matrix = torch.tensor(
            [
                [math.cos(angle) * mirror * stretch, -math.sin(angle) / stretch],
                [math.sin(angle) * mirror * stretch, math.cos(angle) / stretch],
            ],
            dtype=torch.float32,
        )
        steps = (torch.arange(self.size) + 0.5) / self.size * 2 - 1
        grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1) @ matrix.T * half
        source = grid + torch.tensor(centre, dtype=torch.float32)
        level = max(0, min(len(self._levels[index]) - 1, round(math.log2(1 / zoom))))
        pixels = _sample(self._levels[index][level], source / 2**level, "bilinear") / 255
        labels = _sample(image.labels[None], source, "nearest")[0].long()
        return pixels, labels

    def _centre(self, index: int, half: float, height: int, width: int) -> tuple[float, float]:
        anchors = self._anchors[index]
        if anchors and self.random.random() < 0.6:
            pixels = anchors[self.random.integers(len(anchors))]
            y, x = pixels[self.random.integers(len(pixels))]
            shift = self.random.uniform(-0.6, 0.6, 2) * half
            x, y = float(x) + shift[0], float(y) + shift[1]
        else:
            x, y = self.random.uniform(0, width), self.random.uniform(0, height)
        return _inside(x, half, width), _inside(y, half, height)


def _inside(value: float, half: float, length: int) -> float:
    if 2 * half >= length:
        return length / 2
    return min(max(value, half), length - half)


def _sample(image: torch.Tensor, xy: torch.Tensor, mode: str) -> torch.Tensor:
    """Sample (C, H, W) at pixel positions (S, S, 2); zero labels and mirrored pixels outside."""
    height, width = image.shape[1:]
    margin = 2
    left = int(xy[..., 0].min().floor()) - margin
    right = int(xy[..., 0].max().ceil()) + margin
    top = int(xy[..., 1].min().floor()) - margin
    bottom = int(xy[..., 1].max().ceil()) + margin
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, width), min(bottom, height)
    window = image[:, top:bottom, left:right].float()
    size = torch.tensor([right - left, bottom - top], dtype=torch.float32)
    grid = (xy - torch.tensor([left, top], dtype=torch.float32)) / size * 2 - 1
    padding = "reflection" if mode == "bilinear" else "zeros"
    return functional.grid_sample(
        window[None], grid[None], mode=mode, padding_mode=padding, align_corners=False
    )[0]


def _pyramid(pixels: torch.Tensor) -> list[torch.Tensor]:
    levels = [pixels]
    for _ in range(3):
        if min(levels[-1].shape[1:]) < 64:
            break
        levels.append(functional.avg_pool2d(levels[-1].float(), 2).round().to(torch.uint8))
    return levels


def _rare_pixels(image: LabelledImage, random: np.random.Generator) -> list[np.ndarray]:
    """Return up to 2000 positions of each land cover that an image labels with certainty."""
    anchors = []
    labels = image.labels.numpy()
    for name in ("building", "road", "water", "car", "tree", "field", "vegetation"):
        if name == "road":
            mask = BIT["road"] | BIT["car"]
        elif name == "vegetation":
            mask = BIT["tree"] | BIT["grass"] | BIT["field"]
        else:
            mask = BIT[name]
        positions = np.argwhere(labels == mask)
        if len(positions) > 50:
            anchors.append(positions[random.integers(len(positions), size=2000)])
    return anchors


def vary_colour(pixels: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Change brightness, contrast, colour, haze, sharpness, noise and compression at random.

    Args:
        pixels: (3, H, W) float32 in 0..1.
        random: Source of the choices.
    """
    result = pixels
    if random.random() < 0.85:
        gain = torch.from_numpy(np.exp(random.normal(0, 0.10, 3))).float()[:, None, None]
        result = result * gain * math.exp(random.normal(0, 0.22))
    if random.random() < 0.7:
        result = result.clamp(1e-4, 1) ** math.exp(random.normal(0, 0.25))
    if random.random() < 0.6:
        mean = result.mean()
        result = (result - mean) * math.exp(random.normal(0, 0.2)) + mean
    if random.random() < 0.6:
        grey = result.mean(0, keepdim=True)
        result = grey + (result - grey) * random.uniform(0.3, 1.6)
    if random.random() < 0.05:
        result = result.mean(0, keepdim=True).expand(3, -1, -1)
    if random.random() < 0.2:
        amount = random.uniform(0.05, 0.4)
        result = result * (1 - amount) + amount * random.uniform(0.5, 0.9)
    if random.random() < 0.25:
        result = _blurred(result, random.uniform(0.4, 1.3))
    if random.random() < 0.25:
        noise = random.normal(0, 1, tuple(result.shape)).astype(np.float32)
        result = result + torch.from_numpy(noise) * random.uniform(0.005, 0.04)
    result = result.clamp(0, 1)
    if random.random() < 0.15:
        result = _compressed(result, int(random.integers(35, 90)))
    return result


def _compressed(pixels: torch.Tensor, quality: int) -> torch.Tensor:
    bytes_of_pixels = (pixels * 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    with io.BytesIO() as stream:
        Image.fromarray(bytes_of_pixels).save(stream, "jpeg", quality=quality)
        decoded = np.asarray(Image.open(stream))
    return torch.from_numpy(decoded.copy()).permute(2, 0, 1).float() / 255


def _blurred(pixels: torch.Tensor, sigma: float) -> torch.Tensor:
    offsets = torch.arange(-3, 4).float()
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 7, 1)
    padded = functional.pad(pixels[:, None], (3, 3, 3, 3), mode="reflect")
    return functional.conv2d(functional.conv2d(padded, kernel), kernel.transpose(2, 3))[:, 0]
