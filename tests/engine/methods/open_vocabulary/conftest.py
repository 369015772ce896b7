"""Tiny networks with the recorded weights, and a preset of random ones."""

from __future__ import annotations

import pytest
import timm
import torch
from gumix_facts import FACTS
from open_clip import CLIP
from safetensors.torch import load_file
from timm.models.eva import Eva, checkpoint_filter_fn
from tiny_preset import tiny_preset

__all__ = ["clip", "dino", "tiny_preset"]


@pytest.fixture(scope="session")
def clip() -> CLIP:
    """The tiny CLIP; rows of the word table that no recorded prompt uses are zero."""
    model = CLIP(
        embed_dim=32,
        vision_cfg={
            "layers": 6,
            "width": 64,
            "head_width": 16,
            "patch_size": 14,
            "image_size": 56,
        },
        text_cfg={
            "width": 8,
            "heads": 2,
            "layers": 2,
            "context_length": 77,
            "vocab_size": 49408,
        },
    )
    state = load_file(FACTS / "clip_tiny_visual_state.safetensors")
    state.update(load_file(FACTS / "clip_tiny_text_state.safetensors"))
    table = torch.zeros(49408, 8)
    table[state.pop("token_embedding.ids").long()] = state.pop("token_embedding.rows")
    state["token_embedding.weight"] = table
    state.setdefault("logit_scale", model.logit_scale.detach())
    model.load_state_dict(state, strict=True)
    return model.eval()


@pytest.fixture(scope="session")
def dino() -> Eva:
    """The tiny DINOv3 with the recorded rotary periods."""
    model = timm.create_model(
        "vit_small_patch16_dinov3_qkvb",
        embed_dim=64,
        depth=5,
        num_heads=4,
        num_reg_tokens=4,
        num_classes=0,
    )
    state = load_file(FACTS / "dino_tiny_state.safetensors")
    periods = state["rope_embed.periods"].float()
    state = {key: value for key, value in state.items() if not key.startswith("local_cls_norm")}
    model.load_state_dict(checkpoint_filter_fn(state, model), strict=True)
    model.rope.periods.copy_(periods)
    return model.eval()
