"""The published pipeline on one whole image, with every resize in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg_qgis.engine.methods.open_vocabulary.gumix.complexity import complexity_map
from geoseg_qgis.engine.methods.open_vocabulary.gumix.routing import (
    RoutingStatistics,
    class_entropy,
    route,
)
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.methods.open_vocabulary.gumix.window import window_logits
from geoseg_qgis.engine.methods.open_vocabulary.queries import ClassQueries
from geoseg_qgis.engine.raster.resampling.tensors import (
    resize_bilinear,
    resize_nearest,
)
from tests.reference.gumix_postprocess import Labelling, label_image, resize_labelling
from tests.reference.gumix_sliding import WindowNetwork, slide

if TYPE_CHECKING:
    from open_clip import CLIP
    from timm.models.eva import Eva


@dataclass(frozen=True)
class ImageResult:
    """Result of one image.

    Attributes:
        labelling: Labels and probabilities at the size of the image.
        choice: (h, w) int64 index of the chosen scale at the network's size, None for one scale.
    """

    labelling: Labelling
    choice: Tensor | None


@dataclass(frozen=True)
class ImageNetwork:
    """The forward pass bound to its networks and texts, as `slide` wants it.

    Attributes:
        clip: An open_clip CLIP with a vision transformer.
        dino: A timm DINOv3 network.
        text: (Q, E) unit rows.
        settings: The method's settings.
    """

    clip: CLIP
    dino: Eva
    text: Tensor
    settings: GumixSettings

    def __call__(self, images: Tensor, regions: Tensor, valid: Tensor | None = None) -> Tensor:
        """Cosines (B, Q, H, W) of windows (B, 3, H, W) with regions (B, H, W)."""
        return window_logits(
            self.clip,
            self.dino,
            images,
            regions,
            self.text,
            settings=self.settings,
            valid=valid,
        )


def fitted_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Size of an image fitted into a square with its aspect kept.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        side: Side of the square, pixels.

    Returns:
        Rows and columns, each rounded half up.
    """
    factor = side / max(height, width)
    return int(height * factor + 0.5), int(width * factor + 0.5)


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an 8-bit image as OpenCV's linear mode does, within one grey level.

    Args:
        image: (3, H, W) uint8.
        size: New rows and columns.

    Returns:
        (3, *size) uint8.
    """
    resized = resize_bilinear(image[None].to(torch.float32), size)[0]
    return resized.round().clamp(0, 255).to(torch.uint8)


def preprocess_image(
    image: NDArray[np.uint8], settings: GumixSettings, device: torch.device | str = "cpu"
) -> Tensor:
    """Fit an image into the network's square and normalise it for CLIP.

    Args:
        image: (H, W, 3) RGB.
        settings: Side, mean and standard deviation.
        device: Where the result lies.

    Returns:
        (3, h, w) float32.
    """
    size = fitted_size(image.shape[0], image.shape[1], settings.network_size)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    resized = resize_image(pixels, size).to(device=device, dtype=torch.float32)
    mean = torch.tensor(settings.pixel_mean, device=device)[:, None, None]
    std = torch.tensor(settings.pixel_std, device=device)[:, None, None]
    return (resized - mean) / std


def queries_from_lines(text: str) -> ClassQueries:
    """The published class files: one class a line, synonyms separated by semicolon and space.

    Commas are part of a query and nothing is stripped but the line end.

    Args:
        text: Content of the file.

    Returns:
        The queries.
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return ClassQueries.from_synonyms([line.split("; ") for line in lines])


def measure_statistics(
    complexity: Tensor, entropies: Tensor, valid: Tensor | None = None
) -> RoutingStatistics:
    """Exact statistics of one image.

    Args:
        complexity: (H, W) geometric complexity.
        entropies: (S, H, W) entropy of each scale.
        valid: (H, W) bool; only these pixels count.

    Returns:
        The statistics; all zero when no pixel is valid.
    """
    values = complexity.flatten() if valid is None else complexity[valid]
    if values.numel() == 0:
        return RoutingStatistics((0.0, 0.0), 0.0, tuple((0.0, 0.0) for _ in entropies))
    flat = entropies.flatten(1) if valid is None else entropies[:, valid]
    return RoutingStatistics(
        (float(values.min()), float(values.max())),
        float(values.median()),
        tuple((float(row.min()), float(row.max())) for row in flat),
    )


