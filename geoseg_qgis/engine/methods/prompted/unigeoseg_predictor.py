"""UniGeoSeg as a predictor of points and boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.methods.referring.unigeoseg import ImageEmbedding, Segmenter
from geoseg_qgis.engine.methods.referring.unigeoseg.letterbox import Letterbox
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .predictions import Prediction, in_halves
from .prompted_objects import ObjectPrompt

UNIGEOSEG_POINTS = 3
# Probabilities are clipped to this distance from 0 and 1, where logits are infinite.
_LEAST_PROBABILITY = 1e-6


class UniGeoSegPredictor:
    """UniGeoSeg: one to three positive points, or a box; a polygon counts as its bounding box.

    The score is the mean probability of the mask.

    Args:
        segmenter: The network.
    """

    line_points = UNIGEOSEG_POINTS
    inner_points = 0
    takes_negative = False
    finest_pixels = False

    def __init__(self, segmenter: Segmenter) -> None:
        self.tile = segmenter.side
        self._segmenter = segmenter

    @classmethod
    def check(cls, objects: Sequence[ObjectPrompt]) -> None:
        """Refuse negative prompts and more than three points an object."""
        negative = sum(not item.on_object.all() for item in objects)
        if negative:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"UniGeoSeg takes no negative prompts, as {negative} of {len(objects)} objects "
                "would need.",
                "Use the method sam2, which takes them, or leave the label field empty.",
            )
        crowded = sum(len(item.positive) > UNIGEOSEG_POINTS and not item.areas for item in objects)
        if crowded:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"UniGeoSeg takes up to {UNIGEOSEG_POINTS} points an object, not as many as "
                f"{crowded} of {len(objects)} objects have.",
                "Use the method sam2, or fewer points for each object.",
            )

    def encode(self, pixels: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode a tile of shape (3, side, side)."""
        return self._segmenter.embed(np.ascontiguousarray(pixels.transpose(1, 2, 0)))

    def predict(
        self, tile: ImageEmbedding, objects: Sequence[ObjectPrompt]
    ) -> Iterator[tuple[ObjectPrompt, Prediction]]:
        """Yield objects with their predictions."""
        size = self._segmenter.batch_size
        for start in range(0, len(objects), size):
            batch = objects[start : start + size]
            yield from zip(batch, in_halves(batch, lambda items: self._predict(tile, items)))

    def _predict(self, tile: ImageEmbedding, objects: Sequence[ObjectPrompt]) -> list[Prediction]:
        letterbox: Letterbox = tile.letterbox
        requests = []
        for item in objects:
            points = None if item.areas else [(x, y) for x, y in item.positive.tolist()]
            request = self._segmenter.request(
                letterbox.height, letterbox.width, points=points, box=item.box
            )
            requests.append(request)
        return [
            Prediction(_logits(mask.probability), mask.score)
            for mask in self._segmenter.predict(tile, requests)
        ]


def _logits(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    share = np.clip(probability, _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
    return np.log(share / (1.0 - share)).astype(np.float32)
