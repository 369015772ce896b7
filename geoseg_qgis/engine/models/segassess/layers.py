"""Layers that encoder and decoder share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of a (B, C, H, W) map, eps 1e-6."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise each pixel of (B, C, H, W) over its channels."""
        mean = features.mean(1, keepdim=True)
        variance = (features - mean).square().mean(1, keepdim=True)
        normal = (features - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None] * normal + self.bias[:, None, None]


class FeedForward(nn.Module):
    """Two linear layers around an activation (`lin1`, `lin2`)."""

    def __init__(self, width: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, features: Tensor) -> Tensor:
        """Map (..., width) to (..., width)."""
        out: Tensor = self.lin2(self.activation(self.lin1(features)))
        return out


class TokenHead(nn.Module):
    """Three linear layers with ReLU between them, turning a token into filter weights."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, out)]
        )

    def forward(self, token: Tensor) -> Tensor:
        """Map (..., width) to (..., out)."""
        for layer in self.layers[:-1]:
            token = functional.relu(layer(token))
        out: Tensor = self.layers[-1](token)
        return out


def upscale_by_four(channels: int, hidden: int, out: int) -> nn.Sequential:
    """Two transposed 2x2 convolutions: (B, channels, H, W) to (B, out, 4H, 4W)."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels, hidden, 2, stride=2),
        ChannelNorm(hidden),
        nn.GELU(),
        nn.ConvTranspose2d(hidden, out, 2, stride=2),
    )
