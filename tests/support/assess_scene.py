"""A scene of bright objects on dark ground, and masks of it that are known to be wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.source import GridRequest, RasterSource, VectorSource
from geoseg_qgis.protocol.tasks.assess import AssessTask

HEIGHT, WIDTH = 256, 320
CRS = "EPSG:32632"
NORTH_UP = Affine(0.5, 0.0, 500000.0, 0.0, -0.5, 5600000.0)
ROTATED = NORTH_UP @ Affine.rotation(25.0)
Box = tuple[int, int, int, int]
# First row, last row + 1, first column, last column + 1; all are whole patches of the network.
WHOLE: Box = (32, 64, 32, 96)
HALF: Box = (128, 160, 64, 128)
LACKING: Box = (192, 224, 224, 272)
FALSE: Box = (96, 128, 224, 288)
MASKED_HALF: Box = (128, 160, 96, 128)
BRIGHT = (WHOLE, HALF, LACKING)
MASKED = (WHOLE, MASKED_HALF, FALSE)


def drawn(boxes: dict[Box, int], shape: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    """Return boxes as a raster of their values."""
    values = np.zeros(shape, dtype=np.uint8)
    for (top, bottom, left, right), value in boxes.items():
        values[top:bottom, left:right] = value
    return values


def write_bands(
    path: Path,
    bands: NDArray[Any],
    transform: Affine = NORTH_UP,
    crs: str | None = CRS,
    nodata: float | None = None,
) -> RasterSource:
    """Write (C, H, W) as a GeoTIFF."""
    count, height, width = bands.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count,
        dtype=bands.dtype.name, transform=transform, crs=crs, nodata=nodata,
    ) as dataset:  # fmt: skip
        dataset.write(bands)
    return RasterSource(str(path), path.stem)


def imagery(
    path: Path,
    transform: Affine = NORTH_UP,
    hole: Box | None = None,
    boxes: tuple[Box, ...] = BRIGHT,
    shape: tuple[int, int] = (HEIGHT, WIDTH),
) -> RasterSource:
    """Write the scene: 210 where it is bright, 40 elsewhere, 0 is nodata."""
    grey = np.where(drawn(dict.fromkeys(boxes, 1), shape) > 0, 210, 40).astype(np.uint8)
    if hole is not None:
        grey[hole[0] : hole[1], hole[2] : hole[3]] = 0
    return write_bands(path, np.stack([grey] * 3), transform, nodata=0)


def in_map(box: Box, transform: Affine = NORTH_UP, crs: str = CRS) -> shapely.Polygon:
    """Return a box of pixels as a polygon of the map."""
    top, bottom, left, right = box
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    points = [transform @ corner for corner in corners]
    if crs != CRS:
        turn = Transformer.from_crs(CRS, crs, always_xy=True)
        points = [turn.transform(*point) for point in points]
    return shapely.Polygon(points)


def write_layer(
    path: Path,
    shapes: list[Any],
    fields: dict[str, NDArray[Any]] | None = None,
    crs: str | None = CRS,
    masks: list[NDArray[np.bool_] | None] | None = None,
) -> VectorSource:
    """Write polygons with fields."""
    fields = fields or {}
    pyogrio.raw.write(
        str(path),
        geometry=shapely.to_wkb(np.array(shapes, dtype=object)),
        field_data=list(fields.values()),
        fields=list(fields),
        field_mask=masks,
        geometry_type="Polygon",
        crs=crs,
        driver="GPKG",
    )
    return VectorSource(str(path))


@dataclass
class Layer:
    """A GeoPackage as read back: columns by name, shapes, CRS."""

    columns: dict[str, list[Any]]
    shapes: NDArray[np.object_]
    crs: str

    def sorted_by(self, name: str, of: str) -> list[Any]:
        """Return a column in the order of another."""
        pairs = zip(self.columns[of], self.columns[name], strict=True)
        return [value for _, value in sorted(pairs, key=lambda pair: pair[0])]


def read_layer(path: Path) -> Layer:
    """Read the polygons of a result."""
    meta, _, geometry, columns = pyogrio.raw.read(str(path), layer="polygons")
    named = {
        str(name): column.tolist() for name, column in zip(meta["fields"], columns, strict=True)
    }
    return Layer(named, shapely.from_wkb(geometry), str(meta["crs"]))


def read_band(path: Path, band: int = 1, window: Window | None = None) -> NDArray[Any]:
    """Return one band."""
    with rasterio.open(path) as dataset:
        values: NDArray[Any] = dataset.read(band, window=window)
    return values


@dataclass
class Assessed:
    """A finished job and where its files lie."""

    result: Result
    folder: Path
    context: JobContext = field(default_factory=JobContext)

    @property
    def quality(self) -> NDArray[np.uint8]:
        """The quality raster."""
        return read_band(self.folder / "quality.tif")

    @property
    def polygons(self) -> Layer:
        """The assessed polygons."""
        return read_layer(self.folder / "polygons.gpkg")

    @property
    def missed(self) -> Layer:
        """The missed objects."""
        return read_layer(self.folder / "missed.gpkg")

    @property
    def scores(self) -> NDArray[np.float64]:
        """The four probabilities, NaN where nothing is known, (4, H, W)."""
        bands = np.stack([read_band(self.folder / "scores.tif", band) for band in (1, 2, 3, 4)])
        return np.where(bands == 255, np.nan, bands / 254)


def assess(
    folder: Path,
    preset: Path,
    source: RasterSource,
    grid: GridRequest | None = None,
    context: JobContext | None = None,
    **task: Any,
) -> Assessed:
    """Run an assessment that writes everything into ``folder``."""
    folder.mkdir(exist_ok=True)
    context = context or JobContext()
    files = {
        "quality_raster": "quality.tif", "polygon_file": "polygons.gpkg",
        "missed_file": "missed.gpkg", "repaired_mask": "repaired.tif",
        "scores": "scores.tif", "report": "report.html",
    }  # fmt: skip
    named = {name: str(folder / file) for name, file in files.items()}
    whole = AssessTask(**{**named, **task})
    job = Job(source, whole, grid or GridRequest(), model=str(preset))
    result = run_job(Job.from_json(job.to_json()), context)
    return Assessed(result, folder, context)
