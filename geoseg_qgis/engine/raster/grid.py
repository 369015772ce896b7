"""Pixel grids: where the pixels of sources, networks and results are on the ground.

A grid is a transform, a size and a CRS. The grids of one run share the axes of the source raster,
so a rectangle of one is a rectangle of any other, with any rotation and in any CRS.

Example:
    >>> source = Grid(Affine(0.5, 0, 1000, 0, -0.5, 2000), 400, 200, "")
    >>> source.bounds
    (1000.0, 1900.0, 1200.0, 2000.0)
    >>> source.rescaled(200, 100).pixel_size
    (1.0, 1.0)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.windows import Window

from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import Extent, GridRequest

# Some 20 GB for a class raster.
MAXIMUM_PIXELS = 2e10
# Pixels 16 times finer than those of the source are a mistake in the units.
MAXIMUM_REFINEMENT = 16.0
MINIMUM_SIDE = 8
# Rounding of coordinates in files, in pixels.
_SNAP = 1e-3
# A resampling by less than 2 % costs sharpness and gains nothing.
_SAME_SIZE = 0.02
# Scale errors of usual projections, such as UTM, are below 1 %.
_TRUE_TO_SCALE = 0.01


@dataclass(frozen=True)
class Grid:
    """A raster's pixels on the ground.

    Attributes:
        transform: Pixel (column, row) to map coordinates; pixels are areas, (0, 0) is a corner.
        width: Columns.
        height: Rows.
        crs_wkt: CRS as WKT; empty for none.
    """

    transform: Affine
    width: int
    height: int
    crs_wkt: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, the shape of an array."""
        return self.height, self.width

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax of the grid, in map units."""
        corners = [(0, 0), (self.width, 0), (0, self.height), (self.width, self.height)]
        xs, ys = zip(*(self.map_point(column, row) for column, row in corners))
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Lengths of a pixel along a row and along a column, in map units."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    def map_point(self, column: float, row: float) -> tuple[float, float]:
        """Return the map coordinates of a pixel position."""
        t = self.transform
        return t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f

    def pixel_point(self, x: float, y: float) -> tuple[float, float]:
        """Return the (column, row) position of map coordinates."""
        t = ~self.transform
        return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f

    def nearest_turn(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return longitudes shifted by multiples of 360 degrees to be nearest to the grid.

        A raster may extend from 179.9 to 180.1 degrees, where features have -179.9. Coordinates
        of projected systems are returned as they are.
        """
        if not self.crs_wkt:
            return x
        crs = _parse_crs(self.crs_wkt)
        if not crs.is_geographic:
            return x
        turn = math.tau / crs.axis_info[0].unit_conversion_factor
        centre, _ = self.map_point(self.width / 2.0, self.height / 2.0)
        return np.asarray(x - np.round((x - centre) / turn) * turn)

    def map_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the map coordinates of pixel positions (n, 2)."""
        t, columns, rows = self.transform, points[:, 0], points[:, 1]
        x, y = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
        return np.stack([x, y], axis=1)

    def pixel_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the pixel positions of map coordinates (n, 2)."""
        t, x, y = ~self.transform, points[:, 0], points[:, 1]
        columns, rows = t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f
        return np.stack([columns, rows], axis=1)

    def ground_pixel_size(self) -> tuple[float, float] | None:
        """Return the metres of the centre pixel along a row and a column; None without a CRS.

        Geographic systems are measured on their ellipsoid. The units of projected systems are used
        as they are, unless their scale is off by more than a percent there, as in Web Mercator:
        then the ellipsoid is used as well.
        """
        if not self.crs_wkt:
            return None
        crs = _parse_crs(self.crs_wkt)
        nominal = self._nominal_pixel_size(crs)
        true = self._geodesic_pixel_size()
        if true is None or nominal is None:
            return true or nominal
        close = all(abs(n / t - 1.0) <= _TRUE_TO_SCALE for n, t in zip(nominal, true))
        return nominal if close else true

    def _nominal_pixel_size(self, crs: CRS) -> tuple[float, float] | None:
        if crs.is_geographic or not crs.axis_info:
            return None
        factor = crs.axis_info[0].unit_conversion_factor or 1.0
        size_x, size_y = self.pixel_size
        return size_x * factor, size_y * factor

    def _geodesic_pixel_size(self) -> tuple[float, float] | None:
        column, row = self.width / 2.0, self.height / 2.0
        ends = [(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)]
        points = np.array([self.map_point(column + dx, row + dy) for dx, dy in ends])
        try:
            longitude, latitude = to_geographic(self.crs_wkt, points[:, 0], points[:, 1])
            geod = ellipsoid(self.crs_wkt)
        except (CRSError, ProjError):
            return None
        if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
            return None
        _, _, length = geod.inv(longitude[::2], latitude[::2], longitude[1::2], latitude[1::2])
        if not all(math.isfinite(value) and value > 0.0 for value in length):
            return None
        return float(length[0]), float(length[1])

    def rescaled(self, width: int, height: int) -> Grid:
        """Return a grid of another size over the same ground rectangle."""
        scale = Affine.scale(self.width / width, self.height / height)
        return Grid(self.transform @ scale, width, height, self.crs_wkt)

    def window_grid(self, window: Window) -> Grid:
        """Return the grid of a window of this one."""
        shift = Affine.translation(window.col_off, window.row_off)
        return Grid(self.transform @ shift, int(window.width), int(window.height), self.crs_wkt)

    def axes_to(self, other: Grid) -> tuple[float, float, float, float]:
        """Return ``(scale_x, offset_x, scale_y, offset_y)`` from pixels here to pixels there.

        Raises:
            ValueError: When the two grids do not share their axes.
        """
        t = ~other.transform @ self.transform
        skew = max(abs(t.b) * self.height / other.width, abs(t.d) * self.width / other.height)
        if skew * max(other.width, other.height) > 0.01 or t.a <= 0 or t.e <= 0:
            raise ValueError("The grids do not lie on the same axes.")
        return t.a, t.c, t.e, t.f


