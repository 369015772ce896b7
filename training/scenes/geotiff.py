"""Scenes as GeoTIFF files on a map.

Example:
    >>> path = write_scene(folder / "scene.tif", seed=7)  # doctest: +SKIP
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from .drawn_scene import DrawnScene, generate_scene
from .legend import CLASS_NAMES
from .sensor import near_infrared, sixteen_bit

Bands = Literal["rgb", "rgbn", "grey"]
_BLOCK: Final = 256
_CLASS_COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "building": (214, 69, 65), "road": (90, 90, 96), "sidewalk": (170, 165, 160),
    "driveway": (196, 186, 172), "parking lot": (122, 118, 140), "car": (245, 200, 66),
    "tree": (58, 125, 68), "forest": (27, 85, 48), "hedge": (96, 148, 70),
    "field": (214, 190, 110), "grass": (150, 190, 110), "bare soil": (158, 120, 90),
    "sand": (228, 210, 170), "lake": (60, 120, 190), "river": (80, 145, 205),
    "sea": (40, 90, 160), "swimming pool": (70, 200, 220), "sports field": (120, 200, 150),
    "path": (205, 180, 140), "wall": (130, 100, 110), "yard": (184, 180, 188),
}  # fmt: skip


def write_scene(
    path: Path,
    seed: int,
    size: int | tuple[int, int] = 1024,
    pixel_size: float | None = 0.3,
    kind: str | None = "riverside",
    *,
    bands: Bands = "rgb",
    depth: Literal[8, 16] = 8,
    classes: bool = False,
) -> Path:
    """Make a scene and write it as a tiled GeoTIFF.

    Args:
        path: Final name; its folder must exist.
        seed: Whole number from 0.
        size: Side in pixels, or rows and columns.
        pixel_size: Metres in a pixel; None for what suits the kind.
        kind: Kind of place; None for any.
        bands: rgb, rgbn with near-infrared, or grey.
        depth: Bits of a value; 16 stores values of 11 bits.
        classes: Whether to write the classes to ``<stem>_classes.tif``, too.

    Returns:
        The path.

    Raises:
        ValueError: An argument is out of its range.
        rasterio.errors.RasterioIOError: The file cannot be written.
    """
    path = Path(path)
    scene = generate_scene(seed, size, pixel_size, kind)
    if classes:
        _write(path.with_name(f"{path.stem}_classes.tif"), scene, scene.classes[None], True)
    _write(path, scene, image_bands(scene, bands, depth), False)
    return path


def image_bands(scene: DrawnScene, bands: Bands = "rgb", depth: Literal[8, 16] = 8) -> NDArray[Any]:
    """Return the bands of the image, (B, H, W) uint8 or uint16."""
    pixels = scene.image
    if bands == "rgbn":
        pixels = np.dstack([pixels, near_infrared(scene.image, scene.classes)])
    elif bands == "grey":
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        pixels = np.rint(scene.image @ weights).astype(np.uint8)[:, :, None]
    if depth == 16:
        return sixteen_bit(pixels, scene.seed).transpose(2, 0, 1)
    return pixels.transpose(2, 0, 1)


def _write(path: Path, scene: DrawnScene, values: NDArray[Any], is_class_map: bool) -> None:
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    height, width = values.shape[1:]
    try:
        with rasterio.open(
            draft,
            "w",
            driver="GTiff",
            width=width,
            height=height,
            count=values.shape[0],
            dtype=values.dtype.name,
            crs=scene.crs,
            transform=scene.transform,
            tiled=True,
            blockxsize=_BLOCK,
            blockysize=_BLOCK,
            compress="deflate",
            predictor=1 if is_class_map else 2,
            interleave="pixel",
            nodata=0 if is_class_map else None,
            **({} if is_class_map else {"photometric": _photometric(values.shape[0])}),
        ) as dataset:
            dataset.update_tags(SCENE_SEED=str(scene.seed), SCENE_KIND=scene.kind)
            _describe(dataset, values.shape[0], is_class_map)
            dataset.write(values)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _photometric(count: int) -> str:
    return "MINISBLACK" if count == 1 else "RGB"


def _describe(dataset: Any, count: int, is_class_map: bool) -> None:
    if is_class_map:
        dataset.update_tags(CLASSES=";".join(CLASS_NAMES))
        colours = {CLASS_NAMES.index(name): (*rgb, 255) for name, rgb in _CLASS_COLOURS.items()}
        dataset.write_colormap(1, {0: (0, 0, 0, 0), **colours})
        dataset.set_band_description(1, "class")
        return
    names = ("grey",) if count == 1 else ("red", "green", "blue", "near-infrared")[:count]
    for band, name in enumerate(names, start=1):
        dataset.set_band_description(band, name)
    if count == 4:
        dataset.colorinterp = [
            ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined,
        ]  # fmt: skip
