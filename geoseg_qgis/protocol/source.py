"""What a job reads: rasters that GDAL can open, and vector layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Dict, Optional, Tuple, Union

from .errors import ErrorCode, JobError
from .parameters import Choice, parameter


class StretchKind(Choice):
    """How band values become the 8-bit values that networks were trained on."""

    LAYER = "layer", "the contrast limits of the layer's style, or percentiles where it has none"
    PERCENTILES = "percentiles", "the 2 % and 98 % quantiles"
    MINMAX = "minmax", "the lowest and the highest value"
    NONE = "none", "8-bit values as they are"


@dataclass(frozen=True)
class Stretch:
    """One linear stretch for the whole run, never per tile.

    Attributes:
        kind: ``LAYER`` uses ``limits`` as given by the map layer; ``PERCENTILES`` measures the
            2 % and 98 % quantiles from overviews; ``MINMAX`` measures the extremes; ``NONE``
            passes 8-bit values on and refuses others.
        limits: ``(minimum, maximum)`` of each chosen band, for ``LAYER``.
    """

    kind: StretchKind = parameter(
        "Contrast stretch",
        "How band values become the 8-bit values that models were trained on, once for the whole "
        "run.",
        StretchKind.PERCENTILES,
        name="STRETCH",
        suggestion=StretchKind.LAYER.value,
        only_in_dialogs=(StretchKind.LAYER.value,),
        advanced=True,
    )
    limits: Tuple[Tuple[float, float], ...] = ()

    def checked(self) -> Stretch:
        """Return itself.

        Raises:
            JobError: ``INVALID_JOB`` when the limits of the layer are not there.
        """
        if self.kind is StretchKind.LAYER and not self.limits:
            raise JobError(
                ErrorCode.INVALID_JOB,
                "Contrast stretch is 'layer', but the job holds no contrast limits of a layer.",
                "Choose percentiles, minmax or none.",
            )
        return self


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
        nodata_ranges: Smallest and largest value of each range that the layer shows as nodata.
        nodata_colors: Values of the three bands of each colour that the layer shows transparent.
        stretch: See `Stretch`.
        alpha_band: Band that holds 0 where nothing was rendered, for snapshots.
        class_names: Value to class name, as the map layer shows it; these names take precedence
            over those in the file.
    """

    TAG: ClassVar[str] = "raster"

    uri: str
    name: str = ""
    crs_wkt: str = ""
    bands: Tuple[int, ...] = parameter(
        "Bands",
        "Three bands in the order red, green, blue, or a single band. The bands that the layer "
        "shows are used when empty.",
        (),
        name="BANDS",
        minimum=1,
        maximum=65535,
        longest=3,
        unit="red, green, blue",
        advanced=True,
    )
    nodata: Tuple[float, ...] = parameter(
        "Nodata values",
        "Values that count as nodata, besides those of the file.",
        (),
        flag="--nodata",
        longest=16,
    )
    stretch: Stretch = field(default_factory=Stretch)
    alpha_band: Optional[int] = None
    class_names: Dict[str, str] = field(default_factory=dict)
    nodata_ranges: Tuple[Tuple[float, float], ...] = ()
    nodata_colors: Tuple[Tuple[float, float, float], ...] = ()

    @property
    def location(self) -> str:
        """What is opened."""
        return self.uri

    def checked(self) -> RasterSource:
        """Return itself.

        Raises:
            JobError: ``INVALID_JOB`` for two bands.
        """
        if len(self.bands) == 2:
            raise JobError(
                ErrorCode.INVALID_JOB,
                "2 bands were chosen.",
                "Choose three (red, green, blue), one, or none for those the layer shows.",
            )
        return self


@dataclass(frozen=True)
class VectorSource:
    """A vector layer in a file.

    Attributes:
        path: The file.
        layer: Layer in the file; empty for its first.
        crs_wkt: CRS of the layer as WKT; empty means that of the file, if any.
        name: What people call the layer.
        placed_field: Binary field with each geometry as WKB in the CRS of the raster, where QGIS
            has worked that out; empty leaves the transformation to the engine.
    """

    TAG: ClassVar[str] = "vector"

    path: str
    layer: str = ""
    crs_wkt: str = ""
    name: str = ""
    placed_field: str = ""

    @property
    def location(self) -> str:
        """What is opened."""
        return self.path


LayerSource = Union[RasterSource, VectorSource]
"""A layer of either type; the member ``type`` of its JSON form is ``raster`` or ``vector``."""


@dataclass(frozen=True)
class Extent:
    """A rectangle in the CRS of the raster, in map units."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


@dataclass(frozen=True)
class GridRequest:
    """Which extent of the raster to process, and with which pixel size.

    Attributes:
        extent: Extent to process; None for all of the raster.
        resolution: Map units per pixel of the results; None for the raster's own pixels.
    """

    extent: Optional[Extent] = parameter(
        "Extent",
        "Area to process, in the CRS of the layer. All of the layer is processed when empty.",
        None,
        name="EXTENT",
    )
    resolution: Optional[float] = parameter(
        "Resolution",
        "Pixel size of the results in units of the layer's CRS. The layer's own pixels are used "
        "when empty. Coarser pixels are faster and show the model more surroundings.",
        None,
        name="RESOLUTION",
        minimum=0.0,
        maximum=1e6,
        above=True,
        unit="map units per pixel",
    )
