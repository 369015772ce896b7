"""Class rasters and class polygons, both read window by window, as bytes, on any grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.raster.class_names import read_class_names
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.nearest import open_nearest
from geoseg_qgis.engine.vector.polygon_layer import read_polygons
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.redaction import redact
from geoseg_qgis.protocol.source import LayerSource, RasterSource, VectorSource

from .layer_classes import NO_CLASS, LayerClasses, Value

MAXIMUM_VALUES = 255
ALL_POLYGONS = "polygons"
_TABLE_RANGE = 1 << 16
_WITHOUT_VALUE = MAXIMUM_VALUES + 1
Indexes = NDArray[np.uint8]


class ClassMap(Protocol):
    """Classes of a layer on a grid."""

    @property
    def name(self) -> str:
        """Name of the layer to show."""

    def read(self, grid: Grid, windows: Iterable[Window]) -> Iterator[Indexes]:
        """Yield (h, w) for each window: 0 where there is no data, else an index into `values`."""

    @property
    def values(self) -> list[Value]:
        """The values read so far; the first has index 1."""

    def layer_classes(self) -> LayerClasses:
        """Return the values and names of the layer; complete once everything was read."""


@dataclass
class RasterClasses:
    """A class raster.

    Attributes:
        source: The raster; the first of its bands that are named is read, else band 1.
        title: ``result`` or ``reference``.
    """

    source: RasterSource
    title: str
    values: list[Value] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the raster to show."""
        return redact(self.source.name or self.source.uri)

    def read(self, grid: Grid, windows: Iterable[Window]) -> Iterator[Indexes]:
        """Yield the indexes of the values in each window, nearest pixel.

        0 is never nodata here, even if the file says so: in class rasters it means "no class".

        Raises:
            JobError: ``SOURCE_UNREADABLE``; ``INVALID_CLASSES`` for more than 255 values.
        """
        with open_nearest(self.source, grid) as raster:
            hidden = [value for value in raster.nodata if value != NO_CLASS]
            for window in windows:
                values, inside = raster.read(window)
                yield self._index(values, inside & ~np.isin(values, hidden))

    def layer_classes(self) -> LayerClasses:
        """Return its values: those that were read and those that have names."""
        names = read_class_names(self.source.uri)
        for text, label in self.source.class_names.items():
            if text.lstrip("-").isdigit() and label.strip() and label != text:
                known = names.get(int(text), ())
                names[int(text)] = (label, *(name for name in known if name != label))
        names.pop(NO_CLASS, None)
        return LayerClasses(self.title, tuple({*self.values, *names}), names)

    def _index(self, values: NDArray[np.int64], valid: NDArray[np.bool_]) -> Indexes:
        indexes = np.zeros(values.shape, dtype=np.uint8)
        seen = values[valid]
        if seen.size:
            low = int(seen.min())
            if int(seen.max()) - low < _TABLE_RANGE:
                present = np.flatnonzero(np.bincount(seen - low))
                table = np.zeros(present[-1] + 1, dtype=np.uint8)
                table[present] = [self._register(int(value) + low) for value in present]
                indexes[valid] = table[seen - low]
            else:
                present, inverse = np.unique(seen, return_inverse=True)
                numbers = [self._register(int(value)) for value in present]
                indexes[valid] = np.array(numbers, dtype=np.uint8)[inverse]
        return indexes

    def _register(self, value: int) -> int:
        if value not in self.values:
            if len(self.values) == MAXIMUM_VALUES:
                raise _too_many(self.title, self.name)
            self.values.append(value)
        return self.values.index(value) + 1


@dataclass
class PolygonClasses:
    """A polygon layer with the class of each polygon in a field.

    Polygons without a value there are left out. Where polygons overlap, one of them counts.

    Attributes:
        source: The layer.
        title: ``result`` or ``reference``.
        field_name: Field of the class; empty when all polygons are of one.
    """

    source: VectorSource
    title: str
    field_name: str
    values: list[Value] = field(default_factory=lambda: [NO_CLASS])

    @property
    def name(self) -> str:
        """Name of the layer to show."""
        return self.source.name or Path(self.source.path).stem

    def read(self, grid: Grid, windows: Iterable[Window]) -> Iterator[Indexes]:
        """Yield the indexes of the values in each window.

        Raises:
            JobError: ``SOURCE_UNREADABLE``; ``INVALID_JOB`` for a field that does not exist;
                ``INVALID_CLASSES`` for more than 254 values.
        """
        placed = read_polygons(self.source, grid, self.field_name)
        if placed.values is None:
            self.values.append(ALL_POLYGONS)
            numbers = np.full(len(placed.polygons), len(self.values), dtype=np.int32)
        else:
            numbers = self._numbers(placed.values)
        for window in windows:
            burnt = placed.burn(numbers, window)
            indexes = np.where(burnt == 0, 1, burnt)
            yield np.where(indexes == _WITHOUT_VALUE, 0, indexes).astype(np.uint8)

    def layer_classes(self) -> LayerClasses:
        """Return the values of its field, texts being names."""
        names: dict[Value, tuple[str, ...]] = {}
        if self.field_name:
            names = {value: (value,) for value in self.values if isinstance(value, str)}
        return LayerClasses(self.title, tuple(self.values), names, is_raster=False)

    def _numbers(self, values: NDArray[Any]) -> NDArray[np.int32]:
        """Return the index of the value of each polygon."""
        known: dict[Value, int] = {NO_CLASS: 1}
        numbers = np.full(len(values), _WITHOUT_VALUE, dtype=np.int32)
        for place, raw in enumerate(values.tolist()):
            value = field_value(raw)
            if value is None:
                continue
            if value not in known:
                if len(self.values) == MAXIMUM_VALUES:
                    raise _too_many(self.title, self.name)
                self.values.append(value)
                known[value] = len(self.values)
            numbers[place] = known[value]
        return numbers


def open_class_map(source: LayerSource, title: str, field_name: str) -> ClassMap:
    """Return the class map of a layer.

    Args:
        source: A class raster or class polygons.
        title: ``result`` or ``reference``, for messages.
        field_name: Field of the class of polygons; empty when all are of one.
    """
    if isinstance(source, RasterSource):
        return RasterClasses(source, title)
    return PolygonClasses(source, title, field_name)


def field_value(raw: Any) -> Value | None:
    """Return a field's value as a whole number or a text, None for an empty one."""
    if raw is None or (isinstance(raw, float) and not math.isfinite(raw)):
        return None
    if isinstance(raw, (int, float)) and float(raw).is_integer():
        return int(raw)
    return str(raw).strip() or None


def _too_many(title: str, name: str) -> JobError:
    return JobError(
        ErrorCode.INVALID_CLASSES,
        f"The {title} {name} holds more than {MAXIMUM_VALUES} different values.",
        "Choose a class raster, or the field that holds the class.",
    )
