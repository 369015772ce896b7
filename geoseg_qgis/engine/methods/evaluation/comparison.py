"""Result and reference on the same pixels, read once and kept as bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.metrics.boundary import LEFT_OUT
from geoseg_qgis.engine.metrics.confusion import Counts, count_pairs
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchArray, ScratchFolder
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .class_maps import MAXIMUM_VALUES, ClassMap, PolygonClasses
from .class_matching import Matching

Codes = NDArray[np.uint8]
ReadCodes = Callable[[Window], tuple[Codes, Codes]]


class Comparison:
    """Result and reference on the same pixels, as indexes into their values.

    Args:
        folder: Where the indexes are kept.
        grid: The pixels.
        maps: Result and reference.
    """

    def __init__(self, folder: ScratchFolder, grid: Grid, maps: tuple[ClassMap, ClassMap]) -> None:
        self.grid = grid
        self.maps = maps
        self.windows = list(blocks(grid))
        self._arrays = tuple(
            ScratchArray(folder, name, 1, grid.height, grid.width, np.uint8)
            for name in ("result", "reference")
        )
        size = MAXIMUM_VALUES + 1
        self.pairs: Counts = np.zeros((size, size), dtype=np.int64)
        self._mapped_box: tuple[float, float, float, float] | None = None

    def read(self, context: JobContext) -> None:
        """Read both, once."""
        result, reference = (layer.read(self.grid, self.windows) for layer in self.maps)
        parts = zip(self.windows, result, reference, strict=True)
        for number, (window, first, second) in enumerate(parts):
            for array, values in zip(self._arrays, (first, second), strict=True):
                array.write(window, values[None])
            self.pairs += count_pairs(second, first, self.pairs.shape)
            if isinstance(self.maps[1], PolygonClasses):
                self._extend_box(window, second > 1)
            context.progress((number + 1) / len(self.windows), "Reading result and reference")

    def require_overlap(self) -> None:
        """Refuse layers that have no pixel in common.

        Raises:
            JobError: ``EXTENT_OUTSIDE``.
        """
        result, reference = self.maps
        drawn = [
            counts[2 if isinstance(layer, PolygonClasses) else 1 :].sum()
            for layer, counts in (
                (result, self.pairs.sum(axis=0)),
                (reference, self.pairs.sum(axis=1)),
            )
        ]
        if self.pairs[1:, 1:].any() and all(drawn):
            return
        if not all(drawn):
            empty = result if not drawn[0] else reference
            other = reference if empty is result else result
            what = "polygon" if isinstance(empty, PolygonClasses) else "data"
            message = f"No {what} of {empty.name!r} lies where {other.name!r} is compared."
        else:
            message = f"{result.name!r} and {reference.name!r} have no pixel with data in common."
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            message,
            "Check that both cover the same place, that their CRSs are right, and the extent.",
        )

    def reader(self, matching: Matching) -> ReadCodes:
        """Return a function that reads the classes of a window, 255 where either is left out."""
        tables = self.tables(matching)

        def read(window: Window) -> tuple[Codes, Codes]:
            first, second = (
                table[array.read(window)[0]]
                for table, array in zip(tables, self._arrays, strict=True)
            )
            left_out = (first == LEFT_OUT) | (second == LEFT_OUT)
            first[left_out] = LEFT_OUT
            second[left_out] = LEFT_OUT
            return first, second

        return read

    def tables(self, matching: Matching) -> tuple[Codes, Codes]:
        """Return the class of each index of result and reference."""
        coders = (matching.result_code, matching.reference_code)
        tables = []
        for layer, code in zip(self.maps, coders, strict=True):
            table = np.full(MAXIMUM_VALUES + 1, LEFT_OUT, dtype=np.uint8)
            table[1 : len(layer.values) + 1] = [code(value) for value in layer.values]
            tables.append(table)
        return tables[0], tables[1]

    def matrix(self, matching: Matching) -> Counts:
        """Return the pairs of classes, reference in rows."""
        size = len(matching.classes) + 1
        matrix: Counts = np.zeros((size, size), dtype=np.int64)
        result, reference = self.tables(matching)
        for row, column in np.argwhere(self.pairs):
            if LEFT_OUT not in (reference[row], result[column]):
                matrix[reference[row], result[column]] += self.pairs[row, column]
        return matrix

    def mapped(self, matching: Matching) -> Counts:
        """Return the pixels of each class of the result, those without a reference included."""
        counts: Counts = np.zeros(len(matching.classes) + 1, dtype=np.int64)
        table = self.tables(matching)[0]
        kept = table != LEFT_OUT
        np.add.at(counts, table[kept], self.pairs.sum(axis=0)[kept])
        return counts

    def mapped_share(self) -> float:
        """Return the share of the grid that the box around all reference polygons covers."""
        if self._mapped_box is None:
            return 1.0
        top, bottom, left, right = self._mapped_box
        return (bottom - top) * (right - left) / (self.grid.height * self.grid.width)

    def _extend_box(self, window: Window, drawn: NDArray[np.bool_]) -> None:
        rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
        if not rows.size:
            return
        top, left = window.row_off, window.col_off
        box = top + rows[0], top + rows[-1] + 1, left + columns[0], left + columns[-1] + 1
        old = self._mapped_box or box
        self._mapped_box = (
            min(old[0], box[0]), max(old[1], box[1]), min(old[2], box[2]), max(old[3], box[3])
        )  # fmt: skip
