"""The mask under test on the pixels of the imagery: its classes and its objects.

A mask is a raster, whose objects are the connected areas of one class, or a polygon layer, whose
objects are its features. Either is told in numbers: classes from 1, objects from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from ...protocol.errors import ErrorCode, JobError
from ...protocol.tasks import AssessTask
from ..methods.labelling import blocks
from ..methods.segassess.surfaces import ObjectLayer
from ..raster.grid import Grid
from ..raster.scratch import ScratchArray, ScratchFolder
from ..vector.components import find_components, labelled_bands
from ..vector.measure import pixel_areas
from ..vector.polygonize import square_metres
from ..vector.read import PlacedPolygons, read_polygons
from ..vector.sheets import MOST_SHEETS, part_overlapping
from .class_maps import RasterClasses, field_value
from .class_matching import NO_CLASS, ClassSide, Value

Progress = Callable[[float], None]
PLAIN_CLASS = "object"
_NOT_COVERED = 255
_MOST_CLASSES = 254


@dataclass(frozen=True)
class MaskClass:
    """One class of the mask: its number from 1, its value in the layer, its name."""

    number: int
    value: Value
    name: str


class Mask(Protocol):
    """A mask on the output grid.

    Attributes:
        name: What people call it.
        classes: The classes to assess.
        object_classes: Class number of each object, (N,).
        centres: Column and row of each object's middle on the grid, (N, 2).
        areas: Area of each object in square metres (square map units without a CRS), (N,).
        remarks: Sentences about what had to be done to it.
    """

    name: str
    classes: tuple[MaskClass, ...]
    object_classes: NDArray[np.uint8]
    centres: NDArray[np.float64]
    areas: NDArray[np.float64]
    remarks: tuple[str, ...]

    def layer(self, number: int) -> ObjectLayer:
        """Return the objects of one class."""

    def read_classes(self, window: Window) -> NDArray[np.uint8]:
        """Return the class number of each pixel, 0 for none, (h, w)."""

    def covered(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels the mask says anything about, (h, w)."""


def open_mask(task: AssessTask, grid: Grid, folder: ScratchFolder, progress: Progress) -> Mask:
    """Bring the mask of a task onto a grid.

    Raises:
        JobError: ``SOURCE_UNREADABLE``; ``INVALID_CLASSES`` for classes that it does not hold;
            ``EXTENT_OUTSIDE`` when none of its objects lies on the grid.
    """
    mask: Mask
    if task.mask is not None:
        mask = RasterMask(task, grid, folder, progress)
    else:
        mask = PolygonMask(task, grid)
    if len(mask.object_classes) == 0:
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            f"The mask {mask.name!r} has no object where the imagery is assessed.",
            "Check that both cover the same place, that their CRSs are set right, and the extent; "
            "in a raster 0 is no object.",
        )
    return mask


