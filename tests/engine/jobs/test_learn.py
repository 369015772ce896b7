"""Labels to a model to a map, with tiny random networks, and models that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from labelled_scene import (
    NAMES,
    SIDE,
    square,
    three_classes,
    write_image,
    write_labels,
    write_points,
)

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.classify import ClassifyTask
from geoseg_qgis.protocol.tasks.learn import LearnTask
from geoseg_qgis.protocol.tasks.reclassify import ReclassifyTask

pytestmark = pytest.mark.slow


def learn(
    image: RasterSource,
    folder: Path,
    preset: Path,
    context: JobContext | None = None,
    **task: object,
) -> Result:
    members = {"model_folder": str(folder / "model"), "report": str(folder / "r.html"), **task}
    job = Job(image, LearnTask(**members), model=str(preset), device="cpu")
    return run_job(Job.from_json(job.to_json()), context or JobContext())


def classify(
    image: RasterSource, folder: Path, context: JobContext | None = None, **task: object
) -> Result:
    members = {"learnt": str(folder / "model"), "class_raster": str(folder / "map.tif"), **task}
    return run_job(Job(image, ClassifyTask(**members), device="cpu"), context or JobContext())


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        pixels: np.ndarray = dataset.read()
    return pixels


def test_points_become_a_model_and_a_map(tmp_path: Path, tiny_preset: Path) -> None:
    classes = three_classes()
    image = write_image(tmp_path / "image.tif", classes)
    labels = write_points(tmp_path / "labels.gpkg", classes, 15)
    context = JobContext()
    result = learn(image, tmp_path, tiny_preset, context, labels=labels, class_field="kind")
    assert result.numbers["CLASS_COUNT"] == 3
    assert result.numbers["PLACE_COUNT"] == 45
    assert result.numbers["MEAN_IOU"] > 0.8
    assert result.numbers["MEAN_IOU_LOW"] <= result.numbers["MEAN_IOU"]
    card = json.loads((tmp_path / "model" / "card.json").read_text(encoding="utf-8"))
    assert card["kind"] == "learnt"
    assert [item["name"] for item in card["classes"]] == sorted(NAMES)
    assert card["imagery"]["pixel_size"] == 0.5
    assert card["imagery"]["limits"] == [[0, 255]] * 3
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "card.json",
        "weights.safetensors",
    }
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "grass" in page
    assert "blocks of" in page

    files = {"scores": str(tmp_path / "s.tif"), "polygon_file": str(tmp_path / "p.gpkg")}
    found = classify(image, tmp_path, uncertainty=str(tmp_path / "u.tif"), **files)
    assert set(found.files) == {"OUTPUT", "POLYGONS", "SCORES", "UNCERTAINTY"}
    order = np.array([sorted(NAMES).index(name) for name in NAMES]) + 1
    mapped = read(tmp_path / "map.tif")[0]
    assert (mapped == order[classes]).mean() > 0.9
    scores = read(tmp_path / "s.tif").astype(int)
    best = np.sort(scores, axis=0)
    expected = 254 - (best[-1] - best[-2])
    assert np.abs(read(tmp_path / "u.tif")[0].astype(int) - expected).max() <= 1

    again = ReclassifyTask("0", class_raster=str(tmp_path / "again.tif"))
    run_job(Job(RasterSource(str(tmp_path / "s.tif")), again), JobContext())
    assert (read(tmp_path / "again.tif")[0] == mapped).mean() > 0.99


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, tiny_preset: Path) -> None:
    classes = three_classes()
    image = write_image(tmp_path / "image.tif", classes)
    labels = write_points(tmp_path / "labels.gpkg", classes, 6)
    weights = []
    for _ in range(2):
        learn(image, tmp_path, tiny_preset, labels=labels, class_field="kind", report=None)
        weights.append((tmp_path / "model" / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_single_class_and_an_area_leave_the_rest_unclassified(
    tmp_path: Path, tiny_preset: Path
) -> None:
    classes = np.ones((SIDE, SIDE), np.int64)
    places = [(r, c) for r in range(10, 150, 40) for c in range(10, 150, 40)]
    for row, column in places:
        classes[row : row + 16, column : column + 16] = 2
    image = write_image(tmp_path / "image.tif", classes)
    shapes = [square(column, row, 16) for row, column in places[:8]]
    labels = write_labels(tmp_path / "labels.gpkg", shapes, ["sand"] * 8)
    area = write_labels(
        tmp_path / "area.gpkg", [square(0, 0, 160).intersection(square(0, 0, 90))], [1]
    )
    learn(image, tmp_path, tiny_preset, labels=labels, class_field="kind", area=area)
    result = classify(image, tmp_path, scores=str(tmp_path / "s.tif"))
    assert [item.name for item in result.classes] == ["sand"]
    mapped = read(tmp_path / "map.tif")[0]
    assert ((mapped == 1) == (classes == 2)).mean() > 0.95
    assert read(tmp_path / "s.tif").shape[0] == 2


def test_a_model_refuses_other_imagery(tmp_path: Path, tiny_preset: Path) -> None:
    classes = three_classes()
    image = write_image(tmp_path / "image.tif", classes)
    labels = write_points(tmp_path / "labels.gpkg", classes, 6)
    learn(image, tmp_path, tiny_preset, labels=labels, class_field="kind")
    other = RasterSource(image.uri, "image", bands=(3, 2, 1))
    with pytest.raises(JobError, match="from the bands 1, 2, 3, and here the bands 3, 2, 1"):
        classify(other, tmp_path)
    pixels = read(Path(image.uri))
    for name, dtype, pixel in (("deep", "uint16", 0.5), ("coarse", "uint8", 2.0)):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", height=SIDE, width=SIDE, count=3,
            dtype=dtype, crs="EPSG:32633",
            transform=rasterio.Affine(pixel, 0, 400000, 0, -pixel, 5000000),
        ) as dataset:  # fmt: skip
            dataset.write(pixels.astype(dtype))
    with pytest.raises(JobError, match="from uint8 values, and deep holds uint16"):
        classify(RasterSource(str(tmp_path / "deep.tif"), "deep"), tmp_path)
    with pytest.raises(JobError, match=r"learnt at 0.5 m per pixel, and this imagery has 2 m"):
        classify(RasterSource(str(tmp_path / "coarse.tif"), "coarse"), tmp_path)
    assert not (tmp_path / "map.tif").exists()

    weights = tmp_path / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(JobError, match="has no weights that fit its card") as caught:
        classify(image, tmp_path)
    assert caught.value.code is ErrorCode.MODEL_INVALID


def test_a_cancel_writes_nothing(tmp_path: Path, tiny_preset: Path) -> None:
    classes = three_classes()
    image = write_image(tmp_path / "image.tif", classes)
    labels = write_points(tmp_path / "labels.gpkg", classes, 6)
    phases: list[str] = []
    context = JobContext(
        report_progress=lambda _, phase: phases.append(phase),
        is_cancelled=lambda: "Testing" in phases,
    )
    with pytest.raises(CancelledError):
        learn(image, tmp_path, tiny_preset, context, labels=labels, class_field="kind")
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "r.html").exists()


def test_folders_that_are_no_learnt_model_are_left_alone(tmp_path: Path, tiny_preset: Path) -> None:
    classes = three_classes()
    image = write_image(tmp_path / "image.tif", classes)
    labels = write_points(tmp_path / "labels.gpkg", classes, 6)
    with pytest.raises(JobError, match="exists and is no learnt model"):
        learn(
            image, tmp_path, tiny_preset, labels=labels, class_field="kind",
            model_folder=str(tiny_preset),
        )  # fmt: skip
    with pytest.raises(JobError, match="was not learnt from labels"):
        classify(image, tmp_path, learnt=str(tiny_preset))
    with pytest.raises(JobError, match="holds no learnt model"):
        classify(image, tmp_path)


def test_few_places_are_told(tmp_path: Path, tiny_preset: Path) -> None:
    classes = three_classes()
    image = write_image(tmp_path / "image.tif", classes)
    shapes = [square(c, r, 2) for r in (5, 65, 125) for c in (5, 65, 125)]
    shapes += [square(30, 30, 2)]
    labels = write_labels(tmp_path / "l.gpkg", shapes, ["a"] * 5 + ["b"] * 4 + ["c"])
    context = JobContext()
    learn(image, tmp_path, tiny_preset, context, labels=labels, class_field="kind")
    told = "\n".join(context.warnings)
    assert "Classes with a single place: c." in told
    assert "Classes with fewer than 5 places: b." in told
