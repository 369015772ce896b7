"""Edge-guided compaction (EGC): an object edge map that refines the coarse quality map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear

from .configuration import SegAssessConfiguration
from .decoder import CLASSES
from .layers import ChannelNorm

EDGE_SOURCES = 4


class GatedAttention(nn.Module):
    """Channel gate, then spatial gate, each from the maximum and the mean (CBAM)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels // 16, bias=False),
            nn.ReLU(),
            nn.Linear(channels // 16, channels, bias=False),
        )
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Gate (B, C, H, W)."""
        channel = self.mlp(features.amax((2, 3))) + self.mlp(features.mean((2, 3)))
        gated = features * channel.sigmoid()[:, :, None, None]
        spatial = torch.cat([gated.amax(1, keepdim=True), gated.mean(1, keepdim=True)], dim=1)
        out: Tensor = gated * self.conv(spatial).sigmoid()
        return out


class DilatedConvolution(nn.Module):
    """Dilated convolution, batch normalisation and ReLU."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.atrous_convolution = nn.Conv2d(
            channels, channels, kernel, padding="same", dilation=dilation, bias=False
        )
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        out: Tensor = self.bn(self.atrous_convolution(features)).relu()
        return out


def line_filter(channels: int, kernel: tuple[int, int], *after: nn.Module) -> nn.Sequential:
    """Return a convolution along one axis, followed by `after`."""
    return nn.Sequential(nn.Conv2d(channels, channels, kernel, padding="same"), *after)


class AnisotropicFilters(nn.Module):
    """Aggregated semantic filter (ASF): gates, four line filters, three dilated convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.CBAM = GatedAttention(channels)
        self.filter_13 = line_filter(channels, (1, 3), nn.BatchNorm2d(channels), nn.ReLU())
        self.filter_31 = line_filter(channels, (3, 1), nn.Sigmoid())
        self.filter_15 = line_filter(channels, (1, 5), nn.Sigmoid())
        self.filter_51 = line_filter(channels, (5, 1), nn.Sigmoid())
        self.dc_1 = DilatedConvolution(channels, 1, 1)
        self.dc_2 = DilatedConvolution(channels, 3, 2)
        self.dc_3 = DilatedConvolution(channels, 3, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, n, n) to the same shape."""
        gated = self.CBAM(features)
        summed = self.filter_13(gated) + self.filter_31(gated)
        summed = summed + self.filter_15(gated) + self.filter_51(gated)
        out: Tensor = self.dc_3(self.dc_2(self.dc_1(summed)))
        return out


def side_head(channels: int, out: int) -> nn.Sequential:
    """Two transposed 4x4 convolutions: (B, channels, n, n) to (B, out, 4n, 4n)."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels, channels // 4, 4, stride=2, padding=1),
        ChannelNorm(channels // 4),
        nn.GELU(),
        nn.ConvTranspose2d(channels // 4, out, 4, stride=2, padding=1),
    )


class EdgeWeights(nn.Module):
    """Weights of the edge sources at each pixel; not normalised, may be negative."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = self._layer(nn.ReLU())
        self.conv2 = self._layer(nn.ReLU())
        self.conv3 = self._layer()

    @staticmethod
    def _layer(*after: nn.Module) -> nn.Sequential:
        convolution = nn.Conv2d(EDGE_SOURCES, EDGE_SOURCES, 1)
        return nn.Sequential(convolution, nn.BatchNorm2d(EDGE_SOURCES), *after)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, 4, H, W) to the weights (B, 4, H, W)."""
        out: Tensor = self.conv3(self.conv2(self.conv1(features)))
        return out


class ClassAttention(nn.Module):
    """Attention over the four classes of each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in_q = nn.Conv2d(CLASSES, CLASSES, 1)
        self.conv_in_k = nn.Conv2d(CLASSES, CLASSES, 1)
        self.conv_in_v = nn.Conv2d(CLASSES, CLASSES, 1)
        self.conv_out = nn.Conv2d(CLASSES, CLASSES, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, 4, H, W) to the same shape."""
        weights = (self.conv_in_q(features) * self.conv_in_k(features)).softmax(dim=1)
        out: Tensor = self.conv_out(weights * self.conv_in_v(features)) + features
        return out


class EdgeFusion(nn.Module):
    """Refine the coarse quality map by the edge map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in_x = nn.Conv2d(CLASSES, CLASSES, 1)
        self.conv_in_c = nn.Conv2d(1, 1, 1)
        self.CA = ClassAttention()

    def forward(self, coarse: Tensor, edge: Tensor) -> Tensor:
        """Return refined logits (B, 4, H, W) from coarse (B, 4, H, W) and edge (B, 1, H, W)."""
        features = self.conv_in_x(coarse)
        out: Tensor = self.CA(features + features * self.conv_in_c(edge).sigmoid())
        return out


class EdgeGuidance(nn.Module):
    """EGC branch: edge logits from the encoder's features, and the refined quality map."""

    def __init__(self, configuration: SegAssessConfiguration) -> None:
        super().__init__()
        width = configuration.encoder_width
        self.TFA = AnisotropicFilters(width)
        self.side1 = side_head(width, 1)
        self.side2 = side_head(width, 1)
        self.side3 = side_head(width, 1)
        self.side4_w = side_head(width, EDGE_SOURCES)
        self.side4 = side_head(width, 1)
        self.ada_learner = EdgeWeights()
        self.BPM = EdgeFusion()

    def forward(self, features: Sequence[Tensor], coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Refine.

        Args:
            features: Outputs of the four global blocks, each (B, n, n, C).
            coarse: Coarse logits (B, 4, S, S).

        Returns:
            Refined logits (B, 4, S, S) and edge logits (B, 1, S, S), float32.
        """
        # The class attention multiplies logits: half precision would overflow.
        with torch.autocast(coarse.device.type, enabled=False):
            maps = [feature.float().permute(0, 3, 1, 2) for feature in features]
            coarse = coarse.float()
            edge = self.edge_logits(maps, (coarse.shape[-2], coarse.shape[-1]))
            refined: Tensor = self.BPM(coarse, edge)
            return refined, edge

    def edge_logits(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return edge logits (B, 1, *size) from four feature maps (B, C, n, n)."""
        aggregated = self.TFA(maps[3])
        sources = [
            self.side4(aggregated),
            self.side1(maps[0]),
            self.side2(maps[1]),
            self.side3(maps[2]),
        ]
        weights: Tensor = self.ada_learner(resize_bilinear(self.side4_w(aggregated), size))
        fused = torch.cat([resize_bilinear(source, size) for source in sources], dim=1)
        return (fused * weights).sum(dim=1, keepdim=True)
