"""Fixtures of prompts: a generated scene as a raster, and tiny random networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
import tiny_models
from numpy.typing import NDArray
from prompt_cases import Houses, write_image, write_tiny_preset
from scipy import ndimage

from training.scenes.drawn_scene import generate_scene


@pytest.fixture(scope="session")
def houses() -> Houses:
    """The buildings of a generated suburb of 480 x 480 pixels that lie off its edges."""
    scene = generate_scene(seed=1001, size=480, kind="suburb")
    found = [
        item
        for item in scene.objects
        if item.class_name == "building"
        and min(item.bounds[:2]) > 2
        and max(item.bounds[2:]) < 478
        and (scene.instances == item.instance).sum() > 400
    ]
    masks = [scene.instances == item.instance for item in found]
    boxes = np.array([shapely.box(*item.bounds) for item in found], dtype=object)
    return Houses(scene.image, masks, boxes, np.array([_deepest(m) for m in masks], dtype=object))


def _deepest(mask: NDArray[np.bool_]) -> shapely.Point:
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return shapely.Point(column + 0.5, row + 0.5)


@pytest.fixture(scope="session")
def suburb(houses: Houses, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene as a north-up raster with pixels of 0.2 m."""
    return write_image(tmp_path_factory.mktemp("suburb") / "suburb.tif", houses.pixels)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A preset of a tiny random SAM 2."""
    return str(write_tiny_preset(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="session")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smooth random picture of 300 x 260 pixels of 0.2 m."""
    folder = tmp_path_factory.mktemp("landscape")
    return write_image(folder / "landscape.tif", tiny_models.landscape(260, 300))
