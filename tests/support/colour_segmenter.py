"""A segmenter that can be computed by hand: it answers by colour where UniGeoSeg answers by words.

It stands in for trained weights where the ways over a raster are tested, not what a network finds.
Red is what every instruction means; a box means the red that lies in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from geoseg_qgis.engine.methods.referring.unigeoseg import (
    Letterbox,
    MaskResult,
    Segmenter,
    TileEmbedding,
)
from geoseg_qgis.engine.methods.referring.unigeoseg.prompts import box_request, instruction_request
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer

RED, GREEN = (220, 20, 20), (20, 120, 20)


class ColourSegmenter(Segmenter):
    """Answers instructions with red pixels.

    Args:
        tokenizer: For the requests.
        side: Side of the square that a tile is fitted into.
        only_largest: Whether an instruction means the largest red thing of a view.
        requests_that_fit: More requests at once raise an out-of-memory error.
        blind_boxes: Whether boxes are answered with what is not red.
    """

    def __init__(
        self,
        tokenizer: ByteTokenizer,
        side: int = 64,
        *,
        only_largest: bool = False,
        requests_that_fit: int = 100,
        blind_boxes: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.batch_size = 8
        self.side = side
        self.only_largest = only_largest
        self.requests_that_fit = requests_that_fit
        self.blind_boxes = blind_boxes
        self.views: list[tuple[int, int]] = []
        self.asked: list[Request] = []

    def request(self, height: int, width: int, **asked: Any) -> Request:
        """Check a request as the real one does."""
        if asked.get("box") is not None:
            return box_request(asked["box"], height, width, self.tokenizer)
        return instruction_request(asked["instruction"], self.tokenizer, asked.get("task", "auto"))

    def embed(self, image: NDArray[np.uint8]) -> TileEmbedding:
        """Keep the tile as the network's square shows it."""
        letterbox = Letterbox(image.shape[0], image.shape[1], self.side)
        self.views.append(image.shape[:2])
        square: Any = letterbox.place_image(image)
        return TileEmbedding(letterbox, square)

    def answer(self, tile: TileEmbedding, requests: Sequence[Request]) -> Iterator[MaskResult]:
        """Answer with logits of 4 on what is meant and -4 elsewhere."""
        if len(requests) > self.requests_that_fit:
            raise torch.OutOfMemoryError
        square: Any = tile.image
        red = square[..., 0].astype(int) - square[..., 1] > 100
        for request in requests:
            self.asked.append(request)
            logits = torch.from_numpy(np.where(self._meant(red, tile, request), 4.0, -4.0))
            probability = tile.letterbox.restore(logits[None])[0].sigmoid().numpy()
            yield MaskResult(probability, 0.98, request.task)

    def _meant(
        self, red: NDArray[np.bool_], tile: TileEmbedding, request: Request
    ) -> NDArray[np.bool_]:
        if request.task is Task.INTERACTIVE:
            assert request.coordinates is not None
            if self.blind_boxes:
                return ~red
            labels, _ = ndimage.label(red)
            boxed: NDArray[np.bool_] = np.isin(labels, np.unique(labels[self._box(tile, request)]))
            return boxed & red
        if self.only_largest and red.any():
            labels, _ = ndimage.label(red)
            largest: NDArray[np.bool_] = labels == np.bincount(labels.ravel())[1:].argmax() + 1
            return largest
        return red

    def _box(self, tile: TileEmbedding, request: Request) -> tuple[slice, slice]:
        assert request.coordinates is not None
        x0, y0, x1, y1 = request.coordinates[0].tolist()
        (top, left), (height, width) = tile.letterbox.offset, tile.letterbox.fitted
        return (
            slice(top + round(y0 * height), top + max(round(y1 * height), 1)),
            slice(left + round(x0 * width), left + max(round(x1 * width), 1)),
        )
