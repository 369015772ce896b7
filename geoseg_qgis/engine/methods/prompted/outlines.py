"""The outlines of a run with prompts: as polygons, as a mask and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.attributes import Attributes
from geoseg_qgis.engine.vector.measure import measure_polygons
from geoseg_qgis.engine.vector.polygon_layer import PlacedPolygons
from geoseg_qgis.engine.vector.polygonize import place
from geoseg_qgis.engine.vector.prompt_layer import PromptLayer

from .segmentation import FoundObject


@dataclass(frozen=True)
class Outlines:
    """The outlines of a run.

    Attributes:
        found: Objects in the order of the layer.
        layer: The prompts.
        grid: Grid of the results.
    """

    found: Sequence[FoundObject]
    layer: PromptLayer
    grid: Grid

    @property
    def in_pixels(self) -> NDArray[np.object_]:
        """The outline of each object as a multipolygon in output pixels."""
        if not self.found:
            return np.zeros(0, dtype=object)
        polygons = np.concatenate([item.polygons for item in self.found])
        owners = np.repeat(np.arange(len(self.found)), [len(item.polygons) for item in self.found])
        return np.asarray(shapely.multipolygons(polygons, indices=owners), dtype=object)

    @property
    def on_map(self) -> NDArray[np.object_]:
        """The outline of each object as a multipolygon in map coordinates."""
        return place(self.in_pixels, self.grid)

    def mask(self) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
        """Yield the blocks of the output grid, 1 inside of any outline."""
        shapes = self.in_pixels
        placed = PlacedPolygons(shapes, None, 0)
        ones = np.ones(len(shapes), dtype=np.int32)
        for window in blocks(self.grid):
            yield window, placed.burn(ones, window).astype(np.uint8)

    def table(self, on_map: NDArray[np.object_], model: str) -> Attributes:
        """Return the fields of the outlines: those of the prompts, score, area and model.

        Args:
            on_map: See `on_map`.
            model: Name of the model.
        """
        found = self.found
        rows = np.array([item.prompt.first for item in found], dtype=np.int64)
        return self.layer.attributes.take(rows).with_columns(
            {
                "score": np.array([round(item.score, 4) for item in found], dtype=np.float64),
                "area_m2": self._areas(on_map).round(3),
                "prompts": np.array([item.prompt.features for item in found], dtype=np.int32),
                "model": np.full(len(found), model, dtype=object),
            }
        )

    def _areas(self, on_map: NDArray[np.object_]) -> NDArray[np.float64]:
        """Return the area of each outline in square metres on the ellipsoid."""
        polygons, owners = shapely.get_parts(on_map, return_index=True)
        areas, _ = measure_polygons(polygons, self.grid.crs_wkt)
        sums: NDArray[np.float64] = np.bincount(owners, areas, len(on_map)).astype(np.float64)
        return sums
