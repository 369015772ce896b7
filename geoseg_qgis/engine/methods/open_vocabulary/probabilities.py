"""Blended cosines of one grid as class probabilities of another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.blending import ScoreSurface
from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.grid_sampling import sample_bilinear

from .gumix.postprocess import class_probabilities


class SampledProbabilities:
    """Softmax of the mean cosines of some scales, on the output grid.

    Args:
        scene: Tells the output grid and which pixels hold data.
        surfaces: Cosines of every query, at each scale.
        class_index: Class of each query.
        logit_scale: Factor on the cosines.
    """

    def __init__(
        self,
        scene: RasterScene,
        surfaces: Sequence[ScoreSurface],
        class_index: Sequence[int],
        logit_scale: float,
    ) -> None:
        self._scene = scene
        self._surfaces = surfaces
        self._class_index = class_index
        self._logit_scale = logit_scale

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return (C, h, w) float32 probabilities and (h, w) bool, False where unknown."""
        output = self._scene.output
        known = torch.from_numpy(self._scene.reader.valid(output, window))
        share, mean = 1 / len(self._surfaces), torch.zeros(())
        for surface in self._surfaces:
            bands = sample_bilinear(surface.read_bands, surface.grid.shape, output.shape, window)
            known &= bands[-1] > 0.5
            mean = mean + bands[:-1].mul_(share)
        return class_probabilities(mean, self._class_index, self._logit_scale), known


class BlendedProbabilities:
    """Class probabilities already blended on the output grid.

    Args:
        surface: Probabilities of every class, on the output grid.
        scene: Tells which pixels hold data.
    """

    def __init__(self, scene: RasterScene, surface: ScoreSurface) -> None:
        self._scene = scene
        self._surface = surface

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return (C, h, w) float32 probabilities and (h, w) bool, False where unknown."""
        bands = self._surface.read_bands(window)
        valid = torch.from_numpy(self._scene.reader.valid(self._scene.output, window))
        return bands[:-1], valid & (bands[-1] > 0.5)
