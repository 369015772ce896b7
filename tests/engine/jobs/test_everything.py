"""Every object of a raster, and touching objects of a class as polygons of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
import shapely

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.everything import EverythingTask
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask

pytestmark = pytest.mark.slow


def write_image(path: Path, height: int = 150, width: int = 170) -> RasterSource:
    rough = np.random.default_rng(5).integers(20, 230, (3, height // 10, width // 10), np.uint8)
    pixels = rough.repeat(10, axis=1).repeat(10, axis=2)
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=3, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.Affine(0.3, 0, 400000, 0, -0.3, 5000000),
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    return RasterSource(str(path), path.stem)


def with_settings(preset: Path, folder: Path, **changes: Any) -> str:
    """A preset with the same weights and other thresholds of SAM 2's masks."""
    card = json.loads((preset / "card.json").read_text())
    card["gumix"] = {
        **card["gumix"],
        "proposals": {"predicted_iou_threshold": 0.0, "stability_threshold": 0.0},
    }
    card.update(changes)
    folder.mkdir()
    for file in preset.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "card.json").unlink()
    (folder / "card.json").write_text(
        json.dumps({key: value for key, value in card.items() if value is not None})
    )
    return str(folder)


def polygons(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    meta, _, geometry, fields = pyogrio.raw.read(path, layer="polygons")
    return shapely.from_wkb(geometry), dict(zip(meta["fields"], fields, strict=True))


def test_regions_and_polygons_are_the_same_objects(tiny_preset: Path, tmp_path: Path) -> None:
    model = with_settings(tiny_preset, tmp_path / "model", methods=["sam2", "fast"])
    task = EverythingTask(
        6, polygon_file=str(tmp_path / "o.gpkg"), region_raster=str(tmp_path / "r.tif")
    )
    task = replace(task, polygons=replace(task.polygons, simplify=0.0))
    job = Job(write_image(tmp_path / "a.tif"), task, method="sam2", model=model, device="cpu")
    result = run_job(job, JobContext())
    with rasterio.open(tmp_path / "r.tif") as dataset:
        regions = dataset.read(1)
        assert dataset.nodata == 0
    outlines, fields = polygons(tmp_path / "o.gpkg")
    ids, pixels = np.unique(regions[regions > 0], return_counts=True)
    assert len(ids) >= 3
    assert fields["object_id"].tolist() == ids.tolist()
    assert shapely.area(outlines) == pytest.approx(pixels * 0.09)
    assert fields["area_m2"] == pytest.approx(pixels * 0.09, rel=2e-3)
    assert ((fields["predicted_iou"] > 0) & (fields["predicted_iou"] <= 1)).all()
    assert ((fields["stability"] >= 0) & (fields["stability"] <= 1)).all()
    assert result.numbers["OBJECT_COUNT"] == len(ids)
    assert result.numbers["MEAN_IOU"] == pytest.approx(fields["predicted_iou"].mean(), abs=1e-4)
    again = run_job(job, JobContext())
    assert again.numbers == result.numbers


def test_nothing_found_is_said(tiny_preset: Path, tmp_path: Path) -> None:
    model = with_settings(
        tiny_preset,
        tmp_path / "model",
        methods=["sam2", "fast"],
        gumix={"proposals": {"predicted_iou_threshold": 1.0}},
    )
    task = EverythingTask(2, polygon_file=str(tmp_path / "o.gpkg"))
    job = Job(write_image(tmp_path / "a.tif"), task, method="sam2", model=model, device="cpu")
    result = run_job(job, JobContext())
    assert result.numbers == {"OBJECT_COUNT": 0.0, "MEAN_IOU": 0.0, "COVERED_AREA": 0.0}
    assert "No object was found" in result.warnings[0]
    assert len(polygons(tmp_path / "o.gpkg")[0]) == 0


def openvocabulary(image: RasterSource, model: str, folder: Path, **members: Any) -> Job:
    folder.mkdir()
    task = OpenVocabularyTask(
        parse_classes("building; road"),
        rivals=False,
        class_raster=str(folder / "c.tif"),
        polygon_file=str(folder / "p.gpkg"),
        **members,
    )
    return Job(image, task, method="fast", model=model, device="cpu")


def test_own_regions_divide_touching_things(tiny_preset: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.tif")
    model = with_settings(tiny_preset, tmp_path / "model")
    strips = tmp_path / "strips.tif"
    with rasterio.open(image.uri) as dataset:
        profile = {**dataset.profile, "count": 1, "dtype": "int32"}
    with rasterio.open(strips, "w", **profile) as dataset:
        dataset.write((np.arange(170, dtype=np.int32) // 17 + 1)[None, None].repeat(150, axis=1))
    regions = RasterSource(str(strips), "strips")
    whole, apart = (tmp_path / name for name in ("whole", "apart"))
    run_job(openvocabulary(image, model, whole, regions=regions), JobContext())
    result = run_job(
        openvocabulary(image, model, apart, regions=regions, objects=True), JobContext()
    )
    outlines, fields = polygons(apart / "p.gpkg")
    with rasterio.open(whole / "c.tif") as one, rasterio.open(apart / "c.tif") as other:
        classes = one.read(1)
        assert (classes == other.read(1)).all()
    assert len(outlines) == result.numbers["POLYGON_COUNT"] == 10
    assert shapely.area(outlines) == pytest.approx(np.full(10, 17 * 150 * 0.09))
    assert len(polygons(whole / "p.gpkg")[0]) < 10
    assert set(fields["class_id"].tolist()) == set(np.unique(classes[classes > 0]).tolist())


def test_sam2_divides_touching_things(tiny_preset: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.tif")
    model = with_settings(tiny_preset, tmp_path / "model")
    job = openvocabulary(image, model, tmp_path / "run", objects=True, points_per_side=6)
    result = run_job(job, JobContext())
    outlines, _ = polygons(tmp_path / "run" / "p.gpkg")
    assert len(outlines) == result.numbers["POLYGON_COUNT"]
    with rasterio.open(tmp_path / "run" / "c.tif") as dataset:
        classes = dataset.read(1)
    assert sum(shapely.area(outlines)) == pytest.approx(np.count_nonzero(classes) * 0.09)
    assert "sam2_sha256" in result.provenance


def test_a_model_without_sam2_is_refused_before_the_work(tiny_preset: Path, tmp_path: Path) -> None:
    model = with_settings(tiny_preset, tmp_path / "model", methods=["fast"], sam2=None)
    job = openvocabulary(write_image(tmp_path / "a.tif"), model, tmp_path / "run", objects=True)
    with pytest.raises(JobError, match="has no SAM 2, which separates touching") as caught:
        run_job(job, JobContext())
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert not list((tmp_path / "run").iterdir())
