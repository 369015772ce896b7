"""Looks at parts of a raster: read, shown to the network, asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.methods.dense import Progress
from geoseg_qgis.engine.methods.reading import Picture, PictureReader
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .segmenter import MaskResult, Segmenter, TileEmbedding

BAND_ROWS = 32

logger = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class Look(NamedTuple):
    """A part of the raster that the network has read."""

    embedding: TileEmbedding
    valid: NDArray[np.bool_]
    """(H, W), False on nodata."""


class Looker:
    """Reads windows and asks about them.

    Args:
        reader: Where pixels come from.
        segmenter: The network.

    Attributes:
        looks: How many windows the network has read.
    """

    def __init__(self, reader: PictureReader, segmenter: Segmenter) -> None:
        self._reader = reader
        self.segmenter = segmenter
        self.looks = 0

    @property
    def side(self) -> int:
        """Side of the network's square in pixels."""
        return self.segmenter.side

    def look(self, grid: Grid, progress: Progress | None = None) -> Look | None:
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
        embedding = _retried(lambda: self.segmenter.embed(image))
        self.looks += 1
        return Look(embedding, picture.valid)

    def ask(self, look: Look, requests: Sequence[Request]) -> list[MaskResult]:
        """Answer requests about one look, in halves when memory does not suffice.

        Raises:
            JobError: ``OUT_OF_MEMORY`` when not even one request fits.
        """
        if len(requests) <= 1:
            return _retried(lambda: list(self.segmenter.answer(look.embedding, requests)))
        try:
            return list(self.segmenter.answer(look.embedding, requests))
        except (torch.OutOfMemoryError, MemoryError):
            middle = len(requests) // 2
            self.segmenter.batch_size = middle
            logger.warning("Out of memory: %d requests at once from here on.", middle)
        _free_memory()
        return [
            answer
            for part in (requests[:middle], requests[middle:])
            for answer in self.ask(look, part)
        ]

    def _read(self, grid: Grid, progress: Progress | None) -> Picture:
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
        return Picture(pixels, valid)


def _retried(compute: Callable[[], _Answer]) -> _Answer:
    try:
        return compute()
    except (torch.OutOfMemoryError, MemoryError):
        logger.warning("Out of memory: trying once more with all that can be freed.")
    _free_memory()
    try:
        return compute()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise JobError(
            ErrorCode.OUT_OF_MEMORY,
            "One view of the image does not fit into the memory of the device.",
            "Choose a smaller model or the device cpu.",
            str(error),
        ) from error


def _free_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
