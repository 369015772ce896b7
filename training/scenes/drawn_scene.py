"""Drawn scenes: images of invented places with exact classes, instances and facts about them.

Example:
    >>> scene = generate_scene(seed=3, size=128, kind="village")
    >>> scene.image.shape, scene.kind
    ((128, 128, 3), 'village')
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine
from scipy import ndimage

from .canvas import Canvas, Draft
from .layouts_open import build_coast, build_farmland, build_forest_edge, build_park
from .layouts_settled import (
    build_city,
    build_desert,
    build_estate,
    build_industrial,
    build_riverside,
    build_shanty,
    build_suburb,
    build_village,
)
from .legend import CLASS_NAMES
from .sensor import random_sensor
from .site import CLIMATES, Site
from .sun import Sun, cast_shadow
from .vegetation import draw_trees

CRS: Final = "EPSG:32633"
KINDS: Final[dict[str, tuple[Callable[[Site], None], tuple[str, ...], tuple[float, float]]]] = {
    "village": (build_village, ("summer", "lush", "autumn", "dry"), (0.12, 0.6)),
    "suburb": (build_suburb, ("summer", "lush", "lush", "autumn", "dry"), (0.12, 0.8)),
    "city": (build_city, ("summer", "lush", "dry"), (0.15, 0.8)),
    "industrial": (build_industrial, ("summer", "lush", "dry"), (0.2, 1.0)),
    "farmland": (build_farmland, ("summer", "lush", "dry"), (0.3, 1.0)),
    "forest edge": (build_forest_edge, ("summer", "lush", "autumn"), (0.2, 1.0)),
    "coast": (build_coast, ("summer", "lush", "dry", "tropical"), (0.2, 1.0)),
    "riverside": (build_riverside, ("summer", "autumn", "lush"), (0.2, 0.9)),
    "desert": (build_desert, ("desert",), (0.2, 0.9)),
    "park": (build_park, ("summer", "lush", "autumn", "dry"), (0.2, 0.6)),
    "shanty town": (build_shanty, ("tropical", "tropical", "dry"), (0.1, 0.5)),
}
RARE_KINDS: Final = {"desert estate": (build_estate, ("desert",), (0.3, 1.0))}
"""Kinds that are only drawn by name."""
VERSION: Final = 2
"""Raised when a seed gives other pixels or sentences, so that scenes on disk are drawn again."""
_FEWEST_PIXELS: Final = 9


@dataclass(frozen=True)
class SceneObject:
    """A countable object of a scene.

    Attributes:
        instance: Its value in the instance map, from 1.
        class_name: Its class.
        colour: Word for its colour, empty when it has no clear one or the image is grey.
        kind: What people call it, such as hall, tennis court or wheat field.
        shape: Word for its footprint, may be empty.
        roof: flat, gable or hip for buildings.
        position: Ninth of the image, such as "top left" or "centre".
        bounds: Left, top, right, bottom in pixels; right and bottom are exclusive.
        centroid: Mean x and y of its pixels.
        area: Square metres that are visible.
    """

    instance: int
    class_name: str
    colour: str
    kind: str
    shape: str
    roof: str
    position: str
    bounds: tuple[int, int, int, int]
    centroid: tuple[float, float]
    area: float


@dataclass(frozen=True)
class DrawnScene:
    """A drawn orthophoto and the facts about it.

    Attributes:
        image: (H, W, 3) uint8.
        classes: (H, W) uint8, indices of `class_names`.
        class_names: Names of the classes; index 0 does not occur.
        instances: (H, W) int32, `SceneObject.instance` of the topmost object or 0.
        objects: Every object that shows, by rising instance.
        pixel_size: Metres in a pixel.
        kind: Kind of place.
        seed: What it was made from.
    """

    image: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    class_names: tuple[str, ...]
    instances: NDArray[np.int32]
    objects: tuple[SceneObject, ...]
    pixel_size: float
    kind: str
    seed: int

    @property
    def crs(self) -> str:
        """Coordinate reference system of `transform`."""
        return CRS

    @property
    def transform(self) -> Affine:
        """Pixel to map coordinates."""
        random = np.random.default_rng([self.seed, 4])
        east, north = random.integers(300_000, 700_000), random.integers(4_500_000, 5_900_000)
        return Affine(self.pixel_size, 0.0, float(east), 0.0, -self.pixel_size, float(north))

    def mask(self, *instances: int) -> NDArray[np.bool_]:
        """Return where any of some instances shows, (H, W)."""
        return np.isin(self.instances, instances)

    def class_mask(self, *names: str) -> NDArray[np.bool_]:
        """Return where any of some classes shows, (H, W).

        Raises:
            ValueError: A name is not a class.
        """
        return np.isin(self.classes, [self.class_names.index(name) for name in names])


def generate_scene(
    seed: int,
    size: int | tuple[int, int] = 512,
    pixel_size: float | None = None,
    kind: str | None = None,
) -> DrawnScene:
    """Make a scene; the same arguments give the same pixels.

    Args:
        seed: Whole number from 0.
        size: Side in pixels, or rows and columns; every side at least 32.
        pixel_size: Metres in a pixel, 0.05 to 2; drawn from what suits the kind when None.
        kind: One of `KINDS` or `RARE_KINDS`; one of `KINDS` is drawn when None.

    Raises:
        ValueError: An argument is out of its range.
    """
    shape = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    _check(seed, shape, pixel_size, kind)
    plan = np.random.default_rng([seed, 1])
    chosen = str(plan.choice(list(KINDS)))
    kind = kind or chosen
    build, climates, sizes = {**KINDS, **RARE_KINDS}[kind]
    drawn = math.exp(plan.uniform(*np.log(sizes)))
    pixel_size = float(pixel_size or round(drawn, 3))
    sun = Sun(math.radians(plan.uniform(95, 265)), math.radians(plan.uniform(30, 62)))
    climate = CLIMATES[climates[int(plan.integers(len(climates)))]]
    canvas = Canvas(shape, pixel_size, np.random.default_rng([seed, 2]))
    site = Site(canvas, plan, sun, climate)
    build(site)
    draw_trees(site)
    _light(canvas, sun, plan)
    colour, classes, instances = canvas.reduced()
    random = np.random.default_rng([seed, 3])
    sensor = random_sensor(random)
    image = sensor.expose(colour, random)
    instances, objects = _describe(canvas.drafts, instances, pixel_size, sensor.grey)
    return DrawnScene(image, classes, CLASS_NAMES, instances, objects, pixel_size, kind, seed)


def _check(seed: int, shape: tuple[int, int], pixel_size: float | None, kind: str | None) -> None:
    if seed < 0:
        raise ValueError(f"The seed {seed} is negative. Choose a whole number from 0.")
    if min(shape) < 32:
        raise ValueError(f"A scene of {shape} pixels is too small. Choose 32 or more a side.")
    if pixel_size is not None and not 0.05 <= pixel_size <= 2:
        raise ValueError(f"Pixels of {pixel_size} m are out of range. Choose 0.05 to 2 m.")
    kinds = [*KINDS, *RARE_KINDS]
    if kind is not None and kind not in kinds:
        raise ValueError(f"There is no scene kind {kind!r}. Choose one of {', '.join(kinds)}.")


def _light(canvas: Canvas, sun: Sun, random: np.random.Generator) -> None:
    shadow = cast_shadow(canvas.height, sun, canvas.scale)
    depth = random.uniform(0.82, 1.08)
    for channel, strength in enumerate((0.58, 0.53, 0.44)):
        canvas.colour[channel] *= 1 - np.float32(strength * depth) * shadow


def _describe(
    drafts: list[Draft], instances: NDArray[np.int32], pixel_size: float, grey: bool
) -> tuple[NDArray[np.int32], tuple[SceneObject, ...]]:
    counts = np.bincount(instances.ravel(), minlength=len(drafts) + 1)
    number = np.zeros(len(drafts) + 1, np.int32)
    kept = [i for i in range(1, len(drafts) + 1) if counts[i] >= _FEWEST_PIXELS]
    number[kept] = np.arange(1, len(kept) + 1)
    renumbered = number[instances]
    boxes = ndimage.find_objects(renumbered, len(kept))
    areas = [float(counts[i]) * pixel_size**2 for i in kept]
    objects: list[SceneObject] = []
    for new, (old, box) in enumerate(zip(kept, boxes, strict=True), start=1):
        draft = drafts[old - 1]
        centroid = _centroid(renumbered[box], new, box)
        objects.append(
            SceneObject(
                new,
                draft.class_name,
                "" if grey else draft.colour,
                draft.kind,
                draft.shape,
                draft.roof,
                position_word(centroid, renumbered.shape),
                (box[1].start, box[0].start, box[1].stop, box[0].stop),
                centroid,
                areas[new - 1],
            )
        )
    return renumbered, tuple(objects)


def _centroid(region: NDArray[np.int32], instance: int, box: Any) -> tuple[float, float]:
    rows, columns = np.nonzero(region == instance)
    return float(columns.mean()) + box[1].start, float(rows.mean()) + box[0].start


def position_word(centroid: tuple[float, float], shape: tuple[int, ...]) -> str:
    """Return the ninth of the image in which a point lies."""
    across = ("left", "", "right")[min(2, int(3 * centroid[0] / shape[1]))]
    down = ("top", "", "bottom")[min(2, int(3 * centroid[1] / shape[0]))]
    return f"{down} {across}".strip() or "centre"
