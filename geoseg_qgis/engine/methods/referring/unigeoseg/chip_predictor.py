"""Windows of a raster as chips that the network encodes once for any number of requests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.chips import Chip, ChipReader
from geoseg_qgis.engine.inference.journal import Stage
from geoseg_qgis.engine.models.oom_fallback import OutOfMemoryFallback, Work
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid

from .segmenter import ImageEmbedding, MaskPrediction, Segmenter

BAND_ROWS = 32


class EncodedChip(NamedTuple):
    """A chip that the network has encoded."""

    embedding: ImageEmbedding
    valid: NDArray[np.bool_]
    """(H, W), False on nodata."""


class ChipPredictor:
    """Reads and encodes chips, and predicts masks on them.

    Args:
        reader: Reads the raster.
        segmenter: The network.
        fallback: What to do when the device's memory runs out.

    Attributes:
        segmenter: The network.
        chips: Number of chips encoded so far, by this run or the one that it continues.
    """

    def __init__(
        self, reader: ChipReader, segmenter: Segmenter, fallback: OutOfMemoryFallback | None = None
    ) -> None:
        self._reader = reader
        self.segmenter = segmenter
        self.chips = 0
        self._fallback = fallback or OutOfMemoryFallback()

    @property
    def side(self) -> int:
        """Side of the network's square in pixels."""
        return self.segmenter.side

    def encode(self, grid: Grid, progress: Progress | None = None) -> EncodedChip | None:
        """Read and encode a whole grid; None when none of its pixels holds data.

        Args:
            grid: The pixels that the network is to see.
            progress: Called with the share of rows read; for grids over a large extent.

        Raises:
            JobError: ``OUT_OF_MEMORY``, or whatever ``progress`` raises.
        """
        chip = self._read(grid, progress)
        if not chip.valid.any():
            return None
        image = np.ascontiguousarray(chip.pixels.transpose(1, 2, 0))
        work: Work[NDArray[np.uint8], ImageEmbedding] = Work(
            lambda images: [self.segmenter.embed(each) for each in images], "One chip of the image"
        )
        embedding = self._fallback.run(work, [image])[0]
        self.chips += 1
        return EncodedChip(embedding, chip.valid)

    def predict(self, chip: EncodedChip, requests: Sequence[Request]) -> list[MaskPrediction]:
        """Predict the masks of requests about one chip, in smaller batches if memory runs out.

        Raises:
            JobError: ``OUT_OF_MEMORY`` when not even one request fits.
        """
        work: Work[Request, MaskPrediction] = Work(
            lambda batch: list(self.segmenter.predict(chip.embedding, batch)), "One request"
        )
        self._fallback.batch = self._fallback.batch or self.segmenter.batch_size
        return self._fallback.run(work, requests)

    def probabilities(
        self,
        stage: Stage,
        grid: Grid,
        requests: Sequence[Request],
        fill: float,
        progress: Progress | None = None,
    ) -> NDArray[np.float32] | None:
        """Return the probabilities of requests on a grid, (n, h, w); None without any data.

        Args:
            stage: Keeps them.
            grid: The pixels that the network is to see.
            requests: What is asked of them.
            fill: Probability of pixels without data.
            progress: Called with the share of rows read; for grids over a large extent.

        Raises:
            JobError: ``OUT_OF_MEMORY``, or whatever ``progress`` raises.
        """
        before = self.chips
        found = stage.recall(
            _key(grid, requests), lambda: self._ask(grid, requests, fill, progress)
        )
        # Chips of the run that is continued count as well.
        self.chips = before + len(found)
        return found[0] if found else None

    def _ask(
        self, grid: Grid, requests: Sequence[Request], fill: float, progress: Progress | None
    ) -> list[NDArray[np.float32]]:
        chip = self.encode(grid, progress)
        if chip is None:
            return []
        return [
            np.stack(
                [
                    np.where(chip.valid, prediction.probability, np.float32(fill))
                    for prediction in self.predict(chip, requests)
                ]
            )
        ]

    def _read(self, grid: Grid, progress: Progress | None) -> Chip:
        pixels = np.zeros((3, grid.height, grid.width), np.uint8)
        valid = np.zeros(grid.shape, np.bool_)
        step = grid.height if progress is None else BAND_ROWS
        for top in range(0, grid.height, step):
            rows = min(step, grid.height - top)
            band = self._reader.read(grid, Window(0, top, grid.width, rows))
            if band is not None:
                pixels[:, top : top + rows] = band.pixels
                valid[top : top + rows] = band.valid
            if progress is not None:
                progress((top + rows) / grid.height)
        return Chip(pixels, valid)


def _key(grid: Grid, requests: Sequence[Request]) -> str:
    asked = [
        (
            tuple(request.instruction_ids),
            request.task.name,
            None if request.coordinates is None else request.coordinates.tolist(),
        )
        for request in requests
    ]
    return hashlib.sha256(repr((grid.transform, grid.shape, asked)).encode()).hexdigest()[:20]
