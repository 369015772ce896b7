"""Arguments that several commands share, and the parts of a job that they stand for."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from geoseg_qgis.protocol.source import (
    Extent,
    GridRequest,
    RasterSource,
    Stretch,
    StretchKind,
    VectorSource,
)

STRETCHES = [kind.value for kind in StretchKind if kind is not StretchKind.LAYER]


def grid_of(options: argparse.Namespace) -> GridRequest:
    """Return the part and the pixel size that were asked for."""
    return GridRequest(Extent(*options.extent) if options.extent else None, options.resolution)


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the grid."""
    parser.add_argument(
        "--extent", type=float, nargs=4, metavar=("XMIN", "YMIN", "XMAX", "YMAX"),
        help="part to process, in the raster's CRS",
    )  # fmt: skip
    parser.add_argument("--resolution", type=float, help="map units per pixel")


def add_imagery(
    parser: argparse.ArgumentParser,
    methods: str = "gumix, mask_selection or fast",
    method: str = "gumix",
) -> None:
    """Add the arguments of jobs that read imagery with a model.

    Args:
        parser: That of the command.
        methods: What the method may be, for the help.
        method: The one that is used when none is named.
    """
    parser.add_argument("--input", required=True, help="raster: anything that GDAL opens")
    add_grid(parser)
    parser.add_argument("--bands", type=int, nargs="+", default=[], help="red green blue, from 1")
    parser.add_argument("--nodata", type=float, nargs="+", default=[], help="further nodata values")
    parser.add_argument(
        "--stretch", choices=STRETCHES, default=StretchKind.PERCENTILES.value, help="to 8 bits"
    )
    parser.add_argument("--method", default=method, help=methods)
    parser.add_argument("--model", default="", help="preset name or folder")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, cuda:all, mps, cpu")


def source_of(options: argparse.Namespace) -> RasterSource:
    """Return the raster to read."""
    return RasterSource(
        uri=absolute(options.input),
        name=Path(options.input).stem,
        bands=tuple(options.bands),
        nodata=tuple(options.nodata),
        stretch=Stretch(StretchKind(options.stretch)),
    )


def layer_of(path: str | None) -> tuple[VectorSource | None, RasterSource | None]:
    """Return a path as a polygon layer or as a raster, by its ending."""
    if path is None:
        return None, None
    rasters = (".tif", ".tiff", ".vrt", ".img", ".jp2", ".png")
    if path.lower().endswith(rasters):
        return None, RasterSource(absolute(path), Path(path).stem)
    return VectorSource(absolute(path)), None


def absolute(path: str) -> str:
    """Return a file's absolute path; what GDAL reads otherwise (``/vsizip/``, URLs) stays."""
    return str(Path(path).resolve()) if os.path.exists(path) else path  # noqa: PTH110


def absolute_or_none(path: str | None) -> str | None:
    """Return the absolute path of a file to write, None for none."""
    return str(Path(path).absolute()) if path else None
