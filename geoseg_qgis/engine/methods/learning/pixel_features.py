"""Colour, edges and texture of pixels at several scales, as in ilastik and scikit-image.

After ``skimage.feature.multiscale_basic_features``: Gaussian-smoothed colours, the length of the
gradient and the eigenvalues of the Hessian; beside them the local contrast and the shares of red
and green, which do not change with the light.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_FEATURES_A_SCALE = 9


def pixel_feature_count(sigmas: Sequence[float]) -> int:
    """Return the number of features of each pixel."""
    return 3 + _FEATURES_A_SCALE * len(sigmas)


def pixel_features(images: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Return the features of every pixel.

    Args:
        images: (B, 3, H, W) float, 0..1.
        sigmas: Standard deviations of the Gaussians, in pixels.

    Returns:
        (B, F, H, W) float32, see `pixel_feature_count`.
    """
    found = [images]
    for sigma in sigmas:
        smooth = gaussian(images, sigma)
        grey = smooth.mean(dim=1, keepdim=True)
        down, across = _derivatives(grey)
        found += [smooth, _shares(smooth), (down.square() + across.square()).sqrt() * sigma]
        found += [_hessian_eigenvalues(down, across) * sigma**2, _contrast(images, grey, sigma)]
    return torch.cat(found, dim=1)


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """Return images (B, C, H, W) smoothed by a Gaussian of three standard deviations, mirrored."""
    height, width = images.shape[-2:]
    channels = images.shape[1]
    # A mirror image has no more pixels than the image.
    radius = min(math.ceil(3 * sigma), height - 1, width - 1)
    if radius < 1:
        return images
    places = torch.arange(-radius, radius + 1, dtype=torch.float32, device=images.device)
    weights = torch.exp(-0.5 * (places / sigma) ** 2)
    weights = (weights / weights.sum()).to(images.dtype)
    padded = functional.pad(images, (radius, radius, radius, radius), mode="reflect")
    kernel = weights.expand(channels, 1, -1)
    down = functional.conv2d(padded, kernel[..., None], groups=channels)
    return functional.conv2d(down, kernel[:, :, None], groups=channels)


def _derivatives(grey: Tensor) -> tuple[Tensor, Tensor]:
    padded = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    return down, across


def _hessian_eigenvalues(down: Tensor, across: Tensor) -> Tensor:
    """Return the two eigenvalues, (B, 2, H, W), the larger first."""
    yy, xy = _derivatives(down)
    _, xx = _derivatives(across)
    middle = (yy + xx) / 2
    half = (((yy - xx) / 2).square() + xy.square()).sqrt()
    return torch.cat([middle + half, middle - half], dim=1)


def _shares(colours: Tensor) -> Tensor:
    """Return the shares of red and green in each colour, (B, 2, H, W)."""
    total = colours.sum(dim=1, keepdim=True).clamp(min=1e-3)
    return colours[:, :2] / total


def _contrast(images: Tensor, mean: Tensor, sigma: float) -> Tensor:
    """Return the standard deviation of the grey values around each pixel, (B, 1, H, W)."""
    grey = images.mean(dim=1, keepdim=True)
    return (gaussian(grey.square(), sigma) - mean.square()).clamp(min=0).sqrt()
