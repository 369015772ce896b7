from pathlib import Path

import numpy as np
import rasterio

from training.land_cover import BIT
from training.unseen import unseen_labels


def write_image(path: Path, left: float, top: float, epsg: int | None = 32633) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", width=40, height=30, count=1, dtype="uint8",
        transform=rasterio.Affine(2.0, 0, left, 0, -2.0, top),
        crs=None if epsg is None else f"EPSG:{epsg}",
    ) as image:  # fmt: skip
        image.write(np.ones((1, 30, 40), np.uint8))
    return path


def test_ground_of_training_images_is_unknown(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.tif", 500000, 5600000)
    corner = write_image(tmp_path / "b.tif", 500060, 5600050)
    neighbour = write_image(tmp_path / "c.tif", 500080, 5600000)
    elsewhere = write_image(tmp_path / "d.tif", 500000, 5600000, 32632)
    labels = np.full((30, 40), BIT["water"], np.int32)
    found = unseen_labels(image, labels, [corner, neighbour, elsewhere])
    expected = labels.copy()
    expected[:5, 30:] = 0
    assert np.array_equal(found, expected)
    assert (labels == BIT["water"]).all()


def test_a_repeated_image_without_coordinates_tells_nothing(tmp_path: Path) -> None:
    image = write_image(tmp_path / "kit_street_MOS171.tif", 0, 0, None)
    same = write_image(tmp_path / "kit_street_MOS163.tif", 0, 0, None)
    other = write_image(tmp_path / "kit_street_MOS155.tif", 0, 0, None)
    labels = np.full((30, 40), BIT["car"], np.int32)
    assert not unseen_labels(image, labels, [same]).any()
    assert np.array_equal(unseen_labels(image, labels, [other]), labels)
