"""Tiny networks with random weights, written as the checkpoints their cards describe."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import timm
import torch
from safetensors.torch import save_file
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam2_base import SAM2Base
from scipy.ndimage import gaussian_filter

from geoseg_qgis.engine.zoo.architecture import Sam2Architecture
from geoseg_qgis.engine.zoo.card import (
    ClipComponent,
    DinoComponent,
    Sam2Component,
    TokenizerChoice,
    WeightsFile,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Merges of a byte pair encoding for the words "road" and "roof"; no newline at the end.
MERGES = "#version: 0.2\nr o\nro a\nroa d</w>\nro o\nroo f</w>"
CLIP_CONFIGURATION = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 28,
        "patch_size": 14,
        "width": 32,
        "head_width": 16,
        "layers": 2,
    },
    "text_cfg": {"context_length": 12, "vocab_size": 519, "width": 24, "heads": 2, "layers": 2},
}
DINO_ARGUMENTS = {"embed_dim": 48, "depth": 4, "num_heads": 3, "num_reg_tokens": 2}
SAM2_ARCHITECTURE = Sam2Architecture(
    image_size=128,
    embed_dim=16,
    num_heads=1,
    stages=(1, 1, 2, 1),
    global_att_blocks=(3,),
    window_spec=(8, 4, 8, 4),
    window_pos_embed_bkg_spatial_size=(4, 4),
    d_model=64,
)


def write_clip(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[ClipComponent, Any]:
    """Write a CLIP checkpoint and its merges; return its component and the model itself."""
    torch.manual_seed(1)
    model = open_clip.CLIP(**CLIP_CONFIGURATION).eval()
    save_file(
        {key: value.to(dtype) for key, value in model.state_dict().items()},
        folder / "clip.safetensors",
    )
    (folder / "merges.txt.gz").write_bytes(gzip.compress(MERGES.encode()))
    component = ClipComponent(
        model=CLIP_CONFIGURATION,
        weights=WeightsFile("clip.safetensors", "open_clip"),
        mean=MEAN,
        std=STD,
        tokenizer=TokenizerChoice("bpe", "merges.txt.gz"),
    )
    return component, model


def write_dino(folder: Path) -> tuple[DinoComponent, Any]:
    """Write a DINOv3 checkpoint in timm's layout; return its component and the model itself."""
    torch.manual_seed(2)
    name = "vit_small_patch16_dinov3_qkvb"
    model = timm.create_model(name, num_classes=0, **DINO_ARGUMENTS).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_file(model.state_dict(), folder / "dino.safetensors")
    weights = WeightsFile("dino.safetensors", "timm")
    return DinoComponent(name, DINO_ARGUMENTS, weights, MEAN, STD), model


def package_sam2(architecture: Sam2Architecture, **arguments: object) -> SAM2Base:
    """Return the package's own image model with real random values."""
    trunk = Hiera(
        embed_dim=architecture.embed_dim,
        num_heads=architecture.num_heads,
        stages=architecture.stages,
        global_att_blocks=architecture.global_att_blocks,
        window_spec=architecture.window_spec,
        window_pos_embed_bkg_spatial_size=architecture.window_pos_embed_bkg_spatial_size,
    )
    neck = FpnNeck(
        PositionEmbeddingSine(architecture.d_model),
        architecture.d_model,
        architecture.channel_list,
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    return SAM2Base(
        ImageEncoder(trunk, neck, scalp=1),
        None,
        None,
        image_size=architecture.image_size,
        directly_add_no_mem_embed=True,
        use_high_res_features_in_sam=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
        **arguments,
    )


def random_sam2(seed: int = 3, **arguments: object) -> SAM2Base:
    """Return a tiny model whose random masks are neither empty nor full."""
    torch.manual_seed(seed)
    model = package_sam2(SAM2_ARCHITECTURE, **arguments).eval()
    gains = {
        "output_hypernetworks": 3.0,
        "sam_mask_decoder.transformer": 4.0,
        "iou_pred": 2.0,
        "neck": 1.8,
    }
    for name, parameter in model.named_parameters():
        gain = next((gains[part] for part in gains if part in name), 0.6)
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=gain / parameter[0].numel() ** 0.5)
        elif "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.1)
    for embedding in model.sam_prompt_encoder.point_embeddings:
        torch.nn.init.normal_(embedding.weight, std=0.5)
    torch.nn.init.normal_(model.image_encoder.trunk.pos_embed, std=0.5)
    return model


def landscape(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a smooth random colour image, uint8, shape (H, W, 3)."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth: np.ndarray = gaussian_filter(noise, (6, 6, 0))
    spread = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    result: np.ndarray = (spread * 255).astype(np.uint8)
    return result


def write_sam2(folder: Path, seed: int = 3, **arguments: object) -> tuple[Sam2Component, SAM2Base]:
    """Write a checkpoint as published, video tensors included; return component and model."""
    model = random_sam2(seed, **arguments)
    state = dict(model.state_dict())
    state["maskmem_tpos_enc"] = torch.zeros(7, 1, 1, 16)
    state["memory_attention.norm.weight"] = torch.ones(3)
    state["no_obj_ptr"] = torch.ones(1, 3)
    torch.save({"model": state}, folder / "sam2.pt")
    return Sam2Component(SAM2_ARCHITECTURE, WeightsFile("sam2.pt", "sam2"), MEAN, STD), model
