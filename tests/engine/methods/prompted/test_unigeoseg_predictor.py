"""Points and boxes of a layer segmented by UniGeoSeg, through the whole job."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
import torch
from numpy.typing import NDArray
from scipy import ndimage
from unigeoseg_facts import TINY, write_preset

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.methods.referring.unigeoseg import Segmenter
from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.polygons import PolygonOptions
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind, VectorSource
from geoseg_qgis.protocol.tasks.prompts import PromptsTask

TRANSFORM = rasterio.Affine(0.5, 0, 400000, 0, -0.5, 5000000)
CRS = "EPSG:32633"
PIXELS = np.random.default_rng(9).integers(0, 255, (16, 16, 3), dtype=np.uint8)
PIXELS = PIXELS.repeat(8, 0).repeat(8, 1)


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset of a tiny network with random weights."""
    torch.manual_seed(4)
    tokenizer = ByteTokenizer({"<|endoftext|>": 256, "[SEG]": 257, "[PAD]": 258})
    model = UniGeoSeg(dataclasses.replace(TINY), with_language_head=False).eval()
    return write_preset(tmp_path_factory.mktemp("words"), model, tokenizer)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A raster as large as a tile of the network."""
    path = tmp_path / "image.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=128, height=128, count=3, dtype="uint8",
        transform=TRANSFORM, crs=CRS,
    ) as dataset:  # fmt: skip
        dataset.write(PIXELS.transpose(2, 0, 1))
    return path


def write_prompts(folder: Path, shapes: list[Any], **fields: Any) -> VectorSource:
    placed = shapely.transform(
        np.array(shapes, dtype=object),
        lambda p: np.stack([400000 + 0.5 * p[:, 0], 5000000 - 0.5 * p[:, 1]], axis=1),
    )
    path = folder / "prompts.gpkg"
    pyogrio.raw.write(
        str(path), shapely.to_wkb(placed), [np.asarray(f) for f in fields.values()], list(fields),
        geometry_type="Unknown", crs=CRS, driver="GPKG", layer="prompts",
    )  # fmt: skip
    return VectorSource(str(path), "prompts")


def run(image: Path, prompts: VectorSource, preset: Path, **members: Any) -> NDArray[np.uint8]:
    task = PromptsTask(
        prompts,
        polygons=PolygonOptions(simplify=0.0),
        mask_raster=str(image.with_name("mask.tif")),
        **members,
    )
    source = RasterSource(str(image), stretch=Stretch(StretchKind.NONE))
    result = run_job(
        Job(source, task, method="unigeoseg", model=str(preset), device="cpu"),
        JobContext(),
    )
    with rasterio.open(result.files["OUTPUT"]) as dataset:
        pixels: NDArray[np.uint8] = dataset.read(1)
        return pixels


def segmenter(preset: Path) -> Segmenter:
    return Segmenter(load_checkpoint(preset / "network", torch.device("cpu"), torch.float32))


@pytest.mark.slow
def test_a_point_gets_the_mask_of_the_segmenter(image: Path, preset: Path, tmp_path: Path) -> None:
    probability = segmenter(preset).segment(PIXELS, points=[(40.0, 30.0)]).probability
    threshold = float(np.median(probability))
    parts, _ = ndimage.label(probability > threshold)
    row, column = np.argwhere(parts == np.bincount(parts.ravel())[1:].argmax() + 1)[0]
    expected = segmenter(preset).segment(PIXELS, points=[(column + 0.5, row + 0.5)]).probability
    parts, _ = ndimage.label(expected > threshold)
    layer = write_prompts(tmp_path, [shapely.Point(column + 0.5, row + 0.5)])
    mask = run(image, layer, preset, threshold=threshold)
    assert parts[row, column] > 0
    assert (mask.astype(bool) == (parts == parts[row, column])).mean() > 0.999


@pytest.mark.slow
def test_several_points_and_boxes_are_taken(image: Path, preset: Path, tmp_path: Path) -> None:
    shapes = [
        shapely.MultiPoint([(20, 20), (30, 30), (25, 20)]),
        shapely.LineString([(60, 60), (90, 90)]),
        shapely.box(40, 40, 90, 100),
        shapely.Point(70, 70).buffer(30),
    ]
    mask = run(image, write_prompts(tmp_path, shapes), preset, threshold=0.0)
    assert mask.all()


@pytest.mark.parametrize(
    ("shapes", "labels", "message"),
    [
        (
            [shapely.Point(20, 20), shapely.Point(50, 50)],
            [1, 0],
            "UniGeoSeg takes no negative prompts, as 1 of 1 objects would need.",
        ),
        (
            [shapely.MultiPoint([(20, 20), (30, 30), (25, 20), (50, 50)])],
            [1],
            "UniGeoSeg takes up to 3 points an object, not as many as 1 of 1 objects have.",
        ),
    ],
)
def test_what_it_cannot_read_is_refused_with_the_method_that_can(  # noqa: PLR0917
    shapes: list[Any], labels: list[int], message: str, image: Path, preset: Path, tmp_path: Path
) -> None:
    fields = {"on": np.array(labels, dtype=np.int32), "house": np.ones(len(labels), np.int32)}
    layer = write_prompts(tmp_path, shapes, **fields)
    with pytest.raises(JobError) as caught:
        run(image, layer, preset, label_field="on", group_field="house")
    assert caught.value.code is ErrorCode.INVALID_JOB
    assert caught.value.message == message
    assert "sam2" in caught.value.hint
