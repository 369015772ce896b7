"""The UniGeoSeg network: an image and a request in, one mask out.

"UniGeoSeg: Towards Unified Open-World Segmentation for Geospatial Scenes". Referring, reasoning and
interactive requests take the same path; parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .configuration import UniGeoSegConfig
from .description import Perceiver, recall_memory
from .language import VisionLanguageModel, language_head
from .mask_decoder import MaskDecoder
from .pixel_decoder import PixelDecoder, PixelFeatures
from .sequence import Piece, Request, SequenceBatch, TokenSequence, assemble, pad_sequences
from .task_enhancement import ReasoningPooling, ReferringAttention, place_coordinates
from .tasks import Task

_COORDINATES = 4


class ImageFeatures(NamedTuple):
    """What the network computes of B images, the same for all requests."""

    coarse: Tensor
    """(B, C, H/32, W/32), the tower's last map."""
    tokens: Tensor
    """(B, N, H), the images as tokens of the language model."""
    pixels: PixelFeatures

    def expand(self, count: int) -> ImageFeatures:
        """Share one image among ``count`` requests without copying it."""
        return ImageFeatures(
            self.coarse.expand(count, -1, -1, -1),
            self.tokens.expand(count, -1, -1),
            PixelFeatures(
                self.pixels.mask_features.expand(count, -1, -1, -1),
                [level.expand(count, -1, -1, -1) for level in self.pixels.multi_scale],
            ),
        )


class Prediction(NamedTuple):
    """The result of one pass over a batch of images and requests."""

    masks: list[Tensor]
    """Logits (B, 1, H/4, W/4) before and after each decoder layer; the last counts."""
    states: Tensor
    """(B, T, H), the language model's last hidden states."""
    query: Tensor
    """(B, 1, C), the query of the mask decoder."""
    sequences: SequenceBatch


