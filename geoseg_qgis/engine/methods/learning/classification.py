"""A learnt model over a whole raster: class probabilities, blended without seams."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.blending import (
    DeviceNetwork,
    ScoreRaster,
    WindowNetwork,
    WindowPlan,
    match_windows,
)
from geoseg_qgis.engine.inference.chips import Chip, RasterScene
from geoseg_qgis.engine.methods.open_vocabulary.labelling import LabelBlock
from geoseg_qgis.engine.models.model_cache import out_of_memory_fallback
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext, Progress
from geoseg_qgis.engine.raster.resampling.grids import sample_bilinear
from geoseg_qgis.engine.raster.write import SCORE_NODATA, SCORE_STEPS, ScoresWriter

from .features import FeatureExtractor
from .heads import Head
from .learnt_preset import LearntModel

# Windows are classified in rows of this many pixels, so that a batch takes little memory.
_PIXELS = 65_536


class LearntProbabilities:
    """Class probabilities of a learnt model on the grid of the results.

    Args:
        scene: The grid of the results, and which pixels hold data.
        raster: Probabilities of every class on the grid that the networks read.
    """

    def __init__(self, scene: RasterScene, raster: ScoreRaster) -> None:
        self._scene = scene
        self._raster = raster

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return (C, h, w) float32 probabilities and (h, w) bool, False where unknown."""
        output = self._scene.output
        known = torch.from_numpy(self._scene.reader.valid(output, window))
        shape = self._raster.grid.shape
        bands = sample_bilinear(self._raster.read_bands, shape, output.shape, window)
        return bands[:-1], known & (bands[-1] > 0.5)


def classify(
    scene: RasterScene,
    learnt: LearntModel,
    models: LoadedPreset,
    context: JobContext,
    progress: Progress,
) -> LearntProbabilities:
    """Return the class probabilities of a raster.

    Args:
        scene: The raster and its grids.
        learnt: The learnt model.
        models: The networks that make its features.
        context: Takes a warning when the results may change because memory runs out.
        progress: Takes the finished fraction.

    Raises:
        JobError: ``OUT_OF_MEMORY``, ``CANCELLED``.
    """
    extractor, head = learnt.extractor(models), learnt.head()
    recipe = extractor.recipe
    networks = [
        DeviceNetwork(
            _window_network(extractor.on(copy), head),
            out_of_memory_fallback(copy, context, *recipe.networks),
        )
        for copy in models.copies
    ]
    # The digest is part of the name, as tiles of an earlier model must not be used again.
    name = f"learnt-{learnt.card.weights[:16]}"
    count = len(learnt.card.classes)
    raster = ScoreRaster(scene.folder, name, scene.base, count, scene.journal)
    batch = 1 if models.device.device.type == "cpu" else 8
    plan = WindowPlan(recipe.window, recipe.stride, batch)
    match_windows(scene.reader, raster, networks, plan, progress)
    return LearntProbabilities(scene, raster)


def _window_network(extractor: FeatureExtractor, head: Head) -> WindowNetwork:
    def network(chips: list[Chip], _windows: list[Window]) -> Tensor:
        return torch.stack([_probabilities(extractor([chip])[0], head) for chip in chips])

    return network


@torch.inference_mode()
def _probabilities(features: Tensor, head: Head) -> Tensor:
    """Return (C, H, W) of features (F, H, W)."""
    flat = features.flatten(1).T
    parts = [torch.softmax(head.logits(part), dim=1) for part in flat.split(_PIXELS)]
    found: Tensor = torch.cat(parts).T.unflatten(1, features.shape[1:])
    return found


def uncertainty(scores: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return one minus the lead of the best class over the second, 0..1, (h, w).

    Args:
        scores: (C, h, w) probabilities in steps of 1/254.
    """
    best = np.sort(scores.astype(np.float32), axis=0)
    return np.asarray(1.0 - (best[-1] - best[-2]) / np.float32(SCORE_STEPS), dtype=np.float32)


def with_uncertainty(
    blocks: Callable[[], Iterator[LabelBlock]], writer: ScoresWriter
) -> Iterator[LabelBlock]:
    """Yield blocks with scores as they are, and write their uncertainty."""
    for block in blocks():
        if block.scores is not None:
            valid = block.confidence != SCORE_NODATA
            writer.write(block.window, uncertainty(block.scores)[None], np.asarray(valid))
        yield block
