"""SAM 3 as a method: the objects and the pixels that each word names, fused (after SegEarth-OV3).

A window is encoded once for all words, which are decoded in batches. Words of one class take the
greatest probability of a pixel, and overlapping windows are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.blending import (
    DeviceNetwork,
    ScoreRaster,
    WindowNetwork,
    WindowPlan,
    make_score_rasters,
    match_scales,
)
from geoseg_qgis.engine.inference.chips import Chip, RasterScene
from geoseg_qgis.engine.models.model_cache import out_of_memory_fallback
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.resampling.grids import sample_bilinear
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear

from .method import MATCHING, Match, MatchRequest, register
from .probabilities import merge_synonyms
from .regions import user_regions

if TYPE_CHECKING:
    from geoseg_qgis.engine.models.sam3 import Sam3Answer, Sam3Model

# Share of a window that its neighbour sees again.
OVERLAP_SHARE = 0.125
# Words decoded together: eight take four times as long as one, and 3 GB at the published size.
WORDS_AT_ONCE = 8


@register("sam3")
def match(request: MatchRequest, context: JobContext) -> Match:
    """Run SAM 3 over windows of the raster; regions only if the user gave some."""
    scene, prompts = request.scene, request.prompts
    regions = user_regions(scene, request.task, context.span(0.0, 0.1))
    span = context.span(0.1, 1.0)
    index = prompts.queries.class_index
    named = [number for number, item in enumerate(index) if item < prompts.named]
    words = [prompts.queries.queries[number] for number in named]
    size = request.models.sam3.image_size
    networks = [
        DeviceNetwork(_network(copy.sam3, words), out_of_memory_fallback(copy, context, "sam3"))
        for copy in request.models.copies
    ]
    (score_raster,) = make_score_rasters(scene, "sam3", (1.0,), len(words))
    plan = WindowPlan(size, size - round(size * OVERLAP_SHARE), 1)
    match_scales(
        scene.reader,
        [score_raster],
        lambda _: networks,
        plan,
        lambda done: span.progress(done, MATCHING),
    )
    rest = request.models.sam3.threshold if prompts.queries.class_count > prompts.named else None
    classes = [index[number] for number in named]
    return Match(WordProbabilities(scene, score_raster, classes, rest), regions)


class WordProbabilities:
    """Class probabilities from those of words, on the grid of the results.

    Args:
        scene: The grid of the results, and which pixels hold data.
        score_raster: Probabilities of every word.
        class_index: Class of each word.
        rest: Probability of everything else at every pixel, which a class must exceed; None when
            there is no such class.
    """

    def __init__(
        self,
        scene: RasterScene,
        score_raster: ScoreRaster,
        class_index: Sequence[int],
        rest: float | None,
    ) -> None:
        self._scene = scene
        self._score_raster = score_raster
        self._class_index = class_index
        self._rest = rest

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return (C, h, w) float32 probabilities and (h, w) bool, False where unknown."""
        output, raster = self._scene.output, self._score_raster
        known = torch.from_numpy(self._scene.reader.valid(output, window))
        bands = sample_bilinear(raster.read_bands, raster.grid.shape, output.shape, window)
        classes = merge_synonyms(bands[:-1], self._class_index)
        if self._rest is not None:
            classes = torch.cat([classes, torch.full_like(classes[:1], self._rest)])
        return classes, known & (bands[-1] > 0.5)


def _network(model: Sam3Model, words: Sequence[str]) -> WindowNetwork:
    def network(chips: list[Chip], _windows: list[Window]) -> Tensor:
        return torch.stack([_window_probabilities(model, chip, words) for chip in chips])

    return network


def _window_probabilities(model: Sam3Model, chip: Chip, words: Sequence[str]) -> Tensor:
    image = torch.from_numpy(chip.continued())[None].float() / 255.0
    embedding = model.encode(image)
    size = embedding.source_size
    maps = [
        word_probability(answer, model.confidence, size)
        for start in range(0, len(words), WORDS_AT_ONCE)
        for answer in model.answer(embedding, words[start : start + WORDS_AT_ONCE])
    ]
    return torch.stack(maps)


def word_probability(answer: Sam3Answer, confidence: float, size: tuple[int, int]) -> Tensor:
    """Return the probability that each pixel shows what a word names, (H, W) float32.

    It is the greater of the semantic map and of every object's mask times its score, times the
    presence of the word. The score of an object already holds the presence (SegEarth-OV3).

    Args:
        answer: What SAM 3 says about the word.
        confidence: Objects with this score or a lower one are left out.
        size: (H, W).
    """
    best = resize_bilinear(answer.semantic[None, None], size)[0, 0].sigmoid()
    scores = answer.candidates * answer.presence
    for index in torch.nonzero(scores > confidence)[:, 0].tolist():
        mask = resize_bilinear(answer.logits[None, index : index + 1], size)[0, 0].sigmoid()
        best = torch.maximum(best, mask * scores[index])
    return best * answer.presence
