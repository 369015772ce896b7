"""Mask decoder with nine learned tokens: one score, four mask and four high-quality tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear

from .configuration import PromptResampling, SegAssessConfiguration
from .encoder import Encoded
from .layers import ChannelNorm, TokenHead, upscale_by_four
from .stem import FINE_WIDTH
from .transformer import TwoWayTransformer

CLASSES = 4


class DecoderOutput(NamedTuple):
    """Logits (B, 4, 4n, 4n) on the grid of a quarter of the patch size."""

    mask: Tensor
    high_quality: Tensor

    @property
    def coarse(self) -> Tensor:
        """The sum of both maps."""
        return self.mask + self.high_quality


def prompt_on_grid(dense: Tensor, size: tuple[int, int], resampling: PromptResampling) -> Tensor:
    """Bring a mask embedding (B, D, H / 4, W / 4) to the patch grid (B, D, *size)."""
    if resampling == "average":
        return functional.adaptive_avg_pool2d(dense, size)
    return resize_bilinear(dense, size)


class MaskDecoder(nn.Module):
    """Four-class logits from the image embedding, early features and the mask embedding.

    The score head is unused, but checkpoints hold it, and its token is attended to.
    """

    def __init__(self, configuration: SegAssessConfiguration) -> None:
        super().__init__()
        width = configuration.decoder_width
        hidden, out = width // 4, width // 8
        self.prompt_resampling = configuration.prompt_resampling
        self.transformer = TwoWayTransformer(configuration)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(CLASSES, width)
        self.output_upscaling = nn.Sequential(
            *upscale_by_four(width, hidden, out),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            TokenHead(width, width, out) for _ in range(CLASSES)
        )
        self.iou_prediction_head = TokenHead(width, configuration.score_hidden, CLASSES)
        self.hf_token = nn.Embedding(CLASSES, width)
        self.hf_mlps = nn.ModuleList(TokenHead(width, width, out) for _ in range(CLASSES))
        self.compress_vit_feat = upscale_by_four(configuration.encoder_width, width, out)
        self.embedding_encoder = upscale_by_four(width, hidden, out)
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(out, hidden, 3, padding=1),
            ChannelNorm(hidden),
            nn.GELU(),
            nn.Conv2d(hidden, out, 3, padding=1),
        )
        self.fine = configuration.stem == "convolutions"
        if self.fine:
            self.compress_fine = nn.Conv2d(FINE_WIDTH, out, 1)
            self.compress_mask = nn.Conv2d(width, out, 1)

    def details(self, encoded: Encoded) -> Tensor:
        """Return features of the images at four times the patch grid, (B, D / 8, 4n, 4n)."""
        details: Tensor = self.embedding_encoder(encoded.embedding)
        details = details + self.compress_vit_feat(encoded.features[0].permute(0, 3, 1, 2))
        if self.fine and encoded.fine is not None:
            details = details + resize_bilinear(
                self.compress_fine(encoded.fine), details.shape[-2:]
            )
        return details

    def forward(
        self, embedding: Tensor, details: Tensor, dense: Tensor, positions: Tensor
    ) -> DecoderOutput:
        """Decode.

        Args:
            embedding: Image embedding (B, D, n, n).
            details: From the method of that name, (B, D / 8, 4n, 4n).
            dense: Mask embedding (B, D, S / 4, S / 4).
            positions: Positional map (1, D, n, n).

        Returns:
            Logits of the mask tokens and of the high-quality tokens, each (B, 4, 4n, 4n).
        """
        batch, _, height, width = embedding.shape
        if self.fine:
            details = details + resize_bilinear(self.compress_mask(dense), details.shape[-2:])
        source = embedding + prompt_on_grid(dense, (height, width), self.prompt_resampling)
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight, self.hf_token.weight])
        tokens, keys = self.transformer(source, positions, tokens.expand(batch, -1, -1))
        image = keys.transpose(1, 2).unflatten(2, (height, width))
        upscaled = self.output_upscaling(image)
        refined = self.embedding_maskfeature(upscaled + details)
        mask_tokens, quality_tokens = tokens[:, 1 : 1 + CLASSES], tokens[:, 1 + CLASSES :]
        return DecoderOutput(
            filter_maps(self.output_hypernetworks_mlps, mask_tokens, upscaled),
            filter_maps(self.hf_mlps, quality_tokens, refined),
        )


def filter_maps(heads: nn.ModuleList, tokens: Tensor, features: Tensor) -> Tensor:
    """Weigh features (B, C, H, W) by the filters that the heads make of tokens (B, T, D)."""
    filters = torch.stack([head(tokens[:, index]) for index, head in enumerate(heads)], dim=1)
    return torch.einsum("btc,bchw->bthw", filters, features)
