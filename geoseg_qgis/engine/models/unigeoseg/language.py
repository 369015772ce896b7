"""The language model with the vision tower and the connector beside it.

The three live under one prefix in published checkpoints, so they do here. ``transformers`` supplies
the Phi layers; a checkpoint may hold their attention fused or split, see ``checkpoint``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PhiConfig, PhiModel
from transformers.models.phi.modeling_phi import PhiRotaryEmbedding

from .configuration import LanguageConfig, UniGeoSegConfig
from .connector import build_connector
from .swin import SwinTower

TOWER_STRIDE = 32

LayerMemory = list[tuple[Tensor, Tensor]]
"""Keys and values (1, heads, T, D) of every layer, for a beginning that many sequences share."""


class VisionLanguageModel(PhiModel):
    """Phi plus ``vision_tower`` and ``mm_projector``."""

    def __init__(self, config: UniGeoSegConfig) -> None:
        super().__init__(phi_config(config.language))
        self.vision_tower = SwinTower(config.vision)
        self.mm_projector = build_connector(
            config.connector,
            config.vision.widths[-1],
            config.language.hidden_size,
            config.vision.image_size // TOWER_STRIDE,
        )

    def hidden_states(self, embeddings: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Run the layers on a right-padded batch.

        Args:
            embeddings: (B, T, H).
            attention_mask: (B, T) bool, True on words; None when nothing is padded.

        Returns:
            (B, T, H) after the final normalisation.
        """
        output = self(
            inputs_embeds=embeddings.to(self.embed_tokens.weight.dtype),
            attention_mask=attention_mask,
            use_cache=False,
        )
        states: Tensor = output.last_hidden_state
        return states

    def remember(self, embeddings: Tensor, memory: LayerMemory | None = None) -> LayerMemory:
        """Run a shared beginning (1, T, H) once, after an earlier one if given."""
        cache = _filled_cache(memory or [], 1)
        self(
            inputs_embeds=embeddings.to(self.embed_tokens.weight.dtype),
            past_key_values=cache,
            use_cache=True,
        )
        layers: list[Any] = list(cache.layers)
        return [(layer.keys, layer.values) for layer in layers]

    def continue_from(self, memory: LayerMemory, embeddings: Tensor, words: Tensor) -> Tensor:
        """Run the rest of a right-padded batch after a remembered beginning.

        Args:
            memory: Output of ``remember``.
            embeddings: (B, T, H), the words after the beginning.
            words: (B, T) bool, True on words, False on padding.

        Returns:
            (B, T, H) after the final normalisation, as if the whole had been run.
        """
        batch = embeddings.shape[0]
        beginning = words.new_ones(batch, memory[0][0].shape[-2])
        output = self(
            inputs_embeds=embeddings.to(self.embed_tokens.weight.dtype),
            attention_mask=torch.cat([beginning, words], dim=1),
            past_key_values=_filled_cache(memory, batch),
            use_cache=True,
        )
        states: Tensor = output.last_hidden_state
        return states

    def rebuild_rotary_tables(self, device: torch.device) -> None:
        """Compute the rotary frequencies, which no checkpoint holds, on ``device``."""
        with torch.device(device):
            self.rotary_emb = PhiRotaryEmbedding(config=self.config)


def phi_config(config: LanguageConfig) -> PhiConfig:
    """Translate the sizes; attention runs through PyTorch's fused kernel."""
    phi = PhiConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        layer_norm_eps=config.layer_norm_eps,
        max_position_embeddings=config.max_position_embeddings,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": config.rope_theta,
            "partial_rotary_factor": config.partial_rotary_factor,
        },
        use_cache=False,
    )
    phi._attn_implementation = "sdpa"
    return phi


def language_head(config: LanguageConfig) -> nn.Linear:
    """Build the word classifier, which has no bias."""
    return nn.Linear(config.hidden_size, config.vocab_size, bias=False)


def _filled_cache(memory: LayerMemory, batch: int) -> DynamicCache:
    """Start a cache from a memory, which is not changed, for ``batch`` sequences."""
    cache = DynamicCache()
    for index, (keys, values) in enumerate(memory):
        cache.update(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1), index)
    return cache
