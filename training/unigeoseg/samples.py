"""Samples: an image, what is asked of it, and the mask and words that answer it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from torch import Tensor

from geoseg_qgis.engine.methods.referring.unigeoseg.letterbox import Letterbox, normalise
from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import (
    Tokenizer,
    encode_answer,
    encode_instruction,
)

_FOREGROUND = 255


class DataSetError(Exception):
    """A data set does not have its published layout.

    Args:
        message: One sentence on what is wrong.
        hint: One sentence on what to do.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message} {hint}")


@dataclasses.dataclass(frozen=True)
class Sample:
    """One sample in memory.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, 1 on the answer.
        instruction: What is asked; coordinates inside are fractions of the image.
        answer: Words of the answer, may be empty.
        task: How the instruction is meant.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    instruction: str
    answer: str
    task: Task


class Record(Protocol):
    """A sample that is read when it is needed."""

    @property
    def task(self) -> Task:
        """How the instruction is meant."""

    def read(self) -> Sample:
        """Read the sample."""


@dataclasses.dataclass(frozen=True)
class FileRecord:
    """A sample whose image and mask are files."""

    image: Path
    mask: Path
    instruction: str
    answer: str
    task: Task

    def read(self) -> Sample:
        """Read both files.

        Raises:
            DataSetError: A file is missing or damaged, or the two differ in size.
        """
        image, mask = read_image(self.image), read_mask(self.mask)
        if image.shape[:2] != mask.shape:
            raise DataSetError(
                f"The mask {self.mask} does not have the size of its image.",
                "Download the data set again.",
            )
        return Sample(image, mask, self.instruction, self.answer, self.task)


class TrainingBatch(NamedTuple):
    """Samples ready for the network."""

    pixels: Tensor
    """(B, 3, S, S) float32, normalised."""
    targets: Tensor
    """(B, 1, S, S) uint8, 1 on the answer."""
    requests: list[Request]


def collate(samples: Sequence[Sample], tokenizer: Tokenizer, side: int) -> TrainingBatch:
    """Letterbox images and masks to ``side`` and encode the words."""
    pixels, targets, requests = [], [], []
    for sample in samples:
        letterbox = Letterbox(sample.image.shape[0], sample.image.shape[1], side)
        pixels.append(normalise(letterbox.place_image(sample.image)))
        targets.append(torch.from_numpy(letterbox.place_mask(sample.mask))[None, None])
        requests.append(
            Request(
                encode_instruction(sample.instruction, tokenizer),
                sample.task,
                parse_coordinates(sample.instruction),
                encode_answer(sample.answer, tokenizer),
            )
        )
    return TrainingBatch(torch.cat(pixels), torch.cat(targets), requests)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an 8-bit image as (H, W, 3); one band is repeated, a fourth is dropped."""
    bands = _read_bands(path)
    if bands.dtype != np.uint8:
        raise DataSetError(
            f"The image {path} has {bands.dtype} pixels.", "Convert it to 8 bits a band."
        )
    bands = bands[:3] if len(bands) >= 3 else np.repeat(bands[:1], 3, axis=0)
    image: NDArray[np.uint8] = np.ascontiguousarray(bands.transpose(1, 2, 0))
    return image


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read the first band of a mask, 255 or 1 being the answer: (H, W) of 0 and 1."""
    band = _read_bands(path)[0]
    mask: NDArray[np.uint8] = np.isin(band, (1, _FOREGROUND)).astype(np.uint8)
    return mask


def _read_bands(path: Path) -> NDArray[np.generic]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                bands: NDArray[np.generic] = source.read()
                return bands
    except RasterioIOError as error:
        raise DataSetError(
            f"The file {path} is missing or damaged.", "Download the data set again."
        ) from error
