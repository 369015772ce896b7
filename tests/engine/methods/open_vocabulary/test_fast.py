"""Dense CLIP scores against a head by head computation."""

from __future__ import annotations

import copy

import torch
from open_clip import CLIP
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.methods.open_vocabulary.fast import FastSettings, window_logits


@torch.inference_mode()
def expected_logits(clip: CLIP, images: Tensor, text: Tensor) -> Tensor:
    """The method written out with the library's own blocks, for the native grid."""
    visual = clip.visual
    tokens = visual._embeds(images)
    for block in visual.transformer.resblocks[:-1]:
        tokens = block(tokens)
    last = visual.transformer.resblocks[-1]
    normed = last.ln_1(tokens)
    joint = normed @ last.attn.in_proj_weight.T + last.attn.in_proj_bias
    outputs = []
    for head in range(4):
        parts = [joint[..., 64 * p + 16 * head : 64 * p + 16 * head + 16] for p in range(3)]
        attention = sum(torch.softmax(p @ p.transpose(1, 2) / 4, dim=-1) for p in parts)
        outputs.append(attention @ parts[2])
    mixed = visual.ln_post(last.attn.out_proj(torch.cat(outputs, dim=-1))) @ visual.proj
    cosine = functional.normalize(mixed, dim=-1) @ text.T
    debiased = cosine[:, 1:] - 0.3 * cosine[:, :1]
    maps = debiased.transpose(1, 2).reshape(len(images), len(text), 4, 4)
    return functional.interpolate(maps, size=(56, 56), mode="bilinear")


def test_scores(clip: CLIP) -> None:
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(3, 3, 56, 56, generator=generator)
    text = functional.normalize(torch.randn(5, 32, generator=generator), dim=-1)
    logits = window_logits(clip, images, text, FastSettings())
    torch.testing.assert_close(logits, expected_logits(clip, images, text), atol=1e-5, rtol=0)
    half = window_logits(copy.deepcopy(clip).half(), images, text, FastSettings())
    torch.testing.assert_close(half, logits, atol=5e-3, rtol=0)


def test_windows_of_another_shape(clip: CLIP) -> None:
    images = torch.randn(2, 3, 84, 112, generator=torch.Generator().manual_seed(2))
    text = functional.normalize(torch.ones(2, 32), dim=-1)
    plain = window_logits(clip, images, text, FastSettings(class_token_weight=0.0))
    assert plain.shape == (2, 2, 84, 112)
    assert plain.abs().max() <= 1 + 1e-5
    debiased = window_logits(clip, images, text, FastSettings())
    shift = plain - debiased
    assert torch.allclose(shift, shift[:, :, :1, :1].expand_as(shift), atol=1e-5)
    assert shift.abs().min() > 0
