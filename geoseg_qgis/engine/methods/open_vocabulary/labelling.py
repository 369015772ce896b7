"""From class probabilities to the final labels of a raster: threshold, region vote, confidence.

There are two passes over blocks of the output grid: the first labels pixels and counts the votes of
every region of the raster, the second gives each region its winner. No full raster is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.region_map import RegionMap
from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchArray, ScratchFolder
from geoseg_qgis.engine.raster.write import SCORE_NODATA, SCORE_STEPS

from .probabilities import ProbabilitySource


@dataclass(frozen=True)
class LabelBlock:
    """Final labels of one block.

    Attributes:
        window: Where on the output grid.
        labels: (h, w) uint8, 0 unclassified or nodata, classes from 1.
        confidence: (h, w) uint8, probability of the label in 0..254, 255 is nodata.
        scores: (C, h, w) uint8 like `confidence`, or None when not asked for.
    """

    window: Window
    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    scores: NDArray[np.uint8] | None


class RegionTally:
    """Votes and mean probabilities of every region of the raster.

    A region takes the label that most of its valid pixels have, the smallest one on ties
    (GUMix-RS, region correction); "unclassified" (0) votes, too.
    """

    def __init__(self, regions: int, classes: int) -> None:
        self._votes = np.zeros((classes + 1, regions + 1), dtype=np.int64)
        self._sums = np.zeros((classes, regions + 1), dtype=np.float64)

    def update(
        self,
        ids: NDArray[np.int32],
        labels: NDArray[np.uint8],
        probabilities: NDArray[np.float32],
    ) -> None:
        """Count pixels: (n,) ids and labels, (C, n) probabilities."""
        regions = self._votes.shape[1]
        for label in np.unique(labels):
            self._votes[label] += np.bincount(ids[labels == label], minlength=regions)
        for index, values in enumerate(probabilities):
            self._sums[index] += np.bincount(ids, weights=values, minlength=regions)

    def winners(self) -> NDArray[np.uint8]:
        """Return the label of each region id."""
        winners: NDArray[np.uint8] = self._votes.argmax(axis=0).astype(np.uint8)
        return winners

    def means(self) -> NDArray[np.float32]:
        """Return the (C, regions + 1) mean probabilities."""
        counts = np.maximum(self._votes.sum(axis=0), 1)
        means: NDArray[np.float32] = (self._sums / counts).astype(np.float32)
        return means


@dataclass(frozen=True)
class LabellingRules:
    """How probabilities become labels.

    Attributes:
        classes: Number of classes, that of the background prompts included.
        named: How many of them the user named, from the first; pixels of others stay unclassified.
        threshold: Pixels whose best probability is lower stay unclassified.
        keep_scores: Whether all class probabilities are kept, not only the best.
    """

    classes: int
    named: int
    threshold: float
    keep_scores: bool


class RasterLabelling:
    """Labels of a raster, first by pixel, then by region.

    Args:
        folder: Scratch folder.
        grid: Output grid.
        rules: See `LabellingRules`.

    Attributes:
        grid: As given.
        regions: Regions of the method or of the user, once pixels are labelled.
    """

    def __init__(self, folder: ScratchFolder, grid: Grid, rules: LabellingRules) -> None:
        self.grid = grid
        self._rules = rules
        bands = 2 + (rules.classes if rules.keep_scores else 0)
        self._bands = ScratchArray(
            folder, "labels", bands, grid.height, grid.width, np.dtype(np.uint8)
        )
        self._winners: NDArray[np.uint8] | None = None
        self._means: NDArray[np.float32] | None = None
        self.regions: RegionMap | None = None

    def label(
        self, source: ProbabilitySource, regions: RegionMap | None, progress: Progress
    ) -> None:
        """Label every pixel and count the votes of every region."""
        tally = None if regions is None else RegionTally(regions.count, self._rules.classes)
        windows = list(blocks(self.grid))
        for number, window in enumerate(windows):
            probabilities, known = source.read(window)
            labels, best = self._label_pixels(probabilities, known)
            self._write(window, labels, best, probabilities, known)
            if regions is not None and tally is not None:
                ids = regions.sample(self.grid.shape, window)
                voting = known.numpy() & (ids > 0)
                tally.update(ids[voting], labels[voting], probabilities.numpy()[:, voting])
            progress((number + 1) / len(windows))
        if tally is not None:
            self._winners, self._means, self.regions = tally.winners(), tally.means(), regions

    def _label_pixels(
        self, probabilities: Tensor, known: Tensor
    ) -> tuple[NDArray[np.uint8], Tensor]:
        best, index = probabilities.max(dim=0)
        labels = torch.where(known & (best >= self._rules.threshold), index + 1, 0)
        return labels.to(torch.uint8).numpy(), best

    def _write(
        self,
        window: Window,
        labels: NDArray[np.uint8],
        best: Tensor,
        probabilities: Tensor,
        known: Tensor,
    ) -> None:
        bands = [labels, quantise(best, known)]
        if self._rules.keep_scores:
            bands += list(quantise(probabilities, known))
        self._bands.write(window, np.stack(bands))

    def blocks(self) -> Iterator[LabelBlock]:
        """Yield the final labels block by block."""
        for window in blocks(self.grid):
            bands = self._bands.read(window)
            scores = bands[2:] if self._rules.keep_scores else None
            block = self._vote(LabelBlock(window, bands[0], bands[1], scores))
            named = block.labels <= self._rules.named
            yield replace(block, labels=np.where(named, block.labels, 0).astype(np.uint8))

    def _vote(self, block: LabelBlock) -> LabelBlock:
        if self.regions is None or self._winners is None or self._means is None:
            return block
        ids = self.regions.sample(self.grid.shape, block.window)
        voted = (ids > 0) & (block.confidence != SCORE_NODATA)
        means = quantise(torch.from_numpy(self._means), torch.ones(1, dtype=torch.bool))
        best = np.where(self._winners == 0, means.max(axis=0), _pick(means, self._winners))
        scores = block.scores
        if scores is not None:
            scores = np.where(voted[None], means[:, ids], scores)
        return LabelBlock(
            block.window,
            np.where(voted, self._winners[ids], block.labels),
            np.where(voted, best[ids], block.confidence),
            scores,
        )


def quantise(probabilities: Tensor, known: Tensor) -> NDArray[np.uint8]:
    """Return probabilities as 0..254, and 255 where they are unknown."""
    steps = (probabilities * SCORE_STEPS).round().clamp(0, SCORE_STEPS)
    return torch.where(known, steps, float(SCORE_NODATA)).to(torch.uint8).numpy()


def _pick(means: NDArray[np.uint8], winners: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows = np.maximum(winners.astype(np.intp) - 1, 0)
    picked: NDArray[np.uint8] = means[rows, np.arange(means.shape[1])]
    return picked
