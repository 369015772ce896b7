"""Blended cosines of one grid as class probabilities of another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rasterio.windows import Window
from torch import Tensor

from .dense import ScoreSurface
from .gumix.postprocess import class_probabilities
from .reading import Scene
from .resampling import sample_bilinear


class SampledProbabilities:
    """Softmax of the cosines of one scale, on the output grid.

    Args:
        scene: Tells the output grid and which pixels hold data.
        surface: Cosines of every query.
        class_index: Class of each query.
        logit_scale: Factor on the cosines.
    """

    def __init__(
        self, scene: Scene, surface: ScoreSurface, class_index: Sequence[int], logit_scale: float
    ) -> None:
        self._scene = scene
        self._surface = surface
        self._class_index = class_index
        self._logit_scale = logit_scale

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return (C, h, w) float32 probabilities and (h, w) bool, False where unknown."""
        output = self._scene.output
        bands = sample_bilinear(
            self._surface.read_bands, self._surface.grid.shape, output.shape, window
        )
        known = torch.from_numpy(self._scene.reader.valid(output, window)) & (bands[-1] > 0.5)
        return class_probabilities(bands[:-1], self._class_index, self._logit_scale), known


class BlendedProbabilities:
    """Class probabilities already blended on the output grid.

    Args:
        surface: Probabilities of every class, on the output grid.
        scene: Tells which pixels hold data.
    """

    def __init__(self, scene: Scene, surface: ScoreSurface) -> None:
        self._scene = scene
        self._surface = surface

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return (C, h, w) float32 probabilities and (h, w) bool, False where unknown."""
        bands = self._surface.read_bands(window)
        valid = torch.from_numpy(self._scene.reader.valid(self._scene.output, window))
        return bands[:-1], valid & (bands[-1] > 0.5)
