"""UniGeoSeg on arrays: an image and a request in, a mask probability on the image's pixels out.

Example:
    >>> segmenter = Segmenter.load(folder, torch.device("cpu"))
    >>> embedding = segmenter.embed(image)
    >>> segmenter.segment(embedding, instruction="the white plane next to the runway").score
    >>> segmenter.segment(embedding, points=[(120.0, 80.5)]).mask()
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg_qgis.engine.models.device import default_dtype
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.unigeoseg.checkpoint import Checkpoint, load_checkpoint
from geoseg_qgis.engine.models.unigeoseg.coordinates import replace_points
from geoseg_qgis.engine.models.unigeoseg.inference import EncodedImage, ImagePredictor
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, encode_template
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .letterbox import Letterbox, normalise
from .requests import TaskChoice, box_request, instruction_request, points_request

DEFAULT_BATCH = 8
_EPSILON = 1e-6


class ImageEmbedding(NamedTuple):
    """An encoded image, shared by all requests about it."""

    letterbox: Letterbox
    image: EncodedImage


@dataclasses.dataclass(frozen=True)
class MaskPrediction:
    """The prediction for one request.

    Attributes:
        probability: (H, W) float32 on the image's pixels, 0..1.
        score: Mean probability of the foreground, 0 for an empty mask.
        task: How the request was read.
    """

    probability: NDArray[np.float32]
    score: float
    task: Task

    def mask(self, threshold: float = 0.5) -> NDArray[np.bool_]:
        """Return the pixels above a probability (H, W); 0.5 is the network's own decision."""
        return self.probability > np.float32(threshold)


class Segmenter:
    """A loaded checkpoint that predicts masks.

    Args:
        checkpoint: Network and tokenizer, on the device to use.
        batch_size: Requests in a batch.

    Attributes:
        side: Side of the network's square in pixels.
    """

    def __init__(self, checkpoint: Checkpoint, batch_size: int = DEFAULT_BATCH) -> None:
        self.tokenizer = checkpoint.tokenizer
        self.batch_size = batch_size
        config = checkpoint.model.config
        self.side = config.vision.image_size
        # Networks with positions read coordinates as fractions of the square. How published
        # networks were taught to read them in images that are not square is not known.
        self._reads_square = config.segmentation.position_frequencies > 0
        dialogue = encode_template(UNIFIED, self.tokenizer)
        self._predictor = ImagePredictor(checkpoint.model, dialogue)

    @classmethod
    def load(cls, folder: Path, device: torch.device, batch_size: int = DEFAULT_BATCH) -> Segmenter:
        """Load a checkpoint folder in the precision that suits the device.

        Raises:
            JobError: A file is missing or damaged, or the weights do not fit the network.
        """
        return cls(load_checkpoint(folder, device, default_dtype(device, "unigeoseg")), batch_size)

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode an image once for any number of requests.

        Args:
            image: (H, W, 3) uint8, RGB.

        Raises:
            JobError: The array is not an RGB image of bytes.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"A tile of shape {image.shape} and type {image.dtype} is not an RGB image.",
                "Choose three bands and a stretch to 8 bits.",
            )
        letterbox = Letterbox(image.shape[0], image.shape[1], self.side)
        pixels = normalise(letterbox.place_image(image))
        return ImageEmbedding(letterbox, self._predictor.encode_image(pixels))

    def segment(
        self,
        image: NDArray[np.uint8] | ImageEmbedding,
        *,
        instruction: str | None = None,
        points: Sequence[tuple[float, float]] | None = None,
        box: tuple[float, float, float, float] | None = None,
        task: TaskChoice = "auto",
    ) -> MaskPrediction:
        """Predict the mask of an instruction, of points or of a box.

        Args:
            image: (H, W, 3) uint8, or an encoded image.
            instruction: What to map, in words.
            points: One to three (column, row) in pixels of the image, all on the same object.
            box: Least column, least row, greatest column, greatest row in pixels.
            task: How to read the words, see `requests.choose_task`.

        Raises:
            JobError: Not exactly one request, or one that the network cannot read.
        """
        embedding = image if isinstance(image, ImageEmbedding) else self.embed(image)
        request = self.request(
            embedding.letterbox.height,
            embedding.letterbox.width,
            instruction=instruction,
            points=points,
            box=box,
            task=task,
        )
        return next(self.predict(embedding, [request]))

    def request(
        self,
        height: int,
        width: int,
        *,
        instruction: str | None = None,
        points: Sequence[tuple[float, float]] | None = None,
        box: tuple[float, float, float, float] | None = None,
        task: TaskChoice = "auto",
    ) -> Request:
        """Check a request about an image of ``height`` x ``width`` pixels; see `segment`."""
        if sum(given is not None for given in (instruction, points, box)) != 1:
            raise JobError(
                ErrorCode.INVALID_JOB,
                "A request is either words, or points, or a box.",
                "Give exactly one of them.",
            )
        square = Letterbox(height, width, self.side) if self._reads_square else None
        if points is not None:
            return points_request(points, height, width, self.tokenizer, square)
        if box is not None:
            return box_request(box, height, width, self.tokenizer, square)
        words = instruction or ""
        if square is not None and height != width:
            words = replace_points(words, lambda x, y: square.fractions_of(x * width, y * height))
        request = instruction_request(words, self.tokenizer, task)
        longest = self._predictor.longest_instruction
        if len(request.instruction_ids) > longest:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"The instruction takes {len(request.instruction_ids)} word pieces; "
                f"the model reads {longest}.",
                "Shorten the instruction.",
            )
        return request

    def predict(
        self, image: ImageEmbedding, requests: Sequence[Request]
    ) -> Iterator[MaskPrediction]:
        """Yield the predictions for requests about one image, in order, a batch at a time."""
        for start in range(0, len(requests), self.batch_size):
            batch = requests[start : start + self.batch_size]
            logits = self._predictor.predict(image.image, batch)
            for request, row in zip(batch, logits, strict=True):
                yield _prediction(image.letterbox.restore(row[None])[0], request.task)


def preset_segmenter(preset: LoadedPreset) -> Segmenter:
    """Return the segmenter of a preset, kept with the preset's networks.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    checkpoint = preset.unigeoseg
    return preset.keep("unigeoseg_segmenter", lambda: Segmenter(checkpoint))


@torch.inference_mode()
def _prediction(logits: Tensor, task: Task) -> MaskPrediction:
    probability = logits.sigmoid()
    foreground = logits > 0
    score = probability[foreground].sum() / (foreground.sum() + _EPSILON)
    return MaskPrediction(probability.cpu().numpy(), float(score), task)
