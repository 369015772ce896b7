"""Reading the labelled images into memory as pixels and partial labels.

Only the sets below may train shipped weights (open licences with attribution); the split of the
data folder says which images belong to training and which to validation.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.features
import rasterio.warp
import torch

from .land_cover import ANY, BIT, UNKNOWN, all_but, partial_label
from .unseen import unseen_labels

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]

GREENNESS_OF_VEGETATION = 0.10
"""Excess green above which an otherwise unlabelled pixel may only be vegetation (weak label)."""
GREENNESS_OF_EARTH = -0.025
REDNESS_OF_EARTH = 0.07
"""Red minus blue, as a share of brightness, above which a pixel without green is only earth."""

VEGETATION = partial_label("tree", "grass", "field")
EARTH = partial_label("land", "road", "other")
CROWN_EDGE = partial_label("tree", "grass")
"""Label of the pixels where the outline of a crown may lie, because only its box is known."""

GENERATED = "generated"
GENERATED_SHARE = 0.8
"""Weight of drawn scenes beside the labelled images, whose weights sum to 1."""


class TrainingDataError(Exception):
    """The data folder lacks something that training needs."""


@dataclass(frozen=True)
class LabelledImage:
    """One image with its partial labels.

    Attributes:
        dataset: Name of the set.
        name: File stem.
        pixels: (3, H, W) uint8 RGB.
        labels: (H, W) int32 bit masks of possible land covers, 0 where unknown.
        zoom: Range of output pixels for each image pixel that keeps objects at useful sizes.
    """

    dataset: str
    name: str
    pixels: torch.Tensor
    labels: torch.Tensor
    zoom: tuple[float, float]


@dataclass(frozen=True)
class Source:
    """How one set is read.

    Attributes:
        attribution: Names the model card must carry.
        licence: Licence of images and labels.
        weight: Share of the training crops.
        read: Function from image path to pixels, labels and zoom range.
        guesses_vegetation: Whether vegetation is known by its colour alone, see `with_weak_labels`.
    """

    attribution: str
    licence: str
    weight: float
    read: Callable[[Path], tuple[Pixels, Labels, tuple[float, float]]]
    guesses_vegetation: bool = False


def _rgb(path: Path, bands: tuple[int, ...] = (1, 2, 3)) -> Pixels:
    with rasterio.open(path) as source:
        if source.count < 3:
            return _stretched(source.read(1))
        pixels: Pixels = source.read(bands)
        return pixels


def _stretched(band: npt.NDArray[np.uint16]) -> Pixels:
    low, high = np.percentile(band[band > 0], (2, 98))
    scaled = np.clip((band.astype(np.float32) - low) / (high - low) * 255, 0, 255)
    return np.repeat(scaled.astype(np.uint8)[None], 3, axis=0)


def _index(path: Path) -> npt.NDArray[np.uint8]:
    with rasterio.open(path) as source:
        band: npt.NDArray[np.uint8] = source.read(1)
        return band


def _legend(values: npt.NDArray[np.uint8], legend: dict[int, int]) -> Labels:
    table = np.full(256, UNKNOWN, np.int32)
    for value, mask in legend.items():
        table[value] = mask
    labels: Labels = table[values]
    return labels


def _label_path(image: Path, suffix: str) -> Path:
    return image.parent.parent / "labels" / f"{image.stem}{suffix}"


def with_weak_labels(pixels: Pixels, labels: Labels) -> Labels:
    """Narrow labels to vegetation where a pixel is clearly green, to earth where it is red.

    Roofs may be red, so only pixels whose labels exclude buildings can be earth.
    """
    red, green, blue = pixels.astype(np.float32)
    brightness = np.maximum(red + green + blue, 1)
    excess = (2 * green - red - blue) / brightness
    earthen = (excess < GREENNESS_OF_EARTH) & ((red - blue) / brightness > REDNESS_OF_EARTH)
    earthen &= (labels & BIT["building"]) == 0
    result: Labels = labels
    for seen, surfaces in ((excess > GREENNESS_OF_VEGETATION, VEGETATION), (earthen, EARTH)):
        narrowed = labels & surfaces
        result = np.where(seen & (labels != ANY) & (narrowed > 0), narrowed, result)
    return result


def _read_dubai(path: Path) -> tuple[Pixels, Labels, tuple[float, float]]:
    legend = {
        1: BIT["building"],
        2: BIT["land"],
        3: partial_label("road", "car"),
        4: VEGETATION,
        5: BIT["water"],
    }
    if path.stem.startswith("t6_"):
        legend[4] = UNKNOWN  # marsh and shallow water drawn as vegetation
    zoom = (0.5, 1.6) if path.stem.startswith(("t7_", "t8_")) else (0.65, 1.8)
    return _rgb(path), _legend(_index(_label_path(path, ".png")), legend), zoom


def _read_oam(path: Path) -> tuple[Pixels, Labels, tuple[float, float]]:
    pixels = _rgb(path)
    labels = _legend(
        _index(_label_path(path, ".png")), {255: BIT["building"], 0: all_but("building")}
    )
    coarse = path.stem.startswith(("nairobi", "zanzibar"))
    return pixels, with_weak_labels(pixels, labels), (0.25, 1.2) if coarse else (0.15, 0.8)


def _read_footprints(path: Path) -> tuple[Pixels, Labels, tuple[float, float]]:
    pixels = _rgb(path)
    raster = _label_path(path, ".png")
    if raster.exists():
        labels = _legend(_index(raster), {255: BIT["building"], 0: all_but("building")})
        return pixels, with_weak_labels(pixels, labels), (0.5, 2.0)
    road = _label_path(path, ".tif")
    if road.exists():
        labels = _legend(_index(road), {255: partial_label("road", "car"), 0: UNKNOWN})
        return pixels, labels, (0.5, 2.0)
    return pixels, _burned_buildings(path), (0.6, 2.0)


def _burned_buildings(path: Path) -> Labels:
    collection = json.loads(_label_path(path, ".geojson").read_text())
    crs = collection.get("crs", {}).get("properties", {}).get("name", "OGC:CRS84")
    with rasterio.open(path) as image:
        shapes = [
            rasterio.warp.transform_geom(crs.replace("::", ":"), image.crs, feature["geometry"])
            for feature in collection["features"]
        ]
        burned = rasterio.features.rasterize(
            shapes, out_shape=image.shape, transform=image.transform, default_value=255
        )
    return _legend(burned.astype(np.uint8), {255: BIT["building"], 0: all_but("building")})


def _read_korea(path: Path) -> tuple[Pixels, Labels, tuple[float, float]]:
    legend = {
        10: BIT["building"],
        30: partial_label("road", "car"),
        50: BIT["field"],
        70: BIT["tree"],
        100: partial_label("water", "land", "grass", "other"),
    }
    return _rgb(path, (3, 2, 1)), _legend(_index(_label_path(path, ".tif")), legend), (1.0, 2.5)


def _boxes(path: Path) -> list[tuple[int, int, int, int, str]]:
    with path.open(newline="") as stream:
        rows = csv.DictReader(stream)
        return [
            (int(r["xmin"]), int(r["ymin"]), int(r["xmax"]), int(r["ymax"]), r["label"])
            for r in rows
        ]


def _paint_ellipse(
    labels: Labels, box: tuple[int, int, int, int, str], scale: float, mask: int
) -> None:
    left, top, right, bottom, _ = box
    height, width = labels.shape
    rows = np.arange(max(top, 0), min(bottom, height))
    columns = np.arange(max(left, 0), min(right, width))
    if rows.size == 0 or columns.size == 0:
        return
    y = (rows + 0.5 - (top + bottom) / 2) / max((bottom - top) / 2 * scale, 0.5)
    x = (columns + 0.5 - (left + right) / 2) / max((right - left) / 2 * scale, 0.5)
    inside = y[:, None] ** 2 + x[None] ** 2 <= 1
    view = labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    view[inside] = mask


def _read_trees(path: Path) -> tuple[Pixels, Labels, tuple[float, float]]:
    pixels = _rgb(path)
    labels = np.full(pixels.shape[1:], partial_label("tree", "grass", "land"), np.int32)
    boxes = _boxes(_label_path(path, ".csv"))
    for box in boxes:
        _paint_ellipse(labels, box, 1.1, CROWN_EDGE)
    for box in boxes:
        _paint_ellipse(labels, box, 0.8, BIT["tree"])
    labels[pixels.min(0) == 255] = UNKNOWN  # pure white is nodata in this set
    return pixels, labels, (0.3, 1.2)


def _read_cars(path: Path) -> tuple[Pixels, Labels, tuple[float, float]]:
    pixels = _rgb(path)
    labels = np.full(pixels.shape[1:], all_but("car"), np.int32)
    boxes = _boxes(_label_path(path, ".csv"))
    for box in boxes:
        _paint_ellipse(labels, box, 1.45, UNKNOWN)
    for box in boxes:
        motorised = box[4] in ("car", "truck", "bus", "minibus")
        _paint_ellipse(labels, box, 0.8, BIT["car"] if motorised else UNKNOWN)
    zoom = (0.35, 1.2) if path.stem.startswith("kit") else (0.2, 0.8)
    return pixels, with_weak_labels(pixels, labels), zoom


SOURCES: dict[str, Source] = {
    "dubai_landcover": Source(
        "Humans in the Loop and the Mohammed Bin Rashid Space Centre (MBRSC), Dubai",
        "CC0-1.0",
        0.42,
        _read_dubai,
    ),
    "oam_buildings": Source(
        "Open Imagery Network contributors (OpenAerialMap); OpenStreetMap contributors / HOTOSM",
        "CC-BY-4.0; ODbL-1.0",
        0.26,
        _read_oam,
        guesses_vegetation=True,
    ),
    "spacenet_linz_buildings": Source(
        "SpaceNet LLC, DigitalGlobe/Maxar; Land Information New Zealand; Ji, Wei and Lu 2019 (WHU)",
        "CC-BY-SA-4.0; CC-BY-4.0",
        0.12,
        _read_footprints,
        guesses_vegetation=True,
    ),
    "neon_tree_boxes": Source(
        "National Ecological Observatory Network (NEON), NSF/Battelle; Weecology lab",
        "CC0-1.0; MIT",
        0.09,
        _read_trees,
    ),
    "aerial_cars": Source(
        "KIT AIS Data Set (DLR/KIT); Yauhen Kharuzhy and the Minsk OSM community",
        "CC-BY-3.0; CC-BY-SA",
        0.06,
        _read_cars,
        guesses_vegetation=True,
    ),
    "s2_korea_10m": Source(
        "Contains modified Copernicus Sentinel data 2023, 2024; labels minuex",
        "Copernicus; MIT",
        0.05,
        _read_korea,
    ),
}


def load_images(data: Path, split: str, datasets: tuple[str, ...] = ()) -> list[LabelledImage]:
    """Read every image of one split.

    Args:
        data: The data folder, holding `splits.json` and one folder per set.
        split: "train" or "validation".
        datasets: Names of sets; by default all that may train shipped weights.

    Raises:
        TrainingDataError: The folder or its split is missing.
    """
    split_file = data / "splits.json"
    if not split_file.is_file():
        raise TrainingDataError(
            f"There is no splits.json in {data.name}. Point --data to the labelled images."
        )
    splits = json.loads(split_file.read_text())
    images = []
    for dataset in datasets or tuple(SOURCES):
        folder = data / dataset / "images"
        for file in splits[dataset][split]:
            pixels, labels, zoom = SOURCES[dataset].read(folder / file)
            if split != "train":
                trained = (folder / name for name in splits[dataset]["train"])
                labels = unseen_labels(folder / file, labels, trained)
            images.append(
                LabelledImage(
                    dataset,
                    Path(file).stem,
                    torch.from_numpy(np.ascontiguousarray(pixels)),
                    torch.from_numpy(labels),
                    zoom,
                )
            )
    return images
