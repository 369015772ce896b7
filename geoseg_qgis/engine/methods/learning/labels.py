"""Labels of the user's own, as pixels whose class is known.

A place is what was labelled at once: a feature, or a pixel of a class raster. A large polygon gives
no more than `PIXELS_A_PLACE` pixels, so that it cannot outvote many small ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.methods.evaluation.class_maps import RasterClasses, field_value
from geoseg_qgis.engine.methods.evaluation.layer_classes import NO_CLASS
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.labelled_features import read_features
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.legend import EVERYTHING_ELSE
from geoseg_qgis.protocol.source import LayerSource, RasterSource, VectorSource

MOST_CLASSES = 100
PIXELS_A_PLACE = 64
PIXELS_A_CLASS = 3000
MOST_PIXELS = 24_000
# Polygons whose bounding box has more pixels are sampled at random, not drawn.
_LARGEST_DRAWN = 1_000_000
_RANDOM_TRIES = 4096


@dataclass(frozen=True)
class Labels:
    """Pixels of known class, (n,) arrays.

    Attributes:
        rows: Row of each pixel on the grid.
        columns: Column of each pixel on the grid.
        classes: Class of each pixel, from 0.
        places: Number of the place that each pixel belongs to, from 0.
        names: Name of each class.
        notes: Sentences about what was assumed or left out.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    classes: NDArray[np.int64]
    places: NDArray[np.int64]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of pixels."""
        return len(self.rows)

    def take(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> Labels:
        """Return some of the pixels."""
        return replace(
            self,
            rows=self.rows[kept],
            columns=self.columns[kept],
            classes=self.classes[kept],
            places=self.places[kept],
        )

    @property
    def digest(self) -> str:
        """SHA-256 of pixels and classes, hexadecimal."""
        found = hashlib.sha256("\n".join(self.names).encode("utf-8", "surrogatepass"))
        for values in (self.rows, self.columns, self.classes):
            found.update(np.ascontiguousarray(values, np.int64).tobytes())
        return found.hexdigest()

    def counts(self) -> list[tuple[int, int]]:
        """Return the number of places and of pixels of each class."""
        members = [self.classes == number for number in range(len(self.names))]
        return [(len(np.unique(self.places[one])), int(one.sum())) for one in members]


def read_labels(  # noqa: PLR0917
    source: LayerSource,
    field: str,
    area: LayerSource | None,
    grid: Grid,
    seed: int,
    progress: Progress,
) -> Labels:
    """Return the labels of a layer on a grid.

    Args:
        source: Points, lines, polygons or a class raster.
        field: Field of the class of features.
        area: Where what has no label is everything else; None for no such area.
        grid: Pixels to learn on.
        seed: Of the choice of pixels.
        progress: Called with the finished fraction; raises to stop.

    Raises:
        JobError: ``SOURCE_UNREADABLE``; ``INVALID_CLASSES`` for fewer than two classes or too
            many; ``EXTENT_OUTSIDE`` when no label lies on the imagery.
    """
    rng = np.random.default_rng(seed)
    title = source.name or Path(source.location).stem
    if isinstance(source, VectorSource):
        labels = _read_vector(source, field, title, grid, rng, progress)
    else:
        labels = _read_raster(source, grid, rng, progress)
    if not len(labels):
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            f"No label of {title!r} lies on the imagery.",
            "Check that both cover the same place, that their CRSs are right, and the extent.",
        )
    labels = _without_contradictions(labels, grid)
    if area is not None:
        labels = _with_everything_else(labels, area, source, grid, rng)
    labels = _without_empty_classes(labels, title)
    if len(labels.names) < 2:
        raise JobError(
            ErrorCode.INVALID_CLASSES,
            f"The labels hold only one class on the imagery: {labels.names[0]}.",
            "Label places of another class as well, or give an area that is fully labelled.",
        )
    return _thinned(labels, rng)


def _read_vector(  # noqa: PLR0917
    source: VectorSource,
    field: str,
    title: str,
    grid: Grid,
    rng: np.random.Generator,
    progress: Progress,
) -> Labels:
    found = read_features(source, grid, field)
    values = [field_value(raw) for raw in found.values] if field else [title] * len(found.values)
    known = sorted(
        {value for value in values if value is not None},
        key=lambda value: (
            isinstance(value, str),
            value if isinstance(value, int) else 0,
            str(value),
        ),
    )
    _refuse_many(len(known), title, field)
    number = {value: place for place, value in enumerate(known)}
    parts: list[tuple[NDArray[np.int64], int, int]] = []
    for place, (shape, value) in enumerate(zip(found.shapes, values, strict=True)):
        if value is None or shape.is_empty:
            continue
        pixels = _pixels_of(shape, grid, rng)
        if len(pixels):
            parts.append((pixels, number[value], place))
        if place % 256 == 0:
            progress(place / len(values))
    notes = list(found.notes)
    nameless = sum(value is None for value in values)
    if nameless:
        notes.append(
            f"Labels without a value in the field of the class, which were left out: {nameless}."
        )
    outside = len(values) - nameless - len(parts)
    if parts and outside:
        notes.append(f"Labels that do not lie on the imagery, which were left out: {outside}.")
    empty = np.zeros((0, 2), np.int64)
    lengths = [len(pixels) for pixels, _, _ in parts]
    pixels = np.concatenate([empty, *(pixels for pixels, _, _ in parts)])
    return Labels(
        pixels[:, 0],
        pixels[:, 1],
        np.repeat([one for _, one, _ in parts], lengths).astype(np.int64),
        np.repeat([one for _, _, one in parts], lengths).astype(np.int64),
        tuple(str(value) for value in known),
        tuple(notes),
    )


def _refuse_many(count: int, title: str, field: str) -> None:
    if count > MOST_CLASSES:
        where = f"the field {field!r} of {title!r}" if field else repr(title)
        raise JobError(
            ErrorCode.INVALID_CLASSES,
            f"There are {count} different values in {where}, more than {MOST_CLASSES} classes.",
            "Choose the field that holds the class, or join classes.",
        )


def _pixels_of(shape: shapely.Geometry, grid: Grid, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return (n, 2) rows and columns of the pixels of a shape that lie on the grid."""
    shape = shapely.intersection(shape, shapely.box(0, 0, grid.width, grid.height))
    if shape.is_empty:
        return np.zeros((0, 2), np.int64)
    left, top, right, bottom = shape.bounds
    first = np.floor([left, top]).astype(int)
    last = np.maximum(np.ceil([right, bottom]).astype(int), first + 1)
    width, height = (last - first).tolist()
    dimension = int(shapely.get_dimensions(shape))
    if dimension == 0:
        points = np.floor(shapely.get_coordinates(shape)).astype(np.int64)
        pixels = points[:, ::-1]
    elif dimension == 2 and width * height > _LARGEST_DRAWN:
        tried = rng.uniform((left, top), (right, bottom), (_RANDOM_TRIES, 2))
        shapely.prepare(shape)
        inside = shapely.contains_xy(shape, tried[:, 0], tried[:, 1])
        pixels = np.floor(tried[inside]).astype(np.int64)[:, ::-1]
    elif dimension == 1 and width * height > _LARGEST_DRAWN:
        along = rng.uniform(0, shape.length, _RANDOM_TRIES)
        lines = np.full(len(along), shape, dtype=object)
        tried = shapely.get_coordinates(shapely.line_interpolate_point(lines, along))
        pixels = np.floor(tried).astype(np.int64)[:, ::-1]
    else:
        place = Affine.translation(int(first[0]), int(first[1]))
        # A polygon that holds no pixel's centre still marks the pixels that it touches.
        for touched in (dimension == 1, True):
            drawn = rasterize([shape], (height, width), transform=place, all_touched=touched)
            if drawn.any():
                break
        pixels = np.argwhere(drawn) + first[::-1]
    on_grid = ((pixels >= 0) & (pixels < (grid.height, grid.width))).all(axis=1)
    pixels = np.unique(pixels[on_grid], axis=0)
    if len(pixels) > PIXELS_A_PLACE:
        pixels = pixels[np.sort(rng.choice(len(pixels), PIXELS_A_PLACE, replace=False))]
    return pixels.astype(np.int64)


