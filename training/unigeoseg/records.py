"""Records of published data sets: an image, an instruction, its mask and an answer in words."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from geoseg_qgis.engine.models.unigeoseg.tasks import Task

from .run_length import decode_segmentation

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
        mask: (H, W) uint8, 1 where the instruction applies.
        instruction: The instruction; coordinates inside are fractions of the image.
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


@dataclasses.dataclass(frozen=True)
class AnnotatedRecord:
    """A sample whose mask is an annotation of a COCO-style file."""

    image: Path
    segmentation: Any
    instruction: str
    task: Task = Task.REFERRING

    def read(self) -> Sample:
        """Read the image and draw the mask.

        Raises:
            DataSetError: The image is missing or damaged.
        """
        image = read_image(self.image)
        mask = decode_segmentation(self.segmentation, image.shape[0], image.shape[1])
        return Sample(image, np.minimum(mask, 1), self.instruction, "", self.task)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an 8-bit image as (H, W, 3); one band is repeated, a fourth is dropped.

    Raises:
        DataSetError: The file is missing or damaged, or its pixels have more than 8 bits.
    """
    bands = _read_bands(path)
    if bands.dtype != np.uint8:
        raise DataSetError(
            f"The image {path} has {bands.dtype} pixels.", "Convert it to 8 bits a band."
        )
    bands = bands[:3] if len(bands) >= 3 else np.repeat(bands[:1], 3, axis=0)
    image: NDArray[np.uint8] = np.ascontiguousarray(bands.transpose(1, 2, 0))
    return image


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read the first band of a mask whose foreground is 255 or 1: (H, W) of 0 and 1.

    Raises:
        DataSetError: The file is missing or damaged.
    """
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