class UniGeoSeg(nn.Module):
    """The network.

    Args:
        config: Its sizes.
        with_language_head: Build the token classifier, which only training needs.
    """

    def __init__(self, config: UniGeoSegConfig, with_language_head: bool = True) -> None:
        super().__init__()
        self.config = config
        hidden = config.language.hidden_size
        head = config.segmentation
        self.model = VisionLanguageModel(config)
        self.lm_head = language_head(config.language) if with_language_head else None
        self.pixel_decoder = PixelDecoder(head, config.vision.widths)
        self.predictor = MaskDecoder(head)
        self.ref_attn = ReferringAttention(hidden)
        self.enhanced_reasoning_pooling = ReasoningPooling(hidden)
        numbers = _COORDINATES * (1 + 2 * head.coordinate_frequencies)
        self.intera_coord_project = nn.Linear(numbers, hidden)
        self.intera_fuse = nn.Linear(2 * hidden, hidden)
        self.global_latents = nn.Parameter(torch.randn(head.memory_slots, hidden) * 0.01)
        self.text_projector = nn.Linear(hidden, head.head_width)
        self.origin_SEG_token_projector = nn.Linear(hidden, head.head_width)
        self.local_project = nn.Linear(config.vision.widths[-1], head.head_width)
        self.d_layers = Perceiver(head)
        self.SEG_token_projector = nn.Linear(2 * head.head_width, head.width)

    def cast_backbone(self, dtype: torch.dtype) -> UniGeoSeg:
        """Change the precision of the tower, the connector and the language model.

        The head and the decoders, 4 % of the weights, keep theirs: rounding would move their
        thresholds and sampling positions.
        """
        nn.Module.to(self.model, dtype)
        if self.lm_head is not None:
            self.lm_head.to(dtype)
        return self

    def encode_image(self, pixels: Tensor) -> ImageFeatures:
        """Encode normalised images (B, 3, S, S), S being the configured side."""
        tower = self.model.vision_tower
        maps = tower(pixels.to(tower.patch_embed.proj.weight.dtype))
        tokens = self.model.mm_projector(maps[-1])
        head_dtype = self.local_project.weight.dtype
        maps = [level.to(head_dtype) for level in maps]
        return ImageFeatures(maps[-1], tokens, self.pixel_decoder(maps))

    def embed_ids(self, ids: Sequence[int]) -> Tensor:
        """Embed T token ids: (T, H)."""
        table = self.model.embed_tokens
        embedded: Tensor = table(torch.tensor(ids, dtype=torch.long, device=table.weight.device))
        return embedded

    def enhance(self, tokens: Tensor, request: Request) -> Tensor:
        """Enhance the sentence after the image, (L, H), for the request's task (TATE)."""
        if request.task is Task.REFERRING:
            weighted: Tensor = self.ref_attn(tokens)
            return weighted
        if request.task is Task.REASONING:
            summary: Tensor = self.enhanced_reasoning_pooling(tokens)
            return summary
        placed = place_coordinates(
            request.coordinates,
            self.intera_coord_project,
            len(tokens),
            self.config.segmentation.coordinate_frequencies,
        )
        fused: Tensor = self.intera_fuse(torch.cat([tokens.to(placed.dtype), placed], dim=-1))
        return fused

    def assemble(
        self, pieces: Sequence[Piece], image_tokens: Tensor, request: Request
    ) -> TokenSequence:
        """Assemble the sequence of one image (N, H) and one request."""
        return assemble(pieces, image_tokens, request, self.embed_ids, self.enhance)

    def pool_instruction(
        self, states: Tensor, instruction: Tensor, strengths: Sequence[float]
    ) -> Tensor:
        """Pool the hidden states of the instruction and mix in the memory.

        Args:
            states: (B, T, H).
            instruction: (B, T) bool; a sequence without any gives zeros.
            strengths: Share of the memory for each sequence.

        Returns:
            (B, H) in the head's precision.
        """
        dtype = self.local_project.weight.dtype
        rows = [sequence[mask] for sequence, mask in zip(states, instruction, strict=True)]
        pooled = torch.stack(
            [
                self.ref_attn.pool(row) if len(row) else row.new_zeros(row.shape[-1]).float()
                for row in rows
            ]
        )
        shares = [
            strength if len(row) else 0.0 for strength, row in zip(strengths, rows, strict=True)
        ]
        strength = pooled.new_tensor(shares)[:, None]
        return recall_memory(pooled, self.global_latents, strength).to(dtype)

    def describe(self, pooled: Tensor, coarse: Tensor) -> Tensor:
        """Return queries (B, 1, C) from pooled instructions (B, H) and coarse maps (B, C, h, w)."""
        pooled = pooled[:, None]
        media = self.local_project(coarse.flatten(2).transpose(1, 2))
        described = self.d_layers(media, self.text_projector(pooled))
        origin = self.origin_SEG_token_projector(pooled)
        query: Tensor = self.SEG_token_projector(torch.cat([origin, described], dim=-1))
        return query

    def segment(
        self,
        features: ImageFeatures,
        states: Tensor,
        instruction: Tensor,
        strengths: Sequence[float],
    ) -> tuple[list[Tensor], Tensor]:
        """Decode masks from hidden states; return all predictions and the query (B, 1, C)."""
        pooled = self.pool_instruction(states, instruction, strengths)
        query = self.describe(pooled, features.coarse)
        return self.predictor(features.pixels, query), query

    def forward(
        self,
        pixels: Tensor,
        pieces: Sequence[Piece],
        requests: Sequence[Request],
        strengths: Sequence[float] | None = None,
    ) -> Prediction:
        """Predict one mask for each pair of image and request.

        Args:
            pixels: (B, 3, S, S), normalised.
            pieces: The split dialogue.
            requests: B requests.
            strengths: Share of the memory for each; by default that of the request's task.
        """
        features = self.encode_image(pixels)
        batch = pad_sequences(
            [
                self.assemble(pieces, tokens, request)
                for tokens, request in zip(features.tokens, requests, strict=True)
            ]
        )
        states = self.model.hidden_states(batch.embeddings, batch.mask)
        if strengths is None:
            strengths = [request.task.memory_strength for request in requests]
        masks, query = self.segment(features, states, batch.instruction, strengths)
        return Prediction(masks, states, query, batch)
