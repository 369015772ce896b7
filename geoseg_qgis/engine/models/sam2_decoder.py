"""The mask decoder of SAM 2 for many prompts on one image.

Without a mask prompt the image side of the decoder's first layer is the same for every prompt:
its keys and values, and the queries of the image's attention to the prompts. They are computed
once here and shared, and only the wanted mask tokens become masks. Results equal those of the
package's own ``MaskDecoder.predict_masks`` up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

MASK_TOKENS = 4


@dataclass(frozen=True)
class DecoderOutput:
    """Predictions for N prompts.

    Attributes:
        logits: Mask logits at a quarter of the input's size, shape (N, K, h, w).
        iou: Predicted intersection over union of each mask, shape (N, K).
        object_score: Logit of there being an object at the prompt, shape (N,).
    """

    logits: Tensor
    iou: Tensor
    object_score: Tensor


@dataclass(frozen=True)
class SharedImage:
    """The image side of the decoder's first layer, computed once for each image.

    Attributes:
        tokens: Image tokens with the "no mask" embedding, shape (1, h*w, C).
        position: Their position encoding, shape (1, h*w, C).
        keys: For the prompts' attention to the image, shape (1, heads, h*w, c).
        values: For the same attention, same shape.
        queries: For the image's attention to the prompts, same shape.
        size: (h, w) of the embedding.
        high_resolution: Features of stride 4 and 8, each (1, C', H', W').
    """

    tokens: Tensor
    position: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor
    size: tuple[int, int]
    high_resolution: tuple[Tensor, Tensor]


def share_image(
    decoder: Any,
    image: Tensor,
    position: Tensor,
    no_mask: Tensor,
    high_resolution: tuple[Tensor, Tensor],
) -> SharedImage:
    """Compute what all prompts on an image share.

    Args:
        decoder: The package's ``MaskDecoder``.
        image: Image embedding, shape (1, C, h, w).
        position: Dense position encoding, shape (1, C, h, w).
        no_mask: Dense embedding of "no mask prompt", shape (C,).
        high_resolution: Features of stride 4 and 8.
    """
    layer = decoder.transformer.layers[0]
    tokens = (image + no_mask.reshape(1, -1, 1, 1)).flatten(2).transpose(1, 2)
    flat_position = position.flatten(2).transpose(1, 2)
    towards, back = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
    placed = tokens + flat_position
    return SharedImage(
        tokens=tokens,
        position=flat_position,
        keys=_heads(towards.k_proj(placed), towards.num_heads),
        values=_heads(towards.v_proj(tokens), towards.num_heads),
        queries=_heads(back.q_proj(placed), back.num_heads),
        size=(int(image.shape[-2]), int(image.shape[-1])),
        high_resolution=high_resolution,
    )


def decode_prompts(
    decoder: Any, shared: SharedImage, prompts: Tensor, masks: Sequence[int]
) -> DecoderOutput:
    """Decode prompts without mask inputs.

    Args:
        decoder: The package's ``MaskDecoder``.
        shared: The image, from `share_image`.
        prompts: Sparse prompt embeddings, shape (N, P, C).
        masks: Indices of the mask tokens (0 to 3) to decode.

    Returns:
        Output with K = ``len(masks)``.
    """
    own = (decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens)
    fixed = torch.cat([embedding.weight for embedding in own])
    start = torch.cat([fixed.expand(len(prompts), -1, -1), prompts], dim=1)
    queries, image = _first_layer(decoder.transformer.layers[0], shared, start)
    for layer in decoder.transformer.layers[1:]:
        queries, image = layer(queries=queries, keys=image, query_pe=start, key_pe=shared.position)
    last = decoder.transformer.final_attn_token_to_image
    queries = queries + last(q=queries + start, k=image + shared.position, v=image)
    queries = decoder.transformer.norm_final_attn(queries)
    return _read_out(decoder, shared, queries, image, masks)


def _first_layer(layer: Any, shared: SharedImage, start: Tensor) -> tuple[Tensor, Tensor]:
    count = len(start)
    queries = layer.norm1(layer.self_attn(q=start, k=start, v=start))

    towards = layer.cross_attn_token_to_image
    attended = scaled_dot_product_attention(
        _heads(towards.q_proj(queries + start), towards.num_heads),
        shared.keys.expand(count, -1, -1, -1),
        shared.values.expand(count, -1, -1, -1),
    )
    queries = layer.norm2(queries + towards.out_proj(_joined(attended)))
    queries = layer.norm3(queries + layer.mlp(queries))

    back = layer.cross_attn_image_to_token
    attended = scaled_dot_product_attention(
        shared.queries.expand(count, -1, -1, -1),
        _heads(back.k_proj(queries + start), back.num_heads),
        _heads(back.v_proj(queries), back.num_heads),
    )
    return queries, layer.norm4(shared.tokens + back.out_proj(_joined(attended)))


def _read_out(
    decoder: Any, shared: SharedImage, queries: Tensor, image: Tensor, masks: Sequence[int]
) -> DecoderOutput:
    height, width = shared.size
    grid = image.transpose(1, 2).reshape(len(image), -1, height, width)
    quarter, eighth = shared.high_resolution
    up1, norm, act1, up2, act2 = decoder.output_upscaling
    grid = act1(norm(up1(grid) + eighth))
    grid = act2(up2(grid) + quarter)
    # The tokens in order: object score, predicted IoU, one for each mask.
    weights = torch.stack(
        [decoder.output_hypernetworks_mlps[index](queries[:, 2 + index]) for index in masks], dim=1
    )
    logits = (weights @ grid.flatten(2)).unflatten(2, grid.shape[-2:])
    iou = decoder.iou_prediction_head(queries[:, 1])[:, list(masks)]
    return DecoderOutput(logits, iou, decoder.pred_obj_score_head(queries[:, 0])[:, 0])


def _heads(tokens: Tensor, count: int) -> Tensor:
    """Shape (N, L, heads * c) to (N, heads, L, c)."""
    return tokens.reshape(*tokens.shape[:2], count, -1).transpose(1, 2)


def _joined(tokens: Tensor) -> Tensor:
    """Shape (N, heads, L, c) to (N, L, heads * c)."""
    return tokens.transpose(1, 2).flatten(2)
