"""The whole open-vocabulary job on every kind of raster, with tiny random networks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import Extent, GridRequest, RasterSource
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask
from geoseg_qgis.protocol.tasks.reclassify import ReclassifyTask

CLASSES = "building, roof, house =#ff0000; road; water =#0000ff"


def make_job(
    image: Path, folder: Path, preset: Path, method: str = "gumix", **changes: object
) -> Job:
    members = {"rivals": False, "class_raster": str(folder / "classes.tif"), **changes}
    classes = parse_classes(str(members.pop("classes", CLASSES)))
    return Job(
        RasterSource(str(image), image.stem),
        OpenVocabularyTask(classes, **members),
        method=method,
        model=str(preset),
        device="cpu",
    )


def write_orthophoto(path: Path, height: int = 150, width: int = 170) -> Path:
    rng = np.random.default_rng(5)
    rough = rng.integers(20, 230, (3, height // 10 + 1, width // 10 + 1), dtype=np.uint8)
    pixels = rough.repeat(10, axis=1).repeat(10, axis=2)[:, :height, :width]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=3,
        dtype="uint8",
        crs="EPSG:32633",
        transform=rasterio.Affine(0.3, 0, 400000, 0, -0.3, 5000000),
    ) as dataset:
        dataset.write(np.maximum(pixels, 1))
    return path


SMALL_PARTS = {
    "rasterio__RGBA.uint16.tif": (240, 120),
    "rio-tiler__cog_cmap.tif": (3000, 4000),
    "rio-tiler__cog_int16.tif": (1000, 1000),
    "rio-tiler__cog_world.tif": (20000, 6000),
    "derived__huge_sparse_60000.tif": (30300, 30300),
    "rio-tiler__cog_hirise_mars.tif": (500, 800),
    "rio-tiler__cog_gcps_ovr.tif": (500, 400),
}
READABLE = [
    "rasterio__RGB.byte.tif",
    "rasterio__RGBA.uint16.tif",
    "rasterio__cogeo.tif",
    "rasterio__rotated.tif",
    "rio-color__rgb16.tif",
    "rio-tiler__cog_cmap.tif",
    "rio-tiler__cog_hirise_mars.tif",
    "rio-tiler__cog_int16.tif",
    "rio-tiler__cog_rgb_mask.tif",
    "rio-tiler__pix4d_alpha_nodata.tif",
    "rio-tiler__cog_world.tif",
    "qgis-plugin-deepness__oils.tif",
    "raster-vision__const_250_6x6.tiff",
    "derived__rotated30.tif",
    "derived__no_crs.tif",
    "derived__feet_crs.tif",
    "derived__huge_sparse_60000.tif",
    "naip_chesapeake_260.tif",
]


def part_of(image: Path, side: int = 160) -> tuple[Extent | None, Window]:
    """Return the extent of a small part of a large image, and its window."""
    with rasterio.open(image) as dataset:
        if dataset.transform.is_identity or not dataset.transform.is_rectilinear:
            return None, Window(0, 0, dataset.width, dataset.height)
        column, row = SMALL_PARTS.get(image.name, (0, 0))
        width, height = min(side, dataset.width), min(side, dataset.height)
        window = Window(column, row, width, height)
        left, bottom, right, top = rasterio.windows.bounds(window, dataset.transform)
        extent = Extent(min(left, right), min(bottom, top), max(left, right), max(bottom, top))
        return extent, window


@pytest.mark.slow
@pytest.mark.parametrize("name", READABLE)
def test_results_lie_on_the_pixels_they_came_from(
    name: str, odd_rasters: Path, tiny_preset: Path, tmp_path: Path
) -> None:
    image = odd_rasters / name
    extent, window = part_of(image)
    job = make_job(image, tmp_path, tiny_preset, "fast")
    job = Job(job.source, job.task, GridRequest(extent), "fast", job.model, "cpu")
    result = run_job(job, JobContext())
    with rasterio.open(image) as source, rasterio.open(result.files["OUTPUT"]) as output:
        assert output.shape == (window.height, window.width)
        expected = rasterio.windows.transform(window, source.transform)
        assert output.transform.almost_equals(expected, precision=1e-9)
        assert output.crs == source.crs
        labels = output.read(1)
        valid = source.dataset_mask(window=window) > 0
    assert labels.max() <= 3
    assert result.numbers["VALID_PIXELS"] == pytest.approx(valid.sum(), rel=0.01)
    assert np.count_nonzero(labels[valid]) > 0.98 * valid.sum()
    assert not labels[~valid].any()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gumix", "mask_selection", "fast"])
def test_every_method_gives_every_result(method: str, tiny_preset: Path, tmp_path: Path) -> None:
    image = write_orthophoto(tmp_path / "image.tif")
    job = make_job(
        image,
        tmp_path,
        tiny_preset,
        method,
        polygon_file=str(tmp_path / "polygons.gpkg"),
        scores=str(tmp_path / "scores.tif"),
    )
    phases: list[str] = []
    fractions: list[float] = []
    context = JobContext(lambda done, phase: (fractions.append(done), phases.append(phase)))
    result = run_job(job, context)
    assert set(result.files) == {"OUTPUT", "POLYGONS", "SCORES"}
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    with rasterio.open(result.files["OUTPUT"]) as output:
        labels = output.read(1)
        assert output.colormap(1)[1] == (255, 0, 0, 255)
        tags = output.tags()
    assert tags["GEOSEG_METHOD"] == method
    assert Job.from_json(json.loads(tags["GEOSEG_JOB"])) == job
    assert result.provenance["model"] == "tiny"
    counts = np.bincount(labels.ravel(), minlength=4)
    assert [item.pixels for item in result.classes] == counts[1:].tolist()
    assert sum(item.area for item in result.classes) == pytest.approx(
        counts[1:].sum() * 0.09, rel=1e-3
    )
    with rasterio.open(result.files["SCORES"]) as scores:
        assert scores.descriptions == ("building", "road", "water")
        values = scores.read()
    if method != "gumix":
        of_label = np.take_along_axis(values, labels[None].astype(int) - 1, axis=0)[0]
        assert (values.max(axis=0) - of_label).max() == 0
    assert sorted(path.name for path in tmp_path.iterdir() if "scratch" in path.name) == []


@pytest.mark.slow
def test_the_same_job_gives_the_same_pixels(tiny_preset: Path, tmp_path: Path) -> None:
    image = write_orthophoto(tmp_path / "image.tif")
    first = run_job(make_job(image, tmp_path, tiny_preset), JobContext())
    with rasterio.open(first.files["OUTPUT"]) as output:
        before = output.read(1)
    second = run_job(make_job(image, tmp_path, tiny_preset), JobContext())
    with rasterio.open(second.files["OUTPUT"]) as output:
        assert np.array_equal(output.read(1), before)


@pytest.mark.slow
def test_resolution_and_extent_choose_the_grid(tiny_preset: Path, tmp_path: Path) -> None:
    image = write_orthophoto(tmp_path / "image.tif")
    job = make_job(image, tmp_path, tiny_preset, "fast")
    grid = GridRequest(Extent(400003.0, 4999970.0, 400030.0, 4999991.0), 0.6)
    result = run_job(Job(job.source, job.task, grid, "fast", job.model, "cpu"), JobContext())
    with rasterio.open(result.files["OUTPUT"]) as output:
        assert output.transform.almost_equals(
            rasterio.Affine(0.6, 0, 400003.0, 0, -0.6, 4999991.0), precision=1e-6
        )
        assert output.shape == (35, 45)


@pytest.mark.slow
def test_users_regions_are_labelled_as_wholes(tiny_preset: Path, tmp_path: Path) -> None:
    image = write_orthophoto(tmp_path / "image.tif")
    parcels = np.kron(np.arange(1, 31).reshape(5, 6), np.ones((30, 29))).astype(np.int32)
    path = tmp_path / "parcels.tif"
    with rasterio.open(image) as source:
        profile = {**source.profile, "count": 1, "dtype": "int32"}
    with rasterio.open(path, "w", **profile) as dataset:
        full = np.zeros((150, 170), np.int32)
        full[:, :170] = parcels[:150, :170] * 1000
        dataset.write(full, 1)
    job = make_job(image, tmp_path, tiny_preset, "fast", regions=RasterSource(str(path)))
    result = run_job(job, JobContext())
    with rasterio.open(result.files["OUTPUT"]) as output:
        labels = output.read(1)
    for parcel in np.unique(full):
        assert len(np.unique(labels[full == parcel])) == 1
    assert len(np.unique(labels)) > 1


@pytest.mark.slow
def test_reclassify_repeats_the_labels_without_a_model(tiny_preset: Path, tmp_path: Path) -> None:
    image = write_orthophoto(tmp_path / "image.tif")
    job = make_job(
        image, tmp_path, tiny_preset, "fast", rivals=True, scores=str(tmp_path / "scores.tif")
    )
    first = run_job(job, JobContext())
    again = Job(
        RasterSource(first.files["SCORES"]),
        ReclassifyTask("0", class_raster=str(tmp_path / "again.tif")),
    )
    result = run_job(again, JobContext())
    with rasterio.open(first.files["OUTPUT"]) as one, rasterio.open(tmp_path / "again.tif") as two:
        # Scores have 254 steps, so that near ties may fall either way.
        assert np.mean(one.read(1) == two.read(1)) > 0.97
        assert two.tags()["GEOSEG_MODEL"] == "tiny"
    strict = ReclassifyTask("building: 1; road: 1; water: 1", class_raster=str(tmp_path / "s.tif"))
    result = run_job(Job(RasterSource(first.files["SCORES"]), strict), JobContext())
    assert result.numbers["CLASSES_FOUND"] == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"classes": " ; "}, ErrorCode.INVALID_CLASSES),
        ({"classes": "road; road"}, ErrorCode.INVALID_CLASSES),
        ({"class_raster": None}, ErrorCode.INVALID_JOB),
        ({"class_raster": "/nowhere/at/all/classes.tif"}, ErrorCode.OUTPUT_UNWRITABLE),
    ],
)
def test_mistakes_are_told_before_any_work(
    changes: dict[str, object], code: ErrorCode, tiny_preset: Path, tmp_path: Path
) -> None:
    image = write_orthophoto(tmp_path / "image.tif")
    with pytest.raises(JobError) as caught:
        run_job(make_job(image, tmp_path, tiny_preset, **changes), JobContext())
    assert caught.value.code is code
    assert caught.value.hint


@pytest.mark.parametrize(
    ("grid", "code"),
    [
        (GridRequest(Extent(0.0, 0.0, 5.0, 5.0)), ErrorCode.EXTENT_OUTSIDE),
        (GridRequest(None, 1000.0), ErrorCode.RESOLUTION_UNUSABLE),
        (GridRequest(None, 1e-4), ErrorCode.RESOLUTION_UNUSABLE),
    ],
)
def test_grids_that_cannot_be(
    grid: GridRequest, code: ErrorCode, tiny_preset: Path, tmp_path: Path
) -> None:
    job = make_job(write_orthophoto(tmp_path / "image.tif"), tmp_path, tiny_preset)
    with pytest.raises(JobError) as caught:
        run_job(Job(job.source, job.task, grid, job.method, job.model, "cpu"), JobContext())
    assert caught.value.code is code


def test_south_up_rasters_keep_their_rows(tiny_preset: Path, tmp_path: Path) -> None:
    image = write_orthophoto(tmp_path / "image.tif")
    north_up = run_job(make_job(image, tmp_path, tiny_preset, "fast"), JobContext())
    with rasterio.open(image) as source, rasterio.open(north_up.files["OUTPUT"]) as output:
        pixels, labels = source.read(), output.read(1)
        profile = {**source.profile, "transform": rasterio.Affine(0.3, 0, 4e5, 0, 0.3, 5e6)}
    with rasterio.open(tmp_path / "south_up.tif", "w", **profile) as dataset:
        dataset.write(pixels)
    result = run_job(
        make_job(tmp_path / "south_up.tif", tmp_path, tiny_preset, "fast"), JobContext()
    )
    with rasterio.open(result.files["OUTPUT"]) as output:
        assert output.transform.e == pytest.approx(0.3)
        assert np.array_equal(output.read(1), labels)


def test_a_raster_without_data_is_named(
    odd_rasters: Path, tiny_preset: Path, tmp_path: Path
) -> None:
    job = make_job(odd_rasters / "rio-tiler__inverted_lat.tif", tmp_path, tiny_preset, "fast")
    with pytest.raises(JobError, match="No pixel") as caught:
        run_job(job, JobContext())
    assert caught.value.code is ErrorCode.TILES_FAILED


@pytest.mark.slow
def test_a_corrupt_file_is_named(odd_rasters: Path, tiny_preset: Path, tmp_path: Path) -> None:
    job = make_job(odd_rasters / "rasterio__corrupt.tif", tmp_path, tiny_preset, "fast")
    with pytest.raises(JobError) as caught:
        run_job(job, JobContext())
    assert caught.value.code is ErrorCode.TILES_FAILED
    assert "rasterio__corrupt" in caught.value.detail
    assert list(tmp_path.iterdir()) == []


def test_a_cancel_keeps_what_was_there(tiny_preset: Path, tmp_path: Path) -> None:
    image = write_orthophoto(tmp_path / "image.tif")
    (tmp_path / "classes.tif").write_bytes(b"an earlier result")
    asked = []

    def is_cancelled() -> bool:
        asked.append(1)
        return len(asked) > 5

    with pytest.raises(CancelledError):
        run_job(make_job(image, tmp_path, tiny_preset), JobContext(is_cancelled=is_cancelled))
    assert (tmp_path / "classes.tif").read_bytes() == b"an earlier result"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.tif", "image.tif"]


@pytest.mark.slow
def test_mask_selection_means_the_cosines_of_its_scales(tiny_preset: Path, tmp_path: Path) -> None:
    image = write_orthophoto(tmp_path / "image.tif")
    # With regions of the user, here of one pixel, its scores are those of dense CLIP.
    path = tmp_path / "parcels.tif"
    with rasterio.open(image) as dataset:
        profile = {**dataset.profile, "count": 1, "dtype": "int32"}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(
            np.eye(1, dataset.height * dataset.width, dtype=np.int32).reshape(
                1, dataset.height, dataset.width
            )
        )
    found = []
    for number, scales in enumerate(([1.0], [2.0], [1.0, 2.0])):
        preset = tmp_path / f"preset-{number}"
        shutil.copytree(tiny_preset, preset)
        card = json.loads((preset / "card.json").read_text(encoding="utf-8"))
        card["clip"]["scales"] = scales
        (preset / "card.json").write_text(json.dumps(card), encoding="utf-8")
        changes = {
            "classes": "building; road",
            "scores": str(tmp_path / f"scores-{number}.tif"),
            "regions": RasterSource(str(path)),
        }
        run_job(make_job(image, tmp_path, preset, "mask_selection", **changes), JobContext())
        with rasterio.open(changes["scores"]) as dataset:
            found.append(dataset.read().astype(np.float64) + 0.5)
    one, two, both = found
    assert np.abs(one - two).max() > 50
    # The softmax of mean logits is the geometric mean of both, up to the scores' 254 steps.
    expected = np.sqrt(one * two)
    expected *= both.sum(0) / expected.sum(0)
    steep = np.minimum(one, two).min(0) < 20
    assert np.abs(expected - both)[:, ~steep].max() < 3
