"""The mask on the pixels of the imagery: its classes and its objects.

The objects of a raster are the connected areas of one class, those of a polygon layer its features.
Classes and objects have numbers from 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.methods.evaluation.class_maps import RasterClasses, field_value
from geoseg_qgis.engine.methods.evaluation.layer_classes import NO_CLASS, LayerClasses, Value
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.datasets import open_dataset
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchArray, ScratchFolder
from geoseg_qgis.engine.vector.components import find_components, labelled_bands
from geoseg_qgis.engine.vector.measure import pixel_areas
from geoseg_qgis.engine.vector.polygon_layer import PlacedPolygons, read_crs, read_polygons
from geoseg_qgis.engine.vector.polygonize import square_metres
from geoseg_qgis.engine.vector.sheets import MOST_SHEETS, assign_sheets
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import LayerSource, RasterSource, VectorSource
from geoseg_qgis.protocol.tasks.assess import AssessTask

from .mask_classes import MaskClass, choose_classes, name_only_class
from .raster_inference import ObjectLayer

NOT_COVERED = 255
_WITHOUT_CRS = (
    "Either the imagery or the mask has no CRS, so both are taken to be in the same one. Check "
    "that they lie on top of each other."
)


@dataclass(frozen=True)
class Mask:
    """A mask on the output grid, kept on disk.

    Attributes:
        name: Name to show.
        classes: The classes to assess.
        object_classes: Class number of each object, (N,).
        centres: Column and row of each object's middle on the grid, (N, 2).
        areas: Area of each object in square metres (square map units without a CRS), (N,).
        features: Place of each object in its polygon layer, (N,); None for a raster.
        remarks: Sentences about what was changed or assumed.
        numbers: Class number of each pixel, `NOT_COVERED` where the mask has no data, one band.
        sheets: Object ids from 1, 0 for none; overlapping objects lie on different bands.
    """

    name: str
    classes: tuple[MaskClass, ...]
    object_classes: NDArray[np.uint8]
    centres: NDArray[np.float64]
    areas: NDArray[np.float64]
    features: NDArray[np.int64] | None
    remarks: tuple[str, ...]
    numbers: ScratchArray
    sheets: ScratchArray

    def layer(self, number: int) -> ObjectLayer:
        """Return the objects of one class."""
        members = np.concatenate([[False], self.object_classes == number])
        return _ClassLayer(self.sheets, members)

    def read_classes(self, window: Window) -> NDArray[np.uint8]:
        """Return the class number of each pixel, 0 for none, (h, w)."""
        numbers: NDArray[np.uint8] = self.numbers.read(window)[0]
        numbers[numbers == NOT_COVERED] = NO_CLASS
        return numbers

    def covered(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels the mask has data for, (h, w)."""
        return np.asarray(self.numbers.read(window)[0] != NOT_COVERED)


@dataclass(frozen=True)
class _ClassLayer:
    sheets: ScratchArray
    members: NDArray[np.bool_]

    def read_sheets(self, window: Window) -> NDArray[np.int32]:
        ids: NDArray[np.int32] = self.sheets.read(window)
        return np.where(self.members[ids], ids, np.int32(0))


def open_mask(task: AssessTask, grid: Grid, folder: ScratchFolder, progress: Progress) -> Mask:
    """Bring the mask of a task onto a grid.

    Args:
        task: Names the mask, its classes and those to assess.
        grid: Where it is wanted.
        folder: Where its pixels are kept.
        progress: Called with the finished fraction; raises to stop.

    Raises:
        JobError: ``SOURCE_UNREADABLE``; ``INVALID_CLASSES`` for classes that it does not hold;
            ``EXTENT_OUTSIDE`` when none of its objects lies on the grid.
    """
    if isinstance(task.mask, VectorSource):
        mask = read_polygon_mask(task.mask, task, grid, folder, progress)
    else:
        mask = read_raster_mask(task.mask, task, grid, folder, progress)
    if len(mask.object_classes) == 0:
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            f"The mask {mask.name!r} has no object where the imagery is assessed.",
            "Check that both cover the same place, that their CRSs are right, and the extent. In "
            "a raster 0 is no object.",
        )
    if bool(_crs_of(task.mask)) != bool(grid.crs_wkt):
        return replace(mask, remarks=(_WITHOUT_CRS, *mask.remarks))
    return mask


def _crs_of(source: LayerSource) -> str:
    if isinstance(source, VectorSource):
        return read_crs(source)
    with closing(open_dataset(source)) as opened:
        return opened.grid(source.crs_wkt).crs_wkt


