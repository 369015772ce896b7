"""Tiles in the published folder layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from training.segassess.published_datasets import (
    PROFILES,
    DatasetLayoutError,
    QualityTiles,
    list_samples,
)


def write_image(path: Path, values: NDArray[np.uint8], driver: str = "GTiff") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = values.shape
    with rasterio.open(
        path, "w", driver=driver, count=bands, height=height, width=width, dtype="uint8"
    ) as target:
        target.write(values)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_published_folders(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (3, 32, 32), dtype=np.uint8)
    truth = (generator.random((1, 32, 32)) < 0.5).astype(np.uint8) * 255
    valid = tmp_path / "valid"
    write_image(valid / "image" / "b.tif", image)
    write_image(valid / "image" / "a.jpg", np.full((3, 32, 32), 128, np.uint8), "JPEG")
    write_image(valid / "binary_map" / "b.tif", truth)
    write_image(valid / "binary_map" / "a.mask.tif", truth)
    write_image(valid / "seg_preds" / "ocrnet" / "a.tif", 255 - truth)
    write_image(valid / "seg_preds" / "ocrnet" / "b.tif", 255 - truth)
    samples = list_samples(tmp_path, "valid", "ocrnet")
    assert [sample.image.name for sample in samples] == ["a.jpg", "b.tif"]
    tiles = QualityTiles(samples, 32)
    assert len(tiles) == 2
    torch.testing.assert_close(tiles[1]["image"], torch.from_numpy(image).float() / 255)
    assert torch.equal(tiles[1]["truth"] + tiles[1]["mask"], torch.ones(1, 32, 32))
    with pytest.raises(DatasetLayoutError, match="Cut all tiles to"):
        QualityTiles(samples, 64)[0]
    with pytest.raises(DatasetLayoutError, match=r"a\.mask\.tif has no unchecked label"):
        list_samples(tmp_path, "valid", "raw")
    write_image(valid / "label_checked" / "b.tif", truth)
    write_image(valid / "label_uncheck" / "b.tif", truth)
    (checked,) = list_samples(tmp_path, "valid", "raw")
    assert checked.truth.parent.name == "label_checked"
    assert checked.mask == valid / "label_uncheck" / "b.tif"
    with pytest.raises(DatasetLayoutError, match="has no truth"):
        list_samples(tmp_path, "train")
    (tmp_path / "train" / "binary_map").mkdir(parents=True)
    with pytest.raises(DatasetLayoutError, match="is empty"):
        list_samples(tmp_path, "train")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_unusable_images_are_refused(tmp_path: Path) -> None:
    grey, broken = tmp_path / "train" / "image" / "g.tif", tmp_path / "train" / "image" / "x.tif"
    for name in ("g.tif", "x.tif"):
        write_image(tmp_path / "train" / "binary_map" / name, np.ones((1, 16, 16), np.uint8))
    write_image(grey, np.ones((1, 16, 16), np.uint8))
    broken.write_bytes(b"broken")
    tiles = QualityTiles(list_samples(tmp_path, "train"), 16)
    with pytest.raises(DatasetLayoutError, match="no 8-bit RGB image"):
        tiles[0]
    with pytest.raises(DatasetLayoutError, match="cannot be read"):
        tiles[1]


def test_profiles() -> None:
    sizes = {name: profile.tile_size for name, profile in PROFILES.items()}
    assert sizes == {
        "Inria": 320, "CrowdAI": 300, "DeepGlobe": 512, "GID": 512, "BAQS": 512, "WAQS": 512,
    }  # fmt: skip
    assert PROFILES["DeepGlobe"].threshold == 0.4
