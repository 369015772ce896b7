"""Looks at parts of a raster: read, shown to the network, asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.chips import Chip, ChipReader
from geoseg_qgis.engine.models.oom_fallback import OutOfMemoryFallback, Work
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid

from .segmenter import MaskResult, Segmenter, TileEmbedding

BAND_ROWS = 32


class EncodedChip(NamedTuple):
    """A part of the raster that the network has read."""

    embedding: TileEmbedding
    valid: NDArray[np.bool_]
    """(H, W), False on nodata."""


class Looker:
    """Reads windows and asks about them.

    Args:
        reader: Where pixels come from.
        segmenter: The network.
        ladder: What is done when the device's memory runs out.

    Attributes:
        looks: How many windows the network has read.
    """

    def __init__(
        self, reader: ChipReader, segmenter: Segmenter, fallback: OutOfMemoryFallback | None = None
    ) -> None:
        self._reader = reader
        self.segmenter = segmenter
        self.looks = 0
        self._ladder = fallback or OutOfMemoryFallback()

    @property
    def side(self) -> int:
        """Side of the network's square in pixels."""
        return self.segmenter.side

    def look(self, grid: Grid, progress: Progress | None = None) -> EncodedChip | None:
        """Show a whole grid to the network; None when nothing of it holds data.

        Args:
            grid: The part, with the pixels that the network is to see.
            progress: Told the share of rows read, for grids over much ground.

        Raises:
            JobError: ``OUT_OF_MEMORY``, or whatever ``progress`` raises.
        """
        picture = self._read(grid, progress)
        if not picture.valid.any():
            return None
        image = np.ascontiguousarray(picture.pixels.transpose(1, 2, 0))
        view: Work[NDArray[np.uint8], TileEmbedding] = Work(
            lambda images: [self.segmenter.embed(each) for each in images], "One view of the image"
        )
        embedding = self._ladder.run(view, [image])[0]
        self.looks += 1
        return EncodedChip(embedding, picture.valid)

    def ask(self, look: EncodedChip, requests: Sequence[Request]) -> list[MaskResult]:
        """Answer requests about one look, in halves when memory does not suffice.

        Raises:
            JobError: ``OUT_OF_MEMORY`` when not even one request fits.
        """
        work: Work[Request, MaskResult] = Work(
            lambda part: list(self.segmenter.answer(look.embedding, part)), "One request"
        )
        self._ladder.batch = self._ladder.batch or self.segmenter.batch_size
        return self._ladder.run(work, requests)

    def _read(self, grid: Grid, progress: Progress | None) -> Chip:
        pixels = np.zeros((3, grid.height, grid.width), np.uint8)
        valid = np.zeros(grid.shape, np.bool_)
        step = grid.height if progress is None else BAND_ROWS
        for top in range(0, grid.height, step):
            rows = min(step, grid.height - top)
            picture = self._reader.read(grid, Window(0, top, grid.width, rows))
            if picture is not None:
                pixels[:, top : top + rows] = picture.pixels
                valid[top : top + rows] = picture.valid
            if progress is not None:
                progress((top + rows) / grid.height)
        return Chip(pixels, valid)
