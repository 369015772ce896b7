"""The language model with the vision tower and the connector beside it.

Published checkpoints keep the three under one name, and so does this module. ``transformers``
supplies the Phi layers; a checkpoint may hold their attention fused or split, see `checkpoint`.
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

PrefixCache = list[tuple[Tensor, Tensor]]
"""Keys and values (1, heads, T, D) of every layer, for a prefix that many sequences share."""


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
            attention_mask: (B, T) bool, False on padding; None when nothing is padded.

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

    def run_prefix(self, embeddings: Tensor, before: PrefixCache | None = None) -> PrefixCache:
        """Run a shared prefix (1, T, H) once, after an earlier one if given."""
        cache = _filled_cache(before or [], 1)
        self(
            inputs_embeds=embeddings.to(self.embed_tokens.weight.dtype),
            past_key_values=cache,
            use_cache=True,
        )
        layers: list[Any] = list(cache.layers)
        return [(layer.keys, layer.values) for layer in layers]

    def continue_from(self, prefix: PrefixCache, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Run the rest of a right-padded batch after a shared prefix.

        Args:
            prefix: Output of `run_prefix`.
            embeddings: (B, T, H), the tokens after the prefix.
            mask: (B, T) bool, False on padding.

        Returns:
            (B, T, H) after the final normalisation, as if the whole had been run.
        """
        batch = embeddings.shape[0]
        seen = mask.new_ones(batch, prefix[0][0].shape[-2])
        output = self(
            inputs_embeds=embeddings.to(self.embed_tokens.weight.dtype),
            attention_mask=torch.cat([seen, mask], dim=1),
            past_key_values=_filled_cache(prefix, batch),
            use_cache=True,
        )
        states: Tensor = output.last_hidden_state
        return states

    def rebuild_rotary_tables(self, device: torch.device) -> None:
        """Compute the rotary frequencies, which no checkpoint holds, on ``device``."""
        with torch.device(device):
            self.rotary_emb = PhiRotaryEmbedding(config=self.config)


def phi_config(config: LanguageConfig) -> PhiConfig:
    """Return the sizes as ``transformers`` names them; attention uses PyTorch's fused kernel."""
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
    """Build the token classifier, which has no bias."""
    return nn.Linear(config.hidden_size, config.vocab_size, bias=False)


def _filled_cache(prefix: PrefixCache, batch: int) -> DynamicCache:
    """Return a cache for ``batch`` sequences that starts with a prefix, which is not changed."""
    cache = DynamicCache()
    for index, (keys, values) in enumerate(prefix):
        cache.update(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1), index)
    return cache