@lru_cache(maxsize=64)
def _parse_crs(wkt: str) -> CRS:
    return CRS.from_user_input(wkt)


@lru_cache(maxsize=64)
def ellipsoid(crs_wkt: str) -> Geod:
    """Return the ellipsoid of a CRS, that of WGS 84 when it has none of its own."""
    return _parse_crs(crs_wkt).get_geod() or Geod(ellps="WGS84")


@lru_cache(maxsize=64)
def _geographic_transformer(wkt: str) -> tuple[Transformer, float]:
    crs = _parse_crs(wkt)
    geographic = crs.geodetic_crs
    if geographic is None:
        raise CRSError("The CRS has no geographic base.")
    degrees = math.degrees(geographic.axis_info[0].unit_conversion_factor)
    return Transformer.from_crs(crs, geographic, always_xy=True), degrees


def to_geographic(
    crs_wkt: str, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitude and latitude in degrees on the ellipsoid of a CRS.

    Raises:
        CRSError: When the CRS has no tie to an ellipsoid (local engineering systems).
    """
    transformer, degrees = _geographic_transformer(crs_wkt)
    longitude, latitude = transformer.transform(x, y)
    return np.asarray(longitude) * degrees, np.asarray(latitude) * degrees


def output_grid(source: Grid, request: GridRequest) -> Grid:
    """Return the grid of the results.

    Without a resolution it has the source's own pixels, those that the extent touches. With one it
    has square pixels of that many map units, from the same corner.

    Raises:
        JobError: ``EXTENT_OUTSIDE`` when the extent does not overlap the raster;
            ``RESOLUTION_UNUSABLE`` when the pixels would be too coarse, too fine or too many.
    """
    part = source if request.extent is None else _clip(source, request.extent)
    grid = part if request.resolution is None else _with_resolution(part, request.resolution)
    if grid.width * float(grid.height) > MAXIMUM_PIXELS:
        raise JobError(
            ErrorCode.RESOLUTION_UNUSABLE,
            f"The result would have {grid.width} x {grid.height} pixels.",
            "Choose a smaller extent or a coarser resolution.",
        )
    return grid


def _clip(source: Grid, extent: Extent) -> Grid:
    sides = (extent.xmin, extent.ymin, extent.xmax, extent.ymax)
    usable = all(math.isfinite(side) for side in sides)
    if not usable or extent.xmax <= extent.xmin or extent.ymax <= extent.ymin:
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            "The extent has no area.",
            "Give xmin, ymin, xmax, ymax in the raster's own CRS, smaller number first.",
        )
    corners = [(x, y) for x in (extent.xmin, extent.xmax) for y in (extent.ymin, extent.ymax)]
    columns, rows = zip(*(source.pixel_point(x, y) for x, y in corners))
    left, right = _snap_outward(min(columns), max(columns), source.width)
    top, bottom = _snap_outward(min(rows), max(rows), source.height)
    if right <= left or bottom <= top:
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            "The extent lies outside the raster.",
            "Choose an extent that overlaps the raster, in the raster's CRS: "
            f"it covers {', '.join(f'{value:.8g}' for value in source.bounds)}.",
        )
    return source.window_grid(Window(left, top, right - left, bottom - top))


def _snap_outward(low: float, high: float, size: int) -> tuple[int, int]:
    return max(math.floor(low + _SNAP), 0), min(math.ceil(high - _SNAP), size)


def _with_resolution(part: Grid, resolution: float) -> Grid:
    if not math.isfinite(resolution) or resolution <= 0.0:
        raise _unusable(f"A resolution of {resolution:g} is not a size.", "Give a positive number")
    size_x, size_y = part.pixel_size
    if max(size_x, size_y) / resolution > MAXIMUM_REFINEMENT:
        raise _unusable(
            f"A resolution of {resolution:g} is more than {MAXIMUM_REFINEMENT:g} times finer than "
            f"the raster's own pixels of {size_x:g} x {size_y:g}.",
            "Choose a coarser one",
        )
    width = math.ceil(part.width * size_x / resolution - _SNAP)
    height = math.ceil(part.height * size_y / resolution - _SNAP)
    if width < min(MINIMUM_SIDE, part.width) or height < min(MINIMUM_SIDE, part.height):
        raise _unusable(
            f"A resolution of {resolution:g} leaves only {width} x {height} pixels.",
            f"Choose a finer one; the raster's own is {size_x:g}",
        )
    scale = Affine.scale(resolution / size_x, resolution / size_y)
    return Grid(part.transform @ scale, width, height, part.crs_wkt)


def _unusable(message: str, hint: str) -> JobError:
    return JobError(
        ErrorCode.RESOLUTION_UNUSABLE,
        message,
        f"{hint}, in map units per pixel, or leave it empty for the raster's own pixels.",
    )


def model_grid(output: Grid, source: Grid, preferred: float | None) -> Grid:
    """Return the grid that a network reads at scale 1.0.

    It covers the ground of ``output`` with pixels that are square on the ground: ``preferred``
    metres where source and result are finer, else the longer side of their own pixels, so that
    nothing is enlarged. Within 2 % of the size of the result's own pixels, those are used, which
    saves a resampling. Without a CRS the pixels stay as they are.

    Args:
        output: Grid of the results.
        source: Grid of the raster they are made from.
        preferred: Pixel size in metres that the network was made for; None or 0 for any.
    """
    finest = [
        max(source_size / output_size, 1.0)
        for source_size, output_size in zip(source.pixel_size, output.pixel_size)
    ]
    ground = output.ground_pixel_size()
    if ground is None:
        factors = finest
    else:
        own = [size * factor for size, factor in zip(ground, finest)]
        side = max(*own, preferred or 0.0)
        factors = [side / size for size in ground]
    factors = [1.0 if abs(factor - 1.0) <= _SAME_SIZE else factor for factor in factors]
    width = max(1, round(output.width / factors[0]))
    height = max(1, round(output.height / factors[1]))
    if (width, height) == (output.width, output.height):
        return output
    return output.rescaled(width, height)


def with_margin(window: Window, margin: int, grid: Grid) -> tuple[Window, tuple[slice, slice]]:
    """Return a window grown by a margin inside of its grid, and where the window lies in it."""
    top, left = max(int(window.row_off) - margin, 0), max(int(window.col_off) - margin, 0)
    bottom = min(int(window.row_off + window.height) + margin, grid.height)
    right = min(int(window.col_off + window.width) + margin, grid.width)
    row, column = int(window.row_off) - top, int(window.col_off) - left
    core = slice(row, row + int(window.height)), slice(column, column + int(window.width))
    return Window(left, top, right - left, bottom - top), core
