"""Scene files: georeferenced, tiled, with the pixels of the scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

from training.scenes import generate_scene, write_scene


def test_picture_and_classes_lie_on_the_map(tmp_path: Path):
    path = write_scene(tmp_path / "scene.tif", 4, 300, 0.5, "village", classes=True)
    scene = generate_scene(4, 300, 0.5, "village")
    with rasterio.open(path) as picture, rasterio.open(tmp_path / "scene_classes.tif") as classes:
        assert picture.crs.to_epsg() == 32633
        assert picture.transform == classes.transform == scene.transform
        assert picture.res == (0.5, 0.5)
        assert picture.profile["tiled"]
        assert np.array_equal(picture.read().transpose(1, 2, 0), scene.image)
        assert np.array_equal(classes.read(1), scene.classes)
        assert classes.tags()["CLASSES"].split(";") == list(scene.class_names)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scene.tif", "scene_classes.tif"]


def test_near_infrared_is_bright_on_plants_and_dark_on_water(tmp_path: Path):
    path = write_scene(tmp_path / "scene.tif", 2, 200, 0.6, "riverside", bands="rgbn", depth=16)
    scene = generate_scene(2, 200, 0.6, "riverside")
    with rasterio.open(path) as dataset:
        assert dataset.dtypes == ("uint16",) * 4
        red, infrared = dataset.read(1).astype(float), dataset.read(4).astype(float)
    index = (infrared - red) / (infrared + red)
    plants = index[scene.class_mask("grass", "tree")].mean()
    water = index[scene.class_mask("river")].mean()
    assert plants > 0.15
    assert water < 0


def test_grey_band(tmp_path: Path):
    path = write_scene(tmp_path / "scene.tif", 2, 64, 0.6, "park", bands="grey")
    with rasterio.open(path) as dataset:
        assert dataset.count == 1
        assert dataset.read(1).std() > 5
