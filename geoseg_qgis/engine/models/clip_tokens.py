"""Token level access to an open_clip vision transformer: embedding, projections, blocks.

The blocks are run by hand because the dense methods need key and value projections, attention
between chosen tokens only and layer normalisation in float32 under half precision weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer


def normalise_layer(layer: Any, values: Tensor) -> Tensor:
    """Layer normalisation computed in float32, result in the dtype of `values`."""
    weight = None if layer.weight is None else layer.weight.float()
    bias = None if layer.bias is None else layer.bias.float()
    shape = tuple(layer.normalized_shape)
    return functional.layer_norm(values.float(), shape, weight, bias, layer.eps).to(values.dtype)


def resize_position_embedding(
    table: Tensor, native: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """Position embedding for another patch grid.

    Bicubic with the scale factor (cells + 0.1) / native cells, which also drives the sampling
    coordinates; float32; no antialiasing. The class position is kept.

    Args:
        table: (1 + native cells, D), class position first.
        native: Rows and columns of the table's grid.
        grid: Rows and columns wanted.

    Returns:
        (1 + cells, D) float32.

    Raises:
        ValueError: The scale factor does not give the wanted grid.
    """
    table = table.float()
    if tuple(native) == tuple(grid):
        return table
    cells = table[1:].reshape(1, native[0], native[1], -1).permute(0, 3, 1, 2)
    factor = ((grid[0] + 0.1) / native[0], (grid[1] + 0.1) / native[1])
    resized = functional.interpolate(
        cells, scale_factor=factor, mode="bicubic", align_corners=False, antialias=False
    )
    if tuple(resized.shape[-2:]) != tuple(grid):
        raise ValueError(f"The position embedding became {tuple(resized.shape[-2:])}, not {grid}.")
    return torch.cat([table[:1], resized.flatten(2).transpose(1, 2)[0]])


def embed_tokens(visual: VisionTransformer, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Class and patch tokens after the first layer normalisation.

    Args:
        visual: The open_clip vision tower.
        images: (B, 3, H, W) normalised; H and W are multiples of the patch size.

    Returns:
        Tokens (B, 1 + rows * columns, D) in the dtype of the weights, and the grid.
    """
    dtype = visual.conv1.weight.dtype
    patches = visual.conv1(images.to(dtype))
    grid = (int(patches.shape[-2]), int(patches.shape[-1]))
    patches = patches.flatten(2).transpose(1, 2)
    class_token = visual.class_embedding.to(dtype).expand(len(patches), 1, -1)
    position = resize_position_embedding(visual.positional_embedding, visual.grid_size, grid)
    tokens = torch.cat([class_token, patches], dim=1) + position.to(dtype)
    return normalise_layer(visual.ln_pre, tokens), grid


def project_heads(block: ResidualAttentionBlock, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a block after its first normalisation.

    Args:
        block: An open_clip block.
        tokens: (B, L, D).

    Returns:
        Three tensors (B, heads, L, D / heads).
    """
    attention = block.attn
    joint = functional.linear(
        normalise_layer(block.ln_1, tokens), attention.in_proj_weight, attention.in_proj_bias
    )
    batch, length, _ = tokens.shape
    heads = joint.reshape(batch, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    return heads[0], heads[1], heads[2]


def join_heads(block: ResidualAttentionBlock, attended: Tensor) -> Tensor:
    """Output projection of attended values (B, heads, L, D / heads) to (B, L, D)."""
    output: Tensor = block.attn.out_proj(attended.transpose(1, 2).flatten(2))
    return output


def finish_block(block: ResidualAttentionBlock, tokens: Tensor, attended: Tensor) -> Tensor:
    """Residual connections and the perceptron of a block.

    Args:
        block: An open_clip block.
        tokens: (B, L, D), the block's input.
        attended: (B, heads, L, D / heads), the output of its attention.

    Returns:
        (B, L, D), the block's output.
    """
    tokens = tokens + block.ls_1(join_heads(block, attended))
    output: Tensor = tokens + block.ls_2(block.mlp(normalise_layer(block.ln_2, tokens)))
    return output


def run_block(block: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """A stock pre-normalised block on (B, L, D)."""
    queries, keys, values = project_heads(block, tokens)
    attended = functional.scaled_dot_product_attention(queries, keys, values)
    return finish_block(block, tokens, attended)


def project_values(block: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """Value projection alone (with bias) after the block's first normalisation, (B, L, D)."""
    attention = block.attn
    width = tokens.shape[-1]
    bias = attention.in_proj_bias
    return functional.linear(
        normalise_layer(block.ln_1, tokens),
        attention.in_proj_weight[2 * width :],
        None if bias is None else bias[2 * width :],
    )


def cosine_logits(embeddings: Tensor, text: Tensor) -> Tensor:
    """Cosine of each embedding with each text in float32.

    Args:
        embeddings: (B, N, E), any length.
        text: (Q, E), unit rows.

    Returns:
        (B, Q, N) float32.
    """
    unit = functional.normalize(embeddings.float(), dim=-1)
    return (unit @ text.float().T).transpose(1, 2)
