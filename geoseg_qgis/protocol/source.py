"""What a job reads: a raster that GDAL can open, and vector layers beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional, Tuple


class StretchKind(str, Enum):
    """How band values become the 8-bit values that networks were trained on."""

    LAYER = "layer"
    PERCENTILES = "percentiles"
    MINMAX = "minmax"
    NONE = "none"


@dataclass(frozen=True)
class Stretch:
    """One linear stretch for the whole run, never per tile.

    Attributes:
        kind: ``LAYER`` uses ``limits`` as given by the map layer; ``PERCENTILES`` measures the
            2 % and 98 % quantiles from overviews; ``MINMAX`` measures the extremes; ``NONE``
            passes 8-bit values on and refuses others.
        limits: ``(minimum, maximum)`` of each chosen band, for ``LAYER``.
    """

    kind: StretchKind = StretchKind.PERCENTILES
    limits: Tuple[Tuple[float, float], ...] = ()


@dataclass(frozen=True)
class RasterSource:
    """A raster, frozen when the job was made.

    Attributes:
        uri: What GDAL opens: a path, ``/vsizip/...``, ``GPKG:file:table``.
        name: What people call the layer.
        crs_wkt: The CRS of the map layer as WKT; empty means that of the file, if any.
        bands: One-based band numbers used as red, green, blue (one band is used three times);
            empty chooses the visible ones.
        nodata: Values the user declared as nodata besides the file's own.
        stretch: See `Stretch`.
        alpha_band: Band that holds 0 where nothing was rendered, for snapshots.
    """

    uri: str
    name: str = ""
    crs_wkt: str = ""
    bands: Tuple[int, ...] = ()
    nodata: Tuple[float, ...] = ()
    stretch: Stretch = field(default_factory=Stretch)
    alpha_band: Optional[int] = None


@dataclass(frozen=True)
class VectorSource:
    """A vector layer written to a file: path, layer name and CRS as WKT."""

    path: str
    layer: str = ""
    crs_wkt: str = ""


@dataclass(frozen=True)
class Extent:
    """A rectangle in the CRS of the raster, in map units."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


@dataclass(frozen=True)
class GridRequest:
    """Which part of the raster to process, and how finely.

    Attributes:
        extent: Part to process; None for all of the raster.
        resolution: Map units per pixel of the results; None for the raster's own pixels.
    """

    extent: Optional[Extent] = None
    resolution: Optional[float] = None
