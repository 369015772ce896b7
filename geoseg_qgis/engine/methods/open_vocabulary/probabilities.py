"""Class probabilities of a raster: from the cosines of its queries, or blended by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.blending import ScoreRaster
from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.raster.resampling.grids import sample_bilinear


class ProbabilitySource(Protocol):
    """Class probabilities on the grid of the results."""

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return (C, h, w) float32 probabilities and (h, w) bool, False where unknown."""


def merge_synonyms(values: Tensor, class_index: Sequence[int]) -> Tensor:
    """Greatest value over the queries of each class.

    Args:
        values: (Q, H, W).
        class_index: Class of each query, every class from 0 to the greatest at least once.

    Returns:
        (C, H, W).
    """
    count = max(class_index) + 1
    if list(class_index) == list(range(len(values))):
        return values
    index = torch.tensor(class_index, device=values.device)[:, None, None].expand_as(values)
    empty = values.new_full((count, *values.shape[1:]), -torch.inf)
    return empty.scatter_reduce(0, index, values, reduce="amax")


def class_probabilities(logits: Tensor, class_index: Sequence[int], logit_scale: float) -> Tensor:
    """Softmax over all queries, then the greatest of each class's queries.

    Args:
        logits: (Q, H, W) cosines.
        class_index: Class of each query.
        logit_scale: Factor on the cosines.

    Returns:
        (C, H, W) float32; classes with synonyms need not sum to 1 with the others.
    """
    return merge_synonyms(torch.softmax(logits.float() * logit_scale, dim=0), class_index)


class SampledProbabilities:
    """Softmax of the mean cosines of some scales, on the grid of the results.

    Args:
        scene: The grid of the results, and which pixels hold data.
        score_rasters: Cosines of every query, at each scale.
        class_index: Class of each query.
        logit_scale: Factor on the cosines.
    """

    def __init__(
        self,
        scene: RasterScene,
        score_rasters: Sequence[ScoreRaster],
        class_index: Sequence[int],
        logit_scale: float,
    ) -> None:
        self._scene = scene
        self._score_rasters = score_rasters
        self._class_index = class_index
        self._logit_scale = logit_scale

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return (C, h, w) float32 probabilities and (h, w) bool, False where unknown."""
        output = self._scene.output
        known = torch.from_numpy(self._scene.reader.valid(output, window))
        share, mean = 1 / len(self._score_rasters), torch.zeros(())
        for raster in self._score_rasters:
            bands = sample_bilinear(raster.read_bands, raster.grid.shape, output.shape, window)
            known &= bands[-1] > 0.5
            mean = mean + bands[:-1].mul_(share)
        return class_probabilities(mean, self._class_index, self._logit_scale), known


class BlendedProbabilities:
    """Class probabilities already blended on the grid of the results.

    Args:
        scene: Which pixels hold data.
        score_raster: Probabilities of every class, on the grid of the results.
    """

    def __init__(self, scene: RasterScene, score_raster: ScoreRaster) -> None:
        self._scene = scene
        self._score_raster = score_raster

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return (C, h, w) float32 probabilities and (h, w) bool, False where unknown."""
        bands = self._score_raster.read_bands(window)
        valid = torch.from_numpy(self._scene.reader.valid(self._scene.output, window))
        return bands[:-1], valid & (bands[-1] > 0.5)
