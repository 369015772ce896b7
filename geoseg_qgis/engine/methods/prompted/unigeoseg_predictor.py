"""UniGeoSeg answers points and boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.methods.referring.unigeoseg import Segmenter, TileEmbedding
from geoseg_qgis.engine.methods.referring.unigeoseg.letterbox import Letterbox
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .predictions import Answer, in_halves
from .prompted_objects import ObjectPrompt

UNIGEOSEG_POINTS = 3
_LEAST_PROBABILITY = 1e-6


class UniGeoSegPredictor:
    """UniGeoSeg: one to three positive points, or a box; polygons and their like are boxes.

    The score is the mean probability of the mask.

    Args:
        segmenter: The network and its words.
    """

    line_points = UNIGEOSEG_POINTS
    inner_points = 0
    takes_negative = False
    wants_detail = False

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

    def read(self, pixels: NDArray[np.uint8]) -> TileEmbedding:
        """Read a tile with the vision tower."""
        return self._segmenter.embed(np.ascontiguousarray(pixels.transpose(1, 2, 0)))

    def answer(
        self, tile: TileEmbedding, objects: Sequence[ObjectPrompt]
    ) -> Iterator[tuple[ObjectPrompt, Answer]]:
        """Yield objects with their answers."""
        size = self._segmenter.batch_size
        for start in range(0, len(objects), size):
            batch = objects[start : start + size]
            yield from zip(batch, in_halves(batch, lambda part: self._ask(tile, part)))

    def _ask(self, tile: TileEmbedding, objects: Sequence[ObjectPrompt]) -> list[Answer]:
        letterbox: Letterbox = tile.letterbox
        requests = []
        for item in objects:
            points = None if item.areas else [(x, y) for x, y in item.positive.tolist()]
            request = self._segmenter.request(
                letterbox.height, letterbox.width, points=points, box=item.box
            )
            requests.append(request)
        return [
            Answer(_logits(result.probability), result.score)
            for result in self._segmenter.answer(tile, requests)
        ]


def _logits(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    share = np.clip(probability, _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
    return np.log(share / (1.0 - share)).astype(np.float32)