def logits_of_scale(
    network: WindowNetwork,
    image: Tensor,
    regions: Tensor,
    scale: float,
    *,
    source_size: tuple[int, int],
    settings: GumixSettings,
    batch_size: int = 1,
) -> Tensor:
    """Cosines of one scale, at the size of the source image.

    Args:
        network: Scores of a batch of windows.
        image: (3, h, w) CLIP-normalised at the network's size.
        regions: (h, w) integer ids.
        scale: Enlargement of both.
        source_size: Rows and columns of the source image.
        settings: Window plan.
        batch_size: Windows run together.

    Returns:
        (Q, *source_size) float32.
    """
    size = (int(image.shape[-2] * scale), int(image.shape[-1] * scale))
    scaled = resize_bilinear(image[None], size)[0]
    logits = slide(
        network,
        scaled,
        resize_nearest(regions, size),
        settings=settings,
        batch_size=batch_size,
    )
    return resize_bilinear(logits[None], source_size)[0]


def segment_image(
    clip: CLIP,
    dino: Eva,
    image: NDArray[np.uint8],
    regions: NDArray[np.integer],
    text: Tensor,
    *,
    class_index: Sequence[int],
    settings: GumixSettings,
    batch_size: int = 1,
) -> ImageResult:
    """Labels of one image by the published method.

    Args:
        clip: An open_clip CLIP.
        dino: A timm DINOv3 network on the same device.
        image: (H, W, 3) RGB.
        regions: (H, W) region ids at the size of the image.
        text: (Q, E) unit rows.
        class_index: Class of each query.
        settings: The method's settings.
        batch_size: Windows run together.

    Returns:
        Labels, probabilities and the chosen scale.

    Raises:
        ValueError: Image and regions differ in size, or an id reaches the padding id.
    """
    if image.shape[:2] != regions.shape:
        raise ValueError("The region map must have the size of the image.")
    if settings.padding_is_region and int(regions.max()) >= settings.padding_id:
        raise ValueError(
            f"Region ids must stay below {settings.padding_id}; use the settings for rasters."
        )
    return segment_with(
        ImageNetwork(clip, dino, text, settings),
        preprocess_image(image, settings, text.device),
        torch.from_numpy(regions.astype(np.int64)).to(text.device),
        class_index=class_index,
        settings=settings,
        batch_size=batch_size,
    )


def segment_with(
    network: WindowNetwork,
    image: Tensor,
    regions: Tensor,
    *,
    class_index: Sequence[int],
    settings: GumixSettings,
    batch_size: int = 1,
) -> ImageResult:
    """Slide, route and label with any window network.

    Args:
        network: Scores of a batch of windows.
        image: (3, h, w) CLIP-normalised at the network's size.
        regions: (H, W) region ids at the size of the source image.
        class_index: Class of each query.
        settings: The method's settings.
        batch_size: Windows run together.

    Returns:
        The result at the size of the source image.
    """
    source = (int(regions.shape[0]), int(regions.shape[1]))
    size = (int(image.shape[-2]), int(image.shape[-1]))
    small = resize_nearest(regions, size)
    logits = [
        logits_of_scale(
            network,
            image,
            small,
            scale,
            source_size=source,
            settings=settings,
            batch_size=batch_size,
        )
        for scale in settings.scales
    ]
    if len(logits) == 1:
        return ImageResult(label_image(logits[0], regions, class_index, settings), None)
    stacked = torch.stack([resize_bilinear(scores[None], size)[0] for scores in logits])
    complexity = complexity_map(small[None], settings)[0]
    statistics = measure_statistics(complexity, class_entropy(stacked, settings.entropy_epsilon))
    routing = route(stacked, complexity, settings, statistics)
    labelling = label_image(routing.logits, small, class_index, settings)
    return ImageResult(resize_labelling(labelling, source), routing.choice)