class RasterMask:
    """A class raster: its connected areas are the objects.

    Args:
        task: Names the raster and the classes.
        grid: Where the mask is wanted; the nearest pixel counts.
        folder: Where its pixels are kept.
        progress: Told the finished fraction; raises to stop.
    """

    def __init__(
        self, task: AssessTask, grid: Grid, folder: ScratchFolder, progress: Progress
    ) -> None:
        if task.mask is None:
            raise ValueError("The task has no mask raster.")
        source = RasterClasses(task.mask, "mask", task.class_names)
        self.name = task.mask_name or source.name
        self.remarks: tuple[str, ...] = ()
        shape = grid.height, grid.width
        self._numbers = ScratchArray(folder, "mask", 1, *shape, np.uint8)
        self._ids = ScratchArray(folder, "objects", 1, *shape, np.int32)
        windows = list(blocks(grid))
        for number, (window, found) in enumerate(zip(windows, source.read(grid, windows))):
            self._numbers.write(window, found[None])
            progress(0.4 * (number + 1) / len(windows))
        present = source.side()
        side = ClassSide("mask", tuple(source.values), present.names)
        self.classes = _named(choose_classes(side, task.classes, self.name))
        self._renumber(windows, source.values)
        self.object_classes = self._number_objects(grid, lambda done: progress(0.4 + 0.6 * done))

    def _renumber(self, windows: list[Window], values: list[Value]) -> None:
        """Turn indexes of values into class numbers."""
        table = np.zeros(256, dtype=np.uint8)
        table[0] = _NOT_COVERED
        chosen = {item.value: item.number for item in self.classes}
        for index, value in enumerate(values, start=1):
            table[index] = chosen.get(value, 0)
        for window in windows:
            self._numbers.write(window, table[self._numbers.read(window)])

    def _number_objects(self, grid: Grid, progress: Progress) -> NDArray[np.uint8]:
        found = find_components(grid.shape, self.read_classes, None, lambda x: progress(x / 2))
        numbers = np.arange(1, len(found.class_ids) + 1, dtype=np.int32)[found.joins]
        for window, labels in labelled_bands(grid.shape, self.read_classes, numbers):
            self._ids.write(window, labels[None])
            progress(0.5 + 0.5 * (window.row_off + window.height) / grid.height)
        self.centres = np.stack([found.columns, found.rows], axis=1)
        self.areas = found.pixels * pixel_areas(grid, found.columns, found.rows)
        return found.class_ids

    def layer(self, number: int) -> ObjectLayer:
        """Return the objects of one class."""
        return _RasterLayer(self._ids, self._numbers, number)

    def read_classes(self, window: Window) -> NDArray[np.uint8]:
        """Return the class number of each pixel, 0 for none."""
        numbers: NDArray[np.uint8] = self._numbers.read(window)[0]
        numbers[numbers == _NOT_COVERED] = NO_CLASS
        return numbers

    def covered(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels the raster reaches with data."""
        return np.asarray(self._numbers.read(window)[0] != _NOT_COVERED)


@dataclass(frozen=True)
class _RasterLayer:
    ids: ScratchArray
    numbers: ScratchArray
    number: int

    def read_sheets(self, window: Window) -> NDArray[np.int32]:
        ids: NDArray[np.int32] = self.ids.read(window)
        return np.where(self.numbers.read(window) == self.number, ids, np.int32(0))


class PolygonMask:
    """A polygon layer: its features are the objects, each on all of its own pixels.

    Attributes:
        features: Place in the layer of each object, (N,).

    Args:
        task: Names the layer, the field of the class and the classes.
        grid: Where the mask is wanted; a polygon has the pixels whose centres it holds.
    """

    def __init__(self, task: AssessTask, grid: Grid) -> None:
        if task.mask_polygons is None:
            raise ValueError("The task has no mask polygons.")
        self.name = task.mask_name or Path(task.mask_polygons.path).stem
        placed = read_polygons(task.mask_polygons, grid, task.class_field)
        values: list[Value | None] = [self.name] * len(placed.polygons)
        if placed.values is not None:
            values = [field_value(raw) for raw in placed.values.tolist()]
        known = dict.fromkeys(value for value in values if value is not None)
        names = {value: (task.class_names.get(str(value)) or str(value),) for value in known}
        side = ClassSide("mask", tuple(known), names, is_raster=False)
        self.classes = choose_classes(side, task.classes, self.name)
        chosen = {item.value: item.number for item in self.classes}
        numbers = np.array([chosen.get(value, 0) if value is not None else 0 for value in values])
        kept = (numbers > 0) & _meets(placed, grid)
        self._polygons = placed.polygons[kept]
        self.features = placed.features[kept]
        self.object_classes = numbers[kept].astype(np.uint8)
        self.centres = shapely.get_coordinates(shapely.centroid(self._polygons))
        self.areas = square_metres(self._polygons, grid)
        self._layers: dict[int, _PolygonLayer] = {}
        crowded = 0
        for item in self.classes:
            members = np.flatnonzero(self.object_classes == item.number)
            sheets, over = part_overlapping(self._polygons[members])
            crowded += over
            self._layers[item.number] = _PolygonLayer(
                tuple(
                    _Sheet(
                        PlacedPolygons(self._polygons[members[sheets == sheet]], None, 0),
                        (members[sheets == sheet] + 1).astype(np.int32),
                    )
                    for sheet in range(int(sheets.max(initial=0)) + 1)
                )
            )
        self.remarks = tuple(self._remarks(placed, crowded, values))

    def _remarks(
        self, placed: PlacedPolygons, crowded: int, values: list[Value | None]
    ) -> Iterable[str]:
        if placed.repaired:
            yield (
                f"{placed.repaired} polygons have broken outlines and were assessed with repaired "
                "ones. The outlines in the result are those of the layer: fix them there."
            )
        if placed.skipped:
            yield f"{placed.skipped} features have no area and were not assessed."
        nameless = sum(value is None for value in values)
        if nameless:
            yield (
                f"{nameless} polygons have no value in the field of the class and were not "
                "assessed. Fill the field, or choose another one."
            )
        stacked = sum(len(layer.sheets) > 1 for layer in self._layers.values())
        if crowded:
            yield (
                f"{crowded} polygons lie under more than {MOST_SHEETS} others; only their visible "
                "parts were assessed. Remove duplicates first."
            )
        elif stacked:
            yield (
                "Some polygons overlap: each was assessed on all of its own pixels, while a pixel "
                "of the quality raster is counted once."
            )

    def layer(self, number: int) -> ObjectLayer:
        """Return the objects of one class."""
        return self._layers[number]

    def read_classes(self, window: Window) -> NDArray[np.uint8]:
        """Return the class number of each pixel, the last class where several overlap."""
        numbers = np.zeros((int(window.height), int(window.width)), dtype=np.uint8)
        for number, layer in self._layers.items():
            numbers[(layer.read_sheets(window) > 0).any(axis=0)] = number
        return numbers

    def covered(self, window: Window) -> NDArray[np.bool_]:
        """Polygons speak about every pixel."""
        return np.ones((int(window.height), int(window.width)), dtype=np.bool_)


@dataclass(frozen=True)
class _Sheet:
    placed: PlacedPolygons
    ids: NDArray[np.int32]


@dataclass(frozen=True)
class _PolygonLayer:
    sheets: tuple[_Sheet, ...]

    def read_sheets(self, window: Window) -> NDArray[np.int32]:
        return np.stack([sheet.placed.burn(sheet.ids, window) for sheet in self.sheets])


def _meets(placed: PlacedPolygons, grid: Grid) -> NDArray[np.bool_]:
    if not len(placed.polygons):
        return np.zeros(0, dtype=np.bool_)
    left, top, right, bottom = shapely.bounds(placed.polygons).T
    inside = (right > 0) & (bottom > 0) & (left < grid.width) & (top < grid.height)
    return np.asarray(inside)


def choose_classes(side: ClassSide, wanted: str, name: str) -> tuple[MaskClass, ...]:
    """Return the classes to assess, numbered from 1.

    Args:
        side: What the mask holds.
        wanted: Values or names parted by commas; empty for all.
        name: What people call the mask.

    Raises:
        JobError: ``INVALID_CLASSES``.
    """
    values = side.classes
    words = [word.strip() for word in wanted.split(",") if word.strip()]
    if words:
        found = {word: side.find(word) for word in words}
        missing = [word for word, value in found.items() if value not in side.classes]
        if missing:
            raise JobError(
                ErrorCode.INVALID_CLASSES,
                f"The mask {name!r} has no class {missing[0]!r}.",
                f"It has {side.listed()}.",
            )
        values = tuple(value for value in side.classes if value in found.values())
    if len(values) > _MOST_CLASSES:
        raise JobError(
            ErrorCode.INVALID_CLASSES,
            f"The mask {name!r} has {len(values)} classes.",
            "Choose a class raster or the field of the class, or name the classes to assess.",
        )
    names = {value: (side.names.get(value) or (str(value),))[0] for value in values}
    return tuple(
        MaskClass(number, value, names[value]) for number, value in enumerate(values, start=1)
    )


def _named(classes: tuple[MaskClass, ...]) -> tuple[MaskClass, ...]:
    """Give the only class of a plain mask a word, where it has but a number."""
    if len(classes) == 1 and classes[0].name == str(classes[0].value):
        return (replace(classes[0], name=PLAIN_CLASS),)
    return classes
