"""The dense heads of CLIP that the open-vocabulary methods use, in differentiable batch form.

The value head of GUMix-RS (paper sections on value reconstruction and region tokens): the last
block only projects values, which a similarity matrix mixes; a spatial branch averages middle
blocks; a semantic branch runs one extra class token for each region through all blocks. The fast
head replaces the last attention by q-q, k-k and v-v attention. Training through these heads, rather
than through the pooled token alone, makes patch features agree with text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.methods.open_vocabulary.fast import FastSettings, self_attention
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.models.clip_tokens import finish_block, project_heads, project_values

SETTINGS = GumixSettings.geo()
FAST = FastSettings()


@dataclass(frozen=True)
class Tokens:
    """Tokens before the heads.

    Attributes:
        main: (B, 1 + N, D) before the last block, class token first.
        spatial: (B, 1 + N, D) mean of middle blocks.
        image: (B, D) class token after the last block.
        regions: (B, R, D) region tokens after the last block.
    """

    main: Tensor
    spatial: Tensor
    image: Tensor
    regions: Tensor


def region_mask(regions: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Return the additive attention mask of [region tokens, class token] on [class token, patches].

    Args:
        regions: (B, N) region of each patch, 0..count-1.
        count: Number of regions.
        dtype: Dtype of the attention.

    Returns:
        (B, 1, count + 1, 1 + N), 0 where attention is allowed and minus infinity elsewhere.
    """
    outside = regions[:, None] != torch.arange(count, device=regions.device)[None, :, None]
    outside = functional.pad(outside, (1, 0), value=False)
    outside = functional.pad(outside, (0, 0, 0, 1), value=False)
    mask = torch.zeros(outside.shape, dtype=dtype, device=regions.device)
    return mask.masked_fill_(outside, float("-inf"))[:, None]


def encode_tokens(visual: Any, pixels: Tensor, regions: Tensor, count: int) -> Tokens:
    """Run an open_clip vision transformer with region tokens.

    Args:
        visual: `open_clip` vision transformer.
        pixels: (B, 3, S, S) normalised image of the tower's own size.
        regions: (B, N) region of each patch.
        count: Number of regions.
    """
    blocks = visual.transformer.resblocks
    kept = SETTINGS.spatial_blocks(len(blocks))
    tokens = visual._embeds(pixels)
    extra = tokens[:, :1].expand(-1, count, -1)
    middle = []
    attend = functional.scaled_dot_product_attention
    for index, block in enumerate(blocks[:-1]):
        queries, keys, values = project_heads(block, torch.cat([extra, tokens], dim=1))
        keys, values = keys[:, :, count:], values[:, :, count:]
        mask = region_mask(regions, count, queries.dtype)[:, :, :count]
        attended = [
            attend(queries[:, :, :count], keys, values, attn_mask=mask),
            attend(queries[:, :, count:], keys, values),
        ]
        joint = finish_block(block, torch.cat([extra, tokens], dim=1), torch.cat(attended, dim=2))
        extra, tokens = joint[:, :count], joint[:, count:]
        if index in kept:
            middle.append(tokens)
    ends = torch.cat([extra, tokens[:, :1]], dim=1)
    queries = project_heads(blocks[-1], ends)[0]
    _, keys, values = project_heads(blocks[-1], tokens)
    mask = region_mask(regions, count, queries.dtype)
    ends = finish_block(blocks[-1], ends, attend(queries, keys, values, attn_mask=mask))
    return Tokens(tokens, torch.stack(middle).mean(0), ends[:, count], ends[:, :count])


def plain_embeddings(visual: Any, encoded: Tokens) -> Tensor:
    """Return (B, N, E) unit embeddings of the value head, without mixing."""
    block = visual.transformer.resblocks[-1]
    values = _values(block, encoded.main), _values(block, encoded.spatial)
    return _project(visual, _branches(visual, *values))


def mixed_embeddings(visual: Any, encoded: Tokens, regions: Tensor, affinity: Tensor) -> Tensor:
    """Return (B, N, E) unit embeddings of the value head mixed inside regions, all branches.

    Args:
        visual: The vision transformer.
        encoded: Its tokens.
        regions: (B, N) region of each patch.
        affinity: (B, N, N) row-stochastic mixing matrix.
    """
    block = visual.transformer.resblocks[-1]
    main = affinity @ _values(block, encoded.main)
    spatial = affinity @ _values(block, encoded.spatial)
    index = regions[..., None].expand(-1, -1, encoded.regions.shape[-1])
    semantic = visual.ln_post(encoded.regions.gather(1, index))
    return _project(visual, _branches(visual, main, spatial) + SETTINGS.semantic_weight * semantic)


def fast_cosines(visual: Any, encoded: Tokens, texts: Tensor) -> Tensor:
    """Return (B, N, Q) cosines of the fast method, with the class token's share taken off.

    Args:
        visual: The vision transformer.
        encoded: Its tokens.
        texts: (Q, E) unit rows.
    """
    attended = self_attention(visual.transformer.resblocks[-1], encoded.main)
    cosines = _project(visual, visual.ln_post(attended)) @ texts.T
    return cosines[:, 1:] - FAST.class_token_weight * cosines[:, :1]


def image_embedding(visual: Any, encoded: Tokens) -> Tensor:
    """Return (B, E) unit embeddings of whole images."""
    return _project(visual, visual.ln_post(encoded.image))


def _values(block: Any, tokens: Tensor) -> Tensor:
    return project_values(block, tokens)[:, 1:]


def _branches(visual: Any, main: Tensor, spatial: Tensor) -> Tensor:
    out_proj = visual.transformer.resblocks[-1].attn.out_proj
    result: Tensor = visual.ln_post(out_proj(main)) + SETTINGS.spatial_weight * visual.ln_post(
        out_proj(spatial)
    )
    return result


def _project(visual: Any, tokens: Tensor) -> Tensor:
    return functional.normalize((tokens @ visual.proj).float(), dim=-1)


def text_embeddings(model: Any, tokenizer: Any, sentences: list[list[str]]) -> Tensor:
    """Return (Q, E) unit means over the sentences of each query."""
    count = len(sentences[0])
    ids = tokenizer([sentence for group in sentences for sentence in group])
    ids = ids.to(model.token_embedding.weight.device)
    encoded = functional.normalize(model.encode_text(ids).float(), dim=-1)
    return functional.normalize(encoded.view(len(sentences), count, -1).mean(1), dim=-1)
