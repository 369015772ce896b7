"""A segmenter that can be computed by hand: it goes by colour where UniGeoSeg goes by words.

It stands in for trained weights in tests of the ways over a raster. Every instruction asks for what
is red, and a box for the red objects in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from geoseg_qgis.engine.methods.referring.unigeoseg import (
    ImageEmbedding,
    Letterbox,
    MaskPrediction,
    Segmenter,
)
from geoseg_qgis.engine.methods.referring.unigeoseg.requests import box_request, instruction_request
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer

RED, GREEN = (220, 20, 20), (20, 120, 20)


class ColourSegmenter(Segmenter):
    """Predicts red pixels.

    Args:
        tokenizer: For the requests.
        side: Side of the square that an image is fitted into.
        only_largest: Whether an instruction asks for the largest red object of an image.
        requests_that_fit: More requests at once raise an out-of-memory error.
        blind_boxes: Whether boxes ask for what is not red.

    Attributes:
        images: Rows and columns of every encoded image.
        asked: All requests.
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
        self.images: list[tuple[int, int]] = []
        self.asked: list[Request] = []

    def request(self, height: int, width: int, **asked: Any) -> Request:
        """Check a request as the real one does."""
        if asked.get("box") is not None:
            return box_request(asked["box"], height, width, self.tokenizer)
        return instruction_request(asked["instruction"], self.tokenizer, asked.get("task", "auto"))

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding:
        """Keep the image as it is in the network's square."""
        letterbox = Letterbox(image.shape[0], image.shape[1], self.side)
        self.images.append(image.shape[:2])
        square: Any = letterbox.place_image(image)
        return ImageEmbedding(letterbox, square)

    def predict(
        self, image: ImageEmbedding, requests: Sequence[Request]
    ) -> Iterator[MaskPrediction]:
        """Yield logits of 4 on what is asked for and -4 elsewhere."""
        if len(requests) > self.requests_that_fit:
            raise torch.OutOfMemoryError
        square: Any = image.image
        red = square[..., 0].astype(int) - square[..., 1] > 100
        for request in requests:
            self.asked.append(request)
            logits = torch.from_numpy(np.where(self._meant(red, image, request), 4.0, -4.0))
            probability = image.letterbox.restore(logits[None])[0].sigmoid().numpy()
            yield MaskPrediction(probability, 0.98, request.task)

    def _meant(
        self, red: NDArray[np.bool_], image: ImageEmbedding, request: Request
    ) -> NDArray[np.bool_]:
        if request.task is Task.INTERACTIVE:
            assert request.coordinates is not None
            if self.blind_boxes:
                return ~red
            labels, _ = ndimage.label(red)
            boxed: NDArray[np.bool_] = np.isin(labels, np.unique(labels[self._box(image, request)]))
            return boxed & red
        if self.only_largest and red.any():
            labels, _ = ndimage.label(red)
            largest: NDArray[np.bool_] = labels == np.bincount(labels.ravel())[1:].argmax() + 1
            return largest
        return red

    def _box(self, image: ImageEmbedding, request: Request) -> tuple[slice, slice]:
        assert request.coordinates is not None
        x0, y0, x1, y1 = request.coordinates[0].tolist()
        (top, left), (height, width) = image.letterbox.offset, image.letterbox.fitted
        return (
            slice(top + round(y0 * height), top + max(round(y1 * height), 1)),
            slice(left + round(x0 * width), left + max(round(x1 * width), 1)),
        )
