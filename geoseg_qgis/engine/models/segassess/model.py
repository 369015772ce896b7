"""SegAssess: a quality map of any binary mask, without ground truth (arXiv 2509.01183)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear

from .configuration import SegAssessConfiguration
from .decoder import MaskDecoder
from .edge import EdgeGuidance
from .encoder import Encoded, ImageEncoder
from .prompt import PromptEncoder


class SegAssessOutput(NamedTuple):
    """Predictions for a mask; channels are TP, FP, TN, FN.

    Attributes:
        logits: Refined logits (B, 4, H, W): the map to use.
        edge_logits: Logits of the true objects' edges (B, 1, H, W).
        coarse_logits: Logits before the edge refinement (B, 4, H, W).
        mask_logits: The mask tokens' share of the coarse logits (B, 4, H, W).
        quality_logits: The high-quality tokens' share of the coarse logits (B, 4, H, W).
    """

    logits: Tensor
    edge_logits: Tensor
    coarse_logits: Tensor
    mask_logits: Tensor
    quality_logits: Tensor


class SegAssess(nn.Module):
    """Panoramic quality mapping of a mask on an image."""

    def __init__(self, configuration: SegAssessConfiguration | None = None) -> None:
        super().__init__()
        self.configuration = configuration or SegAssessConfiguration()
        self.image_encoder = ImageEncoder(self.configuration)
        self.prompt_encoder = PromptEncoder(self.configuration)
        self.mask_decoder = MaskDecoder(self.configuration)
        self.TCCA = EdgeGuidance(self.configuration)

    def forward(self, images: Tensor, masks: Tensor) -> SegAssessOutput:
        """Assess masks.

        Args:
            images: (B, 3, H, W), RGB, float 0..1, at the pixel size of the training images.
            masks: (B, 1, H, W), 0 or 1, same floating type.

        Returns:
            Logits of the four classes and of the edges.

        Raises:
            ValueError: The shapes do not belong together or are smaller than a patch.
        """
        self._check(images, masks)
        encoded = self.image_encoder(images)
        return self.assess(encoded, self.mask_decoder.details(encoded), masks)

    def assess(
        self,
        encoded: Encoded,
        details: Tensor,
        masks: Tensor,
        size: tuple[int, int] | None = None,
    ) -> SegAssessOutput:
        """Assess masks of encoded images.

        Args:
            encoded: From the image encoder.
            details: From the mask decoder, see `MaskDecoder.details`.
            masks: (B, 1, H, W), 0 or 1, as large as the images.
            size: Rows and columns of the output; those of the masks when absent.
        """
        size = size or (masks.shape[-2], masks.shape[-1])
        embedding = encoded.embedding
        positions = self.prompt_encoder.pe_layer(embedding.shape[-2], embedding.shape[-1])
        decoded = self.mask_decoder(embedding, details, self.prompt_encoder(masks), positions)
        coarse = resize_bilinear(decoded.coarse, size)
        logits, edge = self.TCCA(encoded.features, coarse)
        return SegAssessOutput(
            logits,
            edge,
            coarse,
            resize_bilinear(decoded.mask, size),
            resize_bilinear(decoded.high_quality, size),
        )

    def _check(self, images: Tensor, masks: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be (B, 3, H, W), not {tuple(images.shape)}")
        expected = (images.shape[0], 1, *images.shape[2:])
        if tuple(masks.shape) != expected:
            raise ValueError(f"masks must be {expected} for these images, not {tuple(masks.shape)}")
        if min(images.shape[2:]) < self.configuration.patch:
            raise ValueError(f"images must be at least {self.configuration.patch} pixels wide")