def _read_raster(
    source: RasterSource, grid: Grid, rng: np.random.Generator, progress: Progress
) -> Labels:
    layer = RasterClasses(source, "layer of labels")
    windows = list(blocks(grid))
    share = max(PIXELS_A_CLASS * 4 // len(windows), 64)
    parts: list[NDArray[np.int64]] = []
    for place, (window, found) in enumerate(zip(windows, layer.read(grid, windows), strict=True)):
        offset = np.array([window.row_off, window.col_off], dtype=np.int64)
        for index in np.unique(found[found > 0]):
            pixels = np.argwhere(found == index)
            if len(pixels) > share:
                pixels = pixels[rng.choice(len(pixels), share, replace=False)]
            parts.append(np.column_stack([pixels + offset, np.full(len(pixels), index - 1)]))
        progress((place + 1) / len(windows))
    held = layer.layer_classes()
    known = [value for value in layer.values if value != NO_CLASS]
    known.sort(key=lambda value: (isinstance(value, str), value))
    _refuse_many(len(known), layer.name, "")
    table = np.full(len(layer.values), -1, np.int64)
    for number, value in enumerate(known):
        table[layer.values.index(value)] = number
    pixels = np.concatenate([np.zeros((0, 3), np.int64), *parts])
    classes = table[pixels[:, 2]] if len(pixels) else np.zeros(0, np.int64)
    kept = classes >= 0
    names = tuple(held.name(value) for value in known)
    places = np.arange(int(kept.sum()), dtype=np.int64)
    return Labels(pixels[kept, 0], pixels[kept, 1], classes[kept], places, names)


def _without_contradictions(labels: Labels, grid: Grid) -> Labels:
    """Leave out pixels that have labels of two classes, and repeated ones of the same class."""
    keys = labels.rows * grid.width + labels.columns
    order = np.lexsort((labels.classes, keys))
    keys, classes = keys[order], labels.classes[order]
    first = np.concatenate([[True], keys[1:] != keys[:-1]])
    group = np.cumsum(first) - 1
    lowest = classes[first]
    disagree = np.zeros(len(lowest), dtype=bool)
    np.logical_or.at(disagree, group, classes != lowest[group])
    kept = order[first & ~disagree[group]]
    notes = labels.notes
    if disagree.any():
        example = order[np.flatnonzero(disagree[group])[0]]
        x, y = grid.map_point(labels.columns[example] + 0.5, labels.rows[example] + 0.5)
        twins = labels.classes[
            (labels.rows * grid.width + labels.columns) == keys[np.flatnonzero(disagree[group])[0]]
        ]
        names = " and ".join(labels.names[number] for number in np.unique(twins)[:2])
        notes = (
            *notes,
            f"Pixels with labels of different classes, which were left out: {int(disagree.sum())}, "
            f"for example {names} at {x:.8g}, {y:.8g}. Correct one of the labels.",
        )
    return replace(labels.take(np.sort(kept)), notes=notes)


def _without_empty_classes(labels: Labels, title: str) -> Labels:
    present = np.unique(labels.classes)
    if not len(present):
        raise JobError(
            ErrorCode.INVALID_CLASSES,
            f"Every labelled pixel of {title!r} has labels of different classes.",
            "Remove labels that lie on top of each other.",
        )
    missing = [name for number, name in enumerate(labels.names) if number not in present]
    notes = labels.notes
    if missing:
        notes = (
            *notes,
            f"Classes without a label on the imagery, which were left out: {', '.join(missing)}.",
        )
    table = np.zeros(len(labels.names), np.int64)
    table[present] = np.arange(len(present))
    names = tuple(labels.names[number] for number in present)
    return replace(labels, classes=table[labels.classes], names=names, notes=notes)


def _with_everything_else(
    labels: Labels,
    area: LayerSource,
    source: LayerSource,
    grid: Grid,
    rng: np.random.Generator,
) -> Labels:
    """Add pixels of the fully labelled area that have no label, as one more class."""
    wanted = PIXELS_A_CLASS
    found = []
    windows = list(blocks(grid))
    inside = _covered(area, grid)
    labelled = _covered(source, grid)
    share = max(4 * wanted // len(windows), 64)
    for window, within, taken in zip(windows, inside, labelled, strict=True):
        pixels = np.argwhere(within & ~taken)
        if len(pixels) > share:
            pixels = pixels[rng.choice(len(pixels), share, replace=False)]
        found.append(pixels + np.array([window.row_off, window.col_off], dtype=np.int64))
    pixels = np.concatenate(found).astype(np.int64)
    if len(pixels) == 0:
        note = "The area that is fully labelled leaves no pixel without a label on the imagery."
        return replace(labels, notes=(*labels.notes, note))
    if len(pixels) > wanted:
        pixels = pixels[rng.choice(len(pixels), wanted, replace=False)]
    count = len(pixels)
    start = int(labels.places.max()) + 1
    return Labels(
        np.concatenate([labels.rows, pixels[:, 0]]),
        np.concatenate([labels.columns, pixels[:, 1]]),
        np.concatenate([labels.classes, np.full(count, len(labels.names))]),
        np.concatenate([labels.places, np.arange(start, start + count)]),
        (*labels.names, EVERYTHING_ELSE),
        labels.notes,
    )


def _covered(source: LayerSource, grid: Grid) -> Iterator[NDArray[np.bool_]]:
    """Yield which pixels of each block a layer covers, lines and points by what they touch."""
    windows = list(blocks(grid))
    if isinstance(source, RasterSource):
        layer = RasterClasses(source, "area")
        for found in layer.read(grid, windows):
            zero = layer.values.index(NO_CLASS) + 1 if NO_CLASS in layer.values else 0
            yield (found > 0) & (found != zero)
        return
    shapes = read_features(source, grid, "").shapes
    tree = shapely.STRtree(shapes)
    for window in windows:
        left, top = int(window.col_off), int(window.row_off)
        shape = (int(window.height), int(window.width))
        box = shapely.box(left, top, left + shape[1], top + shape[0])
        near = [one for one in shapes[np.sort(tree.query(box))] if not one.is_empty]
        if not near:
            yield np.zeros(shape, dtype=bool)
            continue
        place = Affine.translation(left, top)
        yield rasterize(near, shape, transform=place, all_touched=False).astype(bool)


def _thinned(labels: Labels, rng: np.random.Generator) -> Labels:
    """Keep at most `PIXELS_A_CLASS` pixels of a class and `MOST_PIXELS` in all."""
    limit = min(PIXELS_A_CLASS, max(MOST_PIXELS // len(labels.names), PIXELS_A_PLACE))
    kept = []
    thinned = False
    for number in range(len(labels.names)):
        members = np.flatnonzero(labels.classes == number)
        if len(members) > limit:
            members, thinned = rng.choice(members, limit, replace=False), True
        kept.append(members)
    result = labels.take(np.sort(np.concatenate(kept)))
    if not thinned:
        return result
    note = f"At most {limit:,} pixels of each class are learnt from, chosen at random."
    return replace(result, notes=(*result.notes, note))
