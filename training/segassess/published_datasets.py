"""Readers of the published folder layouts.

```
<root>/train/image/*            <root>/train/binary_map/*        truth, > 0 is object
<root>/valid/image/*            <root>/valid/binary_map/*        or label_checked/*
<root>/valid/seg_preds/<network>/<stem>.tif                      masks to judge
<root>/valid/label_uncheck/<file name of the truth>              masks to judge, source "raw"
```
The truth folder lists the samples; an image has the same name, or the same stem with ``.jpg``. A
stem ends at the first dot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError
from torch import Tensor
from torch.utils.data import Dataset

Split = Literal["train", "valid"]

RAW_SOURCE = "raw"
TRUTH_FOLDERS = ("label_checked", "binary_map")


@dataclass(frozen=True)
class DatasetProfile:
    """Facts about a published data set.

    Attributes:
        object_type: What the masks show.
        tile_size: Side of the tiles, in pixels.
        threshold: Probability above which the mask-making networks say object.
        batch_size: Tiles a step in the published training, each with four views.
        epochs: Epochs of the published training, at most.
    """

    object_type: str
    tile_size: int
    threshold: float = 0.5
    batch_size: int = 24
    epochs: int = 150


PROFILES: Mapping[str, DatasetProfile] = {
    "Inria": DatasetProfile("building", 320, batch_size=64),
    "CrowdAI": DatasetProfile("building", 300, batch_size=64),
    "DeepGlobe": DatasetProfile("road", 512, threshold=0.4),
    "GID": DatasetProfile("water", 512, batch_size=32, epochs=36),
    "BAQS": DatasetProfile("building", 512),
    "WAQS": DatasetProfile("water", 512),
}


class DatasetLayoutError(Exception):
    """A data folder is not laid out as expected; the message says what to put where."""


@dataclass(frozen=True)
class Sample:
    """Files of one tile; the mask is absent where sources make it."""

    image: Path
    truth: Path
    mask: Path | None


def list_samples(root: Path, split: Split, mask_source: str | None = None) -> list[Sample]:
    """Find the tiles of a split, sorted by name.

    Args:
        root: Folder of the data set.
        split: ``train`` or ``valid``.
        mask_source: Network below ``seg_preds``, or ``raw`` for unchecked labels; None for none.

    Raises:
        DatasetLayoutError: A folder or a file is missing.
    """
    folder = root / split
    truth_folder = next((folder / name for name in TRUTH_FOLDERS if (folder / name).is_dir()), None)
    if truth_folder is None:
        raise DatasetLayoutError(
            f"{folder} has no truth. Put it into {folder / 'binary_map'} as image files."
        )
    truths = sorted(path for path in truth_folder.iterdir() if path.is_file())
    if not truths:
        raise DatasetLayoutError(f"{truth_folder} is empty. Put one truth image a tile into it.")
    return [
        Sample(_image(folder / "image", truth), truth, _mask(folder, truth, mask_source))
        for truth in truths
    ]


def stem(path: Path) -> str:
    """Return a file name up to its first dot."""
    return path.name.split(".", 1)[0]


def _image(folder: Path, truth: Path) -> Path:
    candidates = (folder / truth.name, folder / f"{stem(truth)}.jpg")
    return _existing(candidates, "image", truth)


def _mask(folder: Path, truth: Path, source: str | None) -> Path | None:
    if source is None:
        return None
    if source == RAW_SOURCE:
        return _existing((folder / "label_uncheck" / truth.name,), "unchecked label", truth)
    return _existing((folder / "seg_preds" / source / f"{stem(truth)}.tif",), "mask", truth)


def _existing(candidates: tuple[Path, ...], what: str, truth: Path) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    raise DatasetLayoutError(f"{truth.name} has no {what}. Put it at {candidates[0]}.")


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return the RGB bands of an 8-bit image, (3, H, W).

    Raises:
        DatasetLayoutError: The file is unreadable, not 8-bit or has less than three bands.
    """
    try:
        with rasterio.open(path) as source:
            if source.count < 3 or source.dtypes[0] != "uint8":
                raise DatasetLayoutError(f"{path} is no 8-bit RGB image. Convert it first.")
            pixels: NDArray[np.uint8] = source.read((1, 2, 3))
    except RasterioIOError as error:
        raise DatasetLayoutError(f"{path} cannot be read. Replace the file.") from error
    return pixels


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Return where the first band of an image is above zero, (H, W).

    Raises:
        DatasetLayoutError: The file is unreadable.
    """
    try:
        with rasterio.open(path) as source:
            return np.asarray(source.read(1) > 0)
    except RasterioIOError as error:
        raise DatasetLayoutError(f"{path} cannot be read. Replace the file.") from error


class QualityTiles(Dataset[dict[str, Tensor]]):
    """Tiles of one split: ``image`` (3, S, S) 0..1, ``truth`` and, if given, ``mask`` (1, S, S).

    Args:
        samples: From `list_samples`.
        tile_size: Side that every tile must have.
    """

    def __init__(self, samples: list[Sample], tile_size: int) -> None:
        self._samples = samples
        self._tile_size = tile_size

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sample = self._samples[index]
        image = read_image(sample.image).astype(np.float32) / 255
        tile = {"image": torch.from_numpy(image), "truth": self._layer(sample.truth)}
        if sample.mask is not None:
            tile["mask"] = self._layer(sample.mask)
        expected = (self._tile_size, self._tile_size)
        for name, values in tile.items():
            if tuple(values.shape[1:]) != expected:
                raise DatasetLayoutError(
                    f"The {name} of {sample.truth.name} is {tuple(values.shape[1:])} pixels. "
                    f"Cut all tiles to {expected}."
                )
        return tile

    @staticmethod
    def _layer(path: Path) -> Tensor:
        return torch.from_numpy(read_mask(path)[None].astype(np.float32))