def read_raster_mask(
    source: RasterSource, task: AssessTask, grid: Grid, folder: ScratchFolder, progress: Progress
) -> Mask:
    """Read a class raster, the nearest pixel; its objects are connected areas of one class."""
    layer = RasterClasses(source, "mask")
    numbers = ScratchArray(folder, "mask", 1, *grid.shape, np.uint8)
    sheets = ScratchArray(folder, "objects", 1, *grid.shape, np.int32)
    windows = list(blocks(grid))
    for place, (window, found) in enumerate(zip(windows, layer.read(grid, windows), strict=True)):
        numbers.write(window, found[None])
        progress(0.4 * (place + 1) / len(windows))
    name = layer.name
    held = replace(layer.layer_classes(), values=tuple(layer.values))
    classes = name_only_class(choose_classes(held, task.classes, name))
    chosen = {item.value: item.number for item in classes}
    table = np.array([NOT_COVERED, *(chosen.get(value, 0) for value in layer.values)], np.uint8)
    for window in windows:
        numbers.write(window, table[numbers.read(window)])

    def read_classes(window: Window) -> NDArray[np.uint8]:
        values: NDArray[np.uint8] = numbers.read(window)[0]
        return np.where(values == NOT_COVERED, np.uint8(0), values)

    areas = find_components(grid.shape, read_classes, None, lambda done: progress(0.4 + 0.3 * done))
    ids = np.arange(1, len(areas.class_ids) + 1, dtype=np.int32)[areas.joins]
    for window, labels in labelled_bands(grid.shape, read_classes, ids):
        sheets.write(window, labels[None])
        progress(0.7 + 0.3 * (window.row_off + window.height) / grid.height)
    return Mask(
        name,
        classes,
        areas.class_ids.astype(np.uint8),
        np.stack([areas.columns, areas.rows], axis=1),
        areas.pixels * pixel_areas(grid, areas.columns, areas.rows),
        None,
        (),
        numbers,
        sheets,
    )


def read_polygon_mask(
    source: VectorSource, task: AssessTask, grid: Grid, folder: ScratchFolder, progress: Progress
) -> Mask:
    """Read a polygon layer; each feature is an object with the pixels whose centres it holds.

    Where polygons of several classes overlap, a pixel has the last of the classes.
    """
    name = source.name or Path(source.path).stem
    placed = read_polygons(source, grid, task.class_field)
    if placed.skipped and not len(placed.polygons):
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The mask {name!r} holds no feature with an area.",
            "Choose a layer of polygons.",
        )
    values: list[Value | None] = [name] * len(placed.polygons)
    if placed.values is not None:
        values = [field_value(raw) for raw in placed.values.tolist()]
    known = dict.fromkeys(value for value in values if value is not None)
    names = {value: (str(value),) for value in known}
    held = LayerClasses("mask", tuple(known), names, is_raster=False)
    classes = choose_classes(held, task.classes, name)
    chosen: dict[Value | None, int] = {item.value: item.number for item in classes}
    numbers = np.array([chosen.get(value, 0) for value in values], dtype=np.uint8)
    kept = (numbers > 0) & _meets(placed, grid)
    polygons, numbers = placed.polygons[kept], numbers[kept]
    sheet_of, crowded = assign_sheets(polygons)
    progress(0.2)
    return Mask(
        name,
        classes,
        numbers,
        shapely.get_coordinates(shapely.centroid(polygons)),
        square_metres(polygons, grid),
        placed.features[kept],
        tuple(_remarks(placed, values, int(sheet_of.max(initial=0)) > 0, crowded)),
        *_burn(polygons, numbers, sheet_of, grid, folder, lambda x: progress(0.2 + 0.8 * x)),
    )


def _burn(  # noqa: PLR0917
    polygons: NDArray[np.object_],
    numbers: NDArray[np.uint8],
    sheet_of: NDArray[np.int32],
    grid: Grid,
    folder: ScratchFolder,
    progress: Progress,
) -> tuple[ScratchArray, ScratchArray]:
    """Return the class numbers and the sheets of object ids on the pixels of a grid."""
    count = int(sheet_of.max(initial=0)) + 1
    classes = ScratchArray(folder, "mask", 1, *grid.shape, np.uint8)
    sheets = ScratchArray(folder, "objects", count, *grid.shape, np.int32)
    members = [np.flatnonzero(sheet_of == sheet) for sheet in range(count)]
    placed = [PlacedPolygons(polygons[one], None, 0) for one in members]
    table = np.concatenate([np.zeros(1, np.uint8), numbers])
    for window in blocks(grid):
        ids = np.stack(
            [
                part.burn((one + 1).astype(np.int32), window)
                for part, one in zip(placed, members, strict=True)
            ]
        )
        sheets.write(window, ids)
        classes.write(window, table[ids].max(axis=0)[None])
        progress((window.row_off + window.height) / grid.height)
    return classes, sheets


def _remarks(
    placed: PlacedPolygons, values: list[Value | None], overlapping: bool, crowded: int
) -> Iterable[str]:
    if placed.repaired:
        yield (
            f"Polygons with invalid outlines, which were repaired for the assessment: "
            f"{placed.repaired}. The result has the outlines of the layer: fix them there."
        )
    if placed.skipped:
        yield f"Features without an area, which were not assessed: {placed.skipped}."
    nameless = sum(value is None for value in values)
    if nameless:
        yield (
            f"Polygons without a value in the field of the class, which were not assessed: "
            f"{nameless}. Fill the field, or choose another one."
        )
    if crowded:
        yield (
            f"Polygons that overlap more than {MOST_SHEETS - 1} others, of which only the visible "
            f"part was assessed: {crowded}. Remove duplicates first."
        )
    elif overlapping:
        yield (
            "Some polygons overlap. Each was assessed on all of its own pixels, but a pixel of the "
            "quality raster shows the quality of one of them only."
        )


def _meets(placed: PlacedPolygons, grid: Grid) -> NDArray[np.bool_]:
    left, top, right, bottom = shapely.bounds(placed.polygons).reshape(-1, 4).T
    inside = (right > 0) & (bottom > 0) & (left < grid.width) & (top < grid.height)
    return np.asarray(inside)
