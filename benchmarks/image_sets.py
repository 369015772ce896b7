"""Labelled images that no built-in model was trained on, and the classes to map on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray

from training.datasets import SOURCES
from training.generated import class_surfaces
from training.land_cover import BIT, all_but, partial_label
from training.scenes import generate_scene
from training.scenes.drawn_scene import DrawnScene
from training.scenes.legend import class_ids
from training.unseen import unseen_labels

GENERATED_SEED = 5_000_000
GENERATED_SIDE = 320
_REST = "bare land, road, vegetation, background"


@dataclass(frozen=True)
class Question:
    """Classes to map and the land cover that each stands for; the last class is for the rest.

    Attributes:
        name: Name of the set in the table.
        classes: Class text.
        land_cover: Bit mask of the land cover of each class.
        scored: How many of the first classes are scored.
    """

    name: str
    classes: str
    land_cover: tuple[int, ...]
    scored: int


@dataclass(frozen=True)
class BenchmarkImage:
    """An image file and its partial labels, (H, W) int32 bit masks."""

    path: Path
    labels: torch.Tensor


LAND_COVER = Question(
    "Dubai, five classes",
    "building, roof, house; bare land, soil, sand; road, street; vegetation, tree, grass; water",
    (
        BIT["building"],
        BIT["land"],
        partial_label("road", "car"),
        partial_label("tree", "grass", "field"),
        BIT["water"],
    ),
    5,
)
REAL: dict[str, Question] = {
    "dubai_landcover": LAND_COVER,
    "oam_buildings": Question(
        "OpenAerialMap, buildings",
        f"building, roof, house; {_REST}",
        (BIT["building"], all_but("building")),
        1,
    ),
    "spacenet_linz_buildings": Question(
        "SpaceNet and LINZ, buildings",
        f"building, roof, house; {_REST}",
        (BIT["building"], all_but("building")),
        1,
    ),
    "mass_roads": Question(
        "Massachusetts, roads",
        "road, street; building, vegetation, bare land, water, background",
        (partial_label("road", "car"), all_but("road", "car")),
        1,
    ),
    "neon_tree_boxes": Question(
        "NEON, crown pixels called tree",
        "tree, forest; grass, bare land, background",
        (BIT["tree"], all_but("tree")),
        1,
    ),
    "aerial_cars": Question(
        "KIT and Minsk, cars",
        "car, vehicle; road, building, vegetation, bare land, background",
        (BIT["car"], all_but("car")),
        1,
    ),
}
GENERATED = Question(
    "Generated scenes, seven classes",
    "building, roof, house; road, street; tree, forest; grass; field; water; bare soil, sand",
    tuple(BIT[name] for name in ("building", "road", "tree", "grass", "field", "water", "land")),
    7,
)


Pick = Callable[[DrawnScene], NDArray[np.bool_]]


def _of_class(*names: str) -> Pick:
    return lambda scene: np.isin(scene.classes, class_ids(*names))


def _of_roof(colour: str) -> Pick:
    def pick(scene: DrawnScene) -> NDArray[np.bool_]:
        roofs = [
            building.instance
            for building in scene.objects
            if building.class_name == "building" and building.colour == colour
        ]
        return np.isin(scene.instances, roofs)

    return pick


WORDS: dict[str, Pick] = {
    "red roof": _of_roof("red"),
    "swimming pool": _of_class("swimming pool"),
    "asphalt": _of_class("road", "parking lot"),
    "lawn": _of_class("grass"),
    "forest": _of_class("forest"),
    "lake": _of_class("lake"),
    "sand": _of_class("sand"),
}
OTHER_WORDS = {
    "red roof": "grey roof, white roof, blue roof; road; grass, tree; bare land; water",
    "swimming pool": "building; road; grass, tree; bare land; car",
    "asphalt": "building; grass, tree; bare land; water; car",
    "lawn": "building; road; tree; bare land; water",
    "forest": "building; road; grass, field; bare land; water",
    "lake": "building; road; grass, tree; bare land",
    "sand": "building; road; grass, tree; water",
}
"""The other classes of the run for each word."""


def scenes_with(
    pick: Pick, folder: Path, count: int, share: float = 0.002
) -> Iterator[tuple[Path, NDArray[np.bool_]]]:
    """Yield ``count`` scenes of which ``pick`` covers at least ``share``, with its mask."""
    found = 0
    for number in range(20 * count):
        scene, size = _drawn(GENERATED_SEED + number)
        truth = pick(scene)
        if truth.mean() < share:
            continue
        path = folder / "word.tif"
        _write(path, scene, size)
        yield path, truth
        found += 1
        if found == count:
            return


def real_images(data: Path, dataset: str, limit: int | None) -> Iterator[BenchmarkImage]:
    """Yield the validation images of a set with their labels."""
    split = json.loads((data / "splits.json").read_text())[dataset]
    folder = data / dataset / "images"
    trained = [folder / file for file in split["train"]]
    for path in [folder / file for file in split["validation"][:limit]]:
        labels = _road_labels(path) if dataset == "mass_roads" else SOURCES[dataset].read(path)[1]
        yield BenchmarkImage(path, torch.from_numpy(unseen_labels(path, labels, trained)))


def _road_labels(path: Path) -> NDArray[np.int32]:
    with rasterio.open(path.parent.parent / "labels" / f"{path.stem}.png") as source:
        road = source.read(1) > 127
    labels = np.where(road, partial_label("road", "car"), all_but("road", "car"))
    return labels.astype(np.int32)


def drawn_images(folder: Path, count: int) -> Iterator[BenchmarkImage]:
    """Yield generated scenes that no training used, as GeoTIFFs in ``folder``."""
    surfaces = class_surfaces()
    for number in range(count):
        scene, size = _drawn(GENERATED_SEED + number)
        path = folder / f"scene-{number:04d}.tif"
        _write(path, scene, size)
        yield BenchmarkImage(path, torch.from_numpy(surfaces[scene.classes]))


def _drawn(seed: int) -> tuple[DrawnScene, float]:
    size = float(np.exp(np.random.default_rng(seed).uniform(np.log(0.2), np.log(0.7))))
    return generate_scene(seed, GENERATED_SIDE, size), size


def _write(path: Path, scene: DrawnScene, size: float) -> None:
    profile = {
        "driver": "GTiff",
        "width": GENERATED_SIDE,
        "height": GENERATED_SIDE,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(size, 0, 4e5, 0, -size, 5.8e6),
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(scene.image.transpose(2, 0, 1))
