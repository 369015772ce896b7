"""Convolutions in place of the patch projection (Xiao et al. 2021, arXiv 2106.14881)."""

from __future__ import annotations

from torch import Tensor, nn

FINE_WIDTH = 64
_WIDTHS = (32, FINE_WIDTH, 96)


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch normalisation and GELU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.GELU(),
    )


class ConvolutionalStem(nn.Module):
    """Four halvings of the image, and its features at a quarter of the resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second, third = _WIDTHS
        self.fine = nn.Sequential(
            convolution(3, first, 2), convolution(first, second, 2), convolution(second, second)
        )
        self.coarse = nn.Sequential(
            convolution(second, third, 2),
            convolution(third, third),
            nn.Conv2d(third, width, 3, stride=2, padding=1),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images (B, 3, H, W), float 0..1.

        Returns:
            Patches (B, H // 16, W // 16, C) and fine features (B, 64, H // 4, W // 4).
        """
        fine = self.fine((images - 0.45) / 0.25)
        return self.coarse(fine).permute(0, 2, 3, 1), fine
