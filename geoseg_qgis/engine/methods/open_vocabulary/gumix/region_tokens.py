"""The CLIP tower with region tokens, and its three branches (paper: main, spatial, semantic).

Region tokens are copies of the class token that see the class token and the patches of one
region. No other token sees them, so class and patch tokens run exactly as in stock CLIP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.models.clip_tokens import (
    embed_tokens,
    finish_block,
    normalise_layer,
    project_heads,
    project_values,
)
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear, resize_nearest

from .regions import dense_codes
from .settings import GumixSettings

if TYPE_CHECKING:
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer


@dataclass(frozen=True)
class TowerTokens:
    """The tokens that the branches start from.

    Attributes:
        main: (B, 1 + T, D) tokens before the last block, class token first.
        spatial: (B, 1 + T, D) mean of the tokens of intermediate blocks.
        regions: (B, R, D) region tokens after the last block; padded where a window has fewer.
        region_of_patch: (B, rows, columns) index of the region token of each patch.
    """

    main: Tensor
    spatial: Tensor
    regions: Tensor
    region_of_patch: Tensor


def region_permission(region_of_patch: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive attention mask from region tokens to the class token and the patches.

    Args:
        region_of_patch: (B, rows, columns) region index of each patch.
        dtype: Dtype of the attention.

    Returns:
        (B, 1, R, 1 + T), 0 where allowed and minus infinity elsewhere.
    """
    flat = region_of_patch.flatten(1)
    numbers = torch.arange(int(flat.max()) + 1, device=flat.device)
    blocked = flat[:, None, :] != numbers[:, None]
    blocked = functional.pad(blocked, (1, 0), value=False)
    mask = torch.zeros(blocked.shape, dtype=dtype, device=flat.device)
    return mask.masked_fill_(blocked, -torch.inf)[:, None]


def run_tower(
    visual: VisionTransformer, images: Tensor, codes: Tensor, settings: GumixSettings
) -> TowerTokens:
    """Run every block of the vision tower, the last one on the region tokens alone.

    Args:
        visual: The open_clip vision tower.
        images: (B, 3, H, W) CLIP-normalised.
        codes: (B, rows, columns) merged region codes on the DINO grid.
        settings: Rule for the spatial blocks.

    Returns:
        The tokens the branches start from.
    """
    tokens, grid = embed_tokens(visual, images)
    region_of_patch = dense_codes(resize_nearest(codes, grid), first_id_is_unsegmented=True)
    permission = region_permission(region_of_patch, tokens.dtype)
    regions = tokens[:, :1].expand(-1, permission.shape[2], -1)
    blocks = visual.transformer.resblocks
    kept = settings.spatial_blocks(len(blocks))
    spatial = torch.zeros(tokens.shape, dtype=torch.float32, device=tokens.device)
    for index, block in enumerate(blocks[:-1]):
        regions, tokens = _run_joint_block(block, regions, tokens, permission)
        if index in kept:
            spatial += tokens
    regions = _run_region_block(blocks[-1], regions, tokens, permission)
    return TowerTokens(tokens, (spatial / len(kept)).to(tokens.dtype), regions, region_of_patch)


def reconstruct_values(
    block: ResidualAttentionBlock,
    streams: Tensor,
    patches: tuple[int, int],
    attention: Tensor,
    cells: tuple[int, int],
) -> Tensor:
    """The last block with the correlation in place of its attention, values only.

    Args:
        block: The last open_clip block.
        streams: (S, B, 1 + T, D) token streams, class token first.
        patches: Rows and columns of the T patches, as a size.
        attention: (B, N, N) rows summing to 1.
        cells: Rows and columns of the N cells.

    Returns:
        (S, B, N, D) after the output projection; no residual, no perceptron.
    """
    upsampled = upsample_values(block, streams, patches, cells)
    mixed = attention.to(upsampled.dtype) @ upsampled
    output: Tensor = block.attn.out_proj(mixed)
    return output


def upsample_values(
    block: ResidualAttentionBlock,
    streams: Tensor,
    patches: tuple[int, int],
    cells: tuple[int, int],
) -> Tensor:
    """Value projections of the patches on the DINO grid, (S, B, 1 + T, D) to (S, B, N, D)."""
    count, batch, _, width = streams.shape
    values = project_values(block, streams.flatten(0, 1))[:, 1:]
    maps = values.transpose(1, 2).reshape(count * batch, width, *patches)
    return resize_bilinear(maps, cells).flatten(2).transpose(1, 2).reshape(count, batch, -1, width)


def spread_regions(tower: TowerTokens, cells: tuple[int, int]) -> Tensor:
    """Region token of each cell (B, N, D); the cell's region comes from the patch grid."""
    index = resize_nearest(tower.region_of_patch, cells).flatten(1)
    return torch.gather(tower.regions, 1, index[..., None].expand(-1, -1, tower.regions.shape[-1]))


def window_embeddings(
    visual: VisionTransformer,
    images: Tensor,
    codes: Tensor,
    attention: Tensor,
    settings: GumixSettings,
) -> Tensor:
    """Embeddings of the cells of each window in the joint space with text.

    Args:
        visual: The open_clip vision tower.
        images: (B, 3, H, W) CLIP-normalised.
        codes: (B, rows, columns) merged region codes on the DINO grid.
        attention: (B, N, N) scoped attention, N = rows * columns.
        settings: Branch weights.

    Returns:
        (B, N, E) before length normalisation.
    """
    tower = run_tower(visual, images, codes, settings)
    cells = (int(codes.shape[-2]), int(codes.shape[-1]))
    patches = (int(tower.region_of_patch.shape[-2]), int(tower.region_of_patch.shape[-1]))
    main, spatial = reconstruct_values(
        visual.transformer.resblocks[-1],
        torch.stack([tower.main, tower.spatial]),
        patches,
        attention,
        cells,
    )
    semantic = spread_regions(tower, cells)
    mixed = (
        normalise_layer(visual.ln_post, main)
        + settings.spatial_weight * normalise_layer(visual.ln_post, spatial)
        + settings.semantic_weight * normalise_layer(visual.ln_post, semantic)
    )
    return mixed if visual.proj is None else mixed @ visual.proj


def _run_joint_block(
    block: ResidualAttentionBlock, regions: Tensor, tokens: Tensor, permission: Tensor
) -> tuple[Tensor, Tensor]:
    count = regions.shape[1]
    joint = torch.cat([regions, tokens], dim=1)
    queries, keys, values = project_heads(block, joint)
    keys, values = keys[:, :, count:], values[:, :, count:]
    attend = functional.scaled_dot_product_attention
    attended = torch.cat(
        [
            attend(queries[:, :, :count], keys, values, attn_mask=permission),
            attend(queries[:, :, count:], keys, values),
        ],
        dim=2,
    )
    joint = finish_block(block, joint, attended)
    return joint[:, :count], joint[:, count:]


def _run_region_block(
    block: ResidualAttentionBlock, regions: Tensor, tokens: Tensor, permission: Tensor
) -> Tensor:
    queries = project_heads(block, regions)[0]
    _, keys, values = project_heads(block, tokens)
    attended = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=permission)
    return finish_block(block, regions, attended)
