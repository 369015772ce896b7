"""Masks that follow the colours of the image."""

from __future__ import annotations

import torch

from training.segassess.lookalikes import Lookalikes


def test_lookalikes_follow_colours() -> None:
    """A mask made from colours takes in what looks like the object."""
    generator = torch.Generator().manual_seed(3)
    image = torch.full((3, 128, 128), 0.2) + 0.01 * torch.randn(3, 128, 128, generator=generator)
    image[:, 16:64, 16:64] += 0.6
    image[:, 80:112, 64:120] += 0.6
    truth = torch.zeros(1, 1, 128, 128)
    truth[..., 16:64, 16:64] = 1
    masks = Lookalikes(5)(image[None].expand(8, -1, -1, -1), truth.expand(8, -1, -1, -1))
    assert ((masks == 0) | (masks == 1)).all()
    same, other = masks[..., 20:60, 20:60].mean(), masks[..., 84:108, 68:116].mean()
    assert same > 0.6
    assert other > 0.5
    assert masks[..., 110:, :60].mean() < 0.1
