"""Rasters, prompt layers and jobs for tests."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import rasterio
import shapely
import tiny_models
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.methods.prompted.prompted_objects import ObjectPrompt, Rectangle
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.source import (
    GridRequest,
    RasterSource,
    Stretch,
    StretchKind,
    VectorSource,
)
from geoseg_qgis.protocol.tasks.prompts import PromptsTask

UTM = "EPSG:32633"
NO_POINTS = np.zeros((0, 2))
NORTH_UP = Affine(0.2, 0.0, 400000.0, 0.0, -0.2, 5000000.0)


@dataclasses.dataclass(frozen=True)
class Houses:
    """A generated scene and its buildings, in pixels.

    Attributes:
        pixels: (H, W, 3) uint8.
        masks: Of each building.
        boxes: Round each building.
        inner: A point deep inside of each.
    """

    pixels: NDArray[np.uint8]
    masks: list[NDArray[np.bool_]]
    boxes: NDArray[np.object_]
    inner: NDArray[np.object_]


def write_tiny_preset(folder: Path) -> Path:
    """Write a preset of a tiny random SAM 2 that reads tiles of 128 pixels."""
    folder.mkdir(exist_ok=True)
    component, _ = tiny_models.write_sam2(folder)
    card = {
        "name": "tiny-clicks",
        "title": "Tiny clicks",
        "revision": "1",
        "licence": "CC0-1.0",
        "description": "Random weights in the published layout.",
        "methods": ["sam2"],
        "sam2": plain(component),
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def plain(value: Any) -> Any:
    """Return a component as the JSON object of a card."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        return {name: plain(item) for name, item in members.items() if item is not None}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def write_image(
    path: Path,
    pixels: NDArray[np.uint8],
    transform: Affine = NORTH_UP,
    crs: str | None = UTM,
    nodata: int | None = None,
) -> Path:
    """Write pixels (H, W, 3) as a GeoTIFF."""
    height, width, _ = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=3, dtype="uint8",
        transform=transform, crs=crs, nodata=nodata,
    ) as dataset:  # fmt: skip
        dataset.write(pixels.transpose(2, 0, 1))
    return path


def on_map(shapes: Sequence[BaseGeometry], transform: Affine) -> NDArray[np.object_]:
    """Return shapes in pixel coordinates as they lie on the map."""
    t = transform
    return np.asarray(
        shapely.transform(
            np.array(list(shapes), dtype=object),
            lambda p: np.stack(
                [
                    t.a * p[:, 0] + t.b * p[:, 1] + t.c,
                    t.d * p[:, 0] + t.e * p[:, 1] + t.f,
                ],
                axis=1,
            ),
        ),
        dtype=object,
    )


def write_layer(
    path: Path,
    shapes: Sequence[BaseGeometry | None] | NDArray[np.object_],
    fields: Mapping[str, Any] | None = None,
    crs: str | None = UTM,
    empty: Mapping[str, NDArray[np.bool_]] | None = None,
) -> VectorSource:
    """Write geometries in map coordinates as a layer called prompts."""
    columns = {name: np.asarray(values) for name, values in (fields or {}).items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        pyogrio.raw.write(
            str(path),
            shapely.to_wkb(np.array(list(shapes), dtype=object)),
            list(columns.values()),
            list(columns),
            field_mask=[(empty or {}).get(name) for name in columns],
            geometry_type="Unknown",
            crs=crs,
            driver="GPKG",
            layer="prompts",
        )
    return VectorSource(str(path), "prompts")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run wrote."""

    result: Result
    fields: dict[str, list[Any]]
    outlines: list[BaseGeometry]
    mask: NDArray[np.uint8]


def segment(
    image: Path,
    prompts: VectorSource,
    folder: Path,
    preset: str = "",
    *,
    grid: GridRequest | None = None,
    method: str = "sam2",
    context: JobContext | None = None,
    **members: Any,
) -> Outcome:
    """Run a job and read what it wrote."""
    job = make_job(image, prompts, folder, preset, grid=grid, method=method, **members)
    result = run_job(job, context or JobContext())
    outlines, fields = read_layer(Path(result.files["POLYGONS"]))
    with rasterio.open(result.files["OUTPUT"]) as dataset:
        mask = dataset.read(1)
    return Outcome(result, fields, outlines, mask)


def make_job(
    image: Path,
    prompts: VectorSource,
    folder: Path,
    preset: str = "",
    *,
    grid: GridRequest | None = None,
    method: str = "sam2",
    **members: Any,
) -> Job:
    """Return a job that writes both results into a folder."""
    files = {
        "polygon_file": str(folder / "outlines.gpkg"),
        "mask_raster": str(folder / "mask.tif"),
    }
    return Job(
        RasterSource(str(image), image.stem, stretch=Stretch(StretchKind.NONE)),
        PromptsTask(prompts, **{**files, **members}),
        grid or GridRequest(),
        method,
        preset,
        "cpu",
    )


def read_layer(path: Path) -> tuple[list[BaseGeometry], dict[str, list[Any]]]:
    """Return the geometries and the fields of the outlines."""
    meta, _, geometry, columns = pyogrio.raw.read(str(path), layer="polygons")
    names = [str(name) for name in meta["fields"]]
    fields = dict(zip(names, (column.tolist() for column in columns), strict=True))
    return list(shapely.from_wkb(geometry)), fields


def overlap(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return the intersection over union of two masks."""
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    return float((one & other).sum() / max((one | other).sum(), 1))


def prompted(
    positive: np.ndarray = NO_POINTS,
    negative: np.ndarray = NO_POINTS,
    areas: Sequence[Rectangle] = (),
    limits: BaseGeometry | None = None,
    number: int = 0,
) -> ObjectPrompt:
    """Return an object that is asked for by points on it, then by points beside it."""
    points = np.concatenate([positive, negative])
    on_object = np.arange(len(points)) < len(positive)
    return ObjectPrompt(number, number, 1, points, on_object, tuple(areas), limits)
