"""The whole job: outlines in the right place with all attributes, and reports of losses."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
import tiny_models
import torch
from affine import Affine
from prompt_cases import (
    NORTH_UP,
    UTM,
    Outcome,
    make_job,
    on_map,
    read_layer,
    segment,
    write_image,
    write_layer,
)
from pyproj import Geod
from rasterio.features import rasterize

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.models.sam2 import Sam2Model
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.polygons import PolygonOptions
from geoseg_qgis.protocol.source import Extent, GridRequest

POINTS = shapely.points([[60.5, 50.5], [150.2, 130.7], [230.0, 200.0], [70.0, 210.0]])


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each tile that SAM 2 encodes."""
    calls: list[int] = []
    encode = Sam2Model.encode

    def counted(self: Sam2Model, images: torch.Tensor, antialias: bool = True) -> Any:
        calls.append(len(images))
        return encode(self, images, antialias)

    monkeypatch.setattr(Sam2Model, "encode", counted)
    return calls


def refused(image: Path, folder: Path, layer: Any, tiny: str, **members: Any) -> JobError:
    with pytest.raises(JobError) as caught:
        run_job(make_job(image, layer, folder, tiny, **members), JobContext())
    assert not list(folder.glob("mask*"))
    assert not list(folder.glob("outlines*"))
    return caught.value


@pytest.mark.slow
def test_attributes_are_kept_with_their_names_and_types(
    landscape: Path, tiny: str, tmp_path: Path
) -> None:
    fields = {
        "Score": np.array([1.5, 2.5, np.nan, 4.5]),
        "model": np.array(["Dach", "屋根", None, "crête"], dtype=object),
        "number": np.array([1, 2, 3, 2**40], dtype=np.int64),
        "flag": np.array([True, False, True, False]),
        "day": np.array(["2024-01-02", "2024-02-03", "NaT", "1999-12-31"], dtype="datetime64[D]"),
        "geom_1": np.array([7, 8, 9, 10], dtype=np.int32),
    }
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP), fields, empty={
        "number": np.array([False, False, True, False]),
    })  # fmt: skip
    outcome = segment(landscape, layer, tmp_path, tiny)
    meta, _, _, columns = pyogrio.raw.read(outcome.result.files["POLYGONS"])
    assert list(meta["fields"]) == [
        *fields, "score_1", "area_m2", "prompts", "model_1",
    ]  # fmt: skip
    assert [str(kind) for kind in meta["dtypes"]] == [
        "float64", "object", "int64", "bool", "datetime64[D]", "int32",
        "float64", "float64", "int32", "object",
    ]  # fmt: skip
    assert len(outcome.outlines) == 4
    assert columns[1].tolist() == ["Dach", "屋根", None, "crête"]
    assert np.isnan(columns[2][2])
    assert columns[2][3] == 2**40
    assert columns[5].tolist() == [7, 8, 9, 10]
    assert columns[9].tolist() == ["tiny-clicks"] * 4
    assert meta["geometry_type"] == "MultiPolygon"


@pytest.mark.slow
def test_the_layer_may_have_a_field_called_fid(landscape: Path, tiny: str, tmp_path: Path) -> None:
    features = [
        {
            "type": "Feature",
            "properties": {"fid": "a", "geom": "b"},
            "geometry": {"type": "Point", "coordinates": list(NORTH_UP @ (60.5, 50.5))},
        }
    ]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    layer = write_layer(tmp_path / "unused.gpkg", on_map(POINTS, NORTH_UP))
    layer = type(layer)(str(path), "", rasterio.CRS.from_user_input(UTM).to_wkt())
    outcome = segment(landscape, layer, tmp_path, tiny)
    assert outcome.fields["fid"] == ["a"]
    assert outcome.fields["geom"] == ["b"]


@pytest.mark.slow
def test_scores_areas_and_numbers_agree(landscape: Path, tiny: str, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP))
    outcome = segment(landscape, layer, tmp_path, tiny)
    scores = outcome.fields["score"]
    assert all(0.0 < score <= 1.0 for score in scores)
    assert outcome.result.numbers["OBJECT_COUNT"] == len(outcome.outlines) == 4
    assert outcome.result.numbers["MISSING_COUNT"] == 0
    assert outcome.result.numbers["MEAN_SCORE"] == pytest.approx(np.mean(scores), abs=1e-4)
    assert outcome.fields["prompts"] == [1, 1, 1, 1]
    geod = Geod(ellps="WGS84")
    to_degrees = shapely.transform(
        np.array(outcome.outlines, dtype=object),
        lambda p: np.stack(rasterio.warp.transform(UTM, "EPSG:4326", p[:, 0], p[:, 1]), axis=1),
    )
    areas = [abs(geod.geometry_area_perimeter(shape)[0]) for shape in to_degrees]
    assert outcome.fields["area_m2"] == pytest.approx(areas, rel=1e-4)


@pytest.mark.slow
def test_the_mask_is_what_the_outlines_enclose(landscape: Path, tiny: str, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP))
    outcome = segment(landscape, layer, tmp_path, tiny, polygons=PolygonOptions(simplify=0.0))
    burnt = rasterize(outcome.outlines, out_shape=(260, 300), transform=NORTH_UP)
    assert (outcome.mask == burnt).all()
    assert outcome.mask.any()
    with rasterio.open(outcome.result.files["OUTPUT"]) as dataset:
        assert dataset.transform == NORTH_UP
        assert dataset.nodata == 0
        tags = dataset.tags()
    assert tags["GEOSEG_METHOD"] == "sam2"
    assert tags["GEOSEG_MODEL"] == "tiny-clicks"
    assert json.loads(tags["GEOSEG_JOB"])["kind"] == "prompts"
    assert outcome.result.provenance["model"] == "tiny-clicks"


@pytest.mark.slow
def test_every_outline_holds_its_point(landscape: Path, tiny: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    points = shapely.points(rng.uniform(5, 255, (60, 2)))
    layer = write_layer(tmp_path / "a.gpkg", on_map(points, NORTH_UP), {"n": np.arange(60)})
    options = PolygonOptions(simplify=0.0)
    outcome = segment(landscape, layer, tmp_path, tiny, polygons=options)
    assert len(outcome.outlines) > 20
    placed = on_map(points, NORTH_UP)[outcome.fields["n"]]
    # The nearest part within a cell of the network, four pixels a side, counts as touched.
    assert shapely.distance(placed, np.array(outcome.outlines, dtype=object)).max() <= 6 * 0.2


@pytest.mark.slow
def test_one_encoding_serves_all_prompts_of_a_tile(
    landscape: Path, tiny: str, tmp_path: Path, encoded: list[int]
) -> None:
    grid = [(x, y) for x in range(100, 161, 4) for y in range(90, 151, 4)]
    layer = write_layer(tmp_path / "a.gpkg", on_map(shapely.points(grid), NORTH_UP))
    segment(landscape, layer, tmp_path, tiny)
    assert encoded == [1]


@pytest.mark.slow
def test_many_prompts_need_few_encodings(
    landscape: Path, tiny: str, tmp_path: Path, encoded: list[int]
) -> None:
    rng = np.random.default_rng(4)
    points = shapely.points(rng.uniform(0, [300, 260], (500, 2)))
    layer = write_layer(tmp_path / "a.gpkg", on_map(points, NORTH_UP))
    outcome = segment(landscape, layer, tmp_path, tiny)
    assert outcome.result.numbers["OBJECT_COUNT"] + outcome.result.numbers["MISSING_COUNT"] == 500
    assert len(encoded) <= 45


@pytest.mark.slow
def test_an_outline_does_not_depend_on_other_prompts(
    landscape: Path, tiny: str, tmp_path: Path
) -> None:
    """Objects of one tile are decoded in batches; a lone one on the same tile agrees."""
    points = on_map(shapely.points([(x, 40.0) for x in range(30, 70, 2)]), NORTH_UP)
    layer = write_layer(tmp_path / "a.gpkg", points, {"n": np.arange(20)})
    together = segment(landscape, layer, tmp_path, tiny)
    found = dict(zip(together.fields["n"], together.outlines, strict=True))
    assert len(found) > 5
    # The corner of the raster holds the tile in its place, whatever is asked of it.
    number = together.fields["n"][2]
    assert number < 18
    alone = write_layer(tmp_path / "b.gpkg", points[number : number + 1])
    (outline,) = segment(landscape, alone, tmp_path, tiny).outlines
    assert shapely.equals_exact(found[number], outline, tolerance=1e-6)


def _extent(left: int, top: int, right: int, bottom: int) -> tuple[float, float, float, float]:
    (xmin, ymax), (xmax, ymin) = NORTH_UP @ (left, top), NORTH_UP @ (right, bottom)
    return xmin, ymin, xmax, ymax


@pytest.mark.slow
def test_an_extent_limits_the_result(landscape: Path, tiny: str, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP), {"n": [1, 2, 3, 4]})
    grid = GridRequest(Extent(*_extent(20, 20, 100, 120)))
    outcome = segment(landscape, layer, tmp_path, tiny, grid=grid)
    assert outcome.mask.shape == (100, 80)
    assert outcome.fields["n"] == [1]
    bounds = shapely.total_bounds(outcome.outlines)
    limits = _extent(20, 20, 100, 120)
    assert (bounds[:2] >= np.array(limits[:2]) - 1e-6).all()
    assert (bounds[2:] <= np.array(limits[2:]) + 1e-6).all()
    (warning,) = outcome.result.warnings
    assert warning == "Prompts outside of the raster or of the extent, which are not used: 3."


@pytest.mark.slow
def test_points_of_a_group_are_one_object(landscape: Path, tiny: str, tmp_path: Path) -> None:
    fields = {
        "house": np.array(["b", "a", "b", "a"], dtype=object),
        "on": np.array([0, 1, 1, 1], dtype=np.int32),
        "n": np.arange(4),
    }
    points = on_map(shapely.points([(150, 130), (60, 50), (170, 140), (70, 60)]), NORTH_UP)
    layer = write_layer(tmp_path / "a.gpkg", points, fields)
    outcome = segment(landscape, layer, tmp_path, tiny, label_field="on", group_field="house")
    assert outcome.fields["house"] == ["b", "a"]
    assert outcome.fields["n"] == [2, 1]
    assert outcome.fields["prompts"] == [2, 2]
    alone = segment(landscape, layer, tmp_path, tiny)
    before = dict(zip(alone.fields["n"], alone.outlines, strict=True))
    # A negative point and a second positive one both change what is found.
    assert 1 in before
    for number, outline in zip(outcome.fields["n"], outcome.outlines, strict=True):
        assert number not in before or not shapely.equals(outline, before[number])


@pytest.mark.slow
def test_objects_below_the_minimum_score_are_left_out(
    landscape: Path, tiny: str, tmp_path: Path
) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP), {"n": np.arange(4)})
    scores = segment(landscape, layer, tmp_path, tiny).fields["score"]
    limit = float(np.mean(sorted(scores)[1:3]))
    outcome = segment(landscape, layer, tmp_path, tiny, minimum_score=limit)
    assert outcome.fields["n"] == [n for n, score in enumerate(scores) if score >= limit]
    assert outcome.result.numbers["MISSING_COUNT"] == 2
    assert outcome.result.warnings == (
        "Objects that score less than the minimum score, which are left out: 2.",
    )


@pytest.mark.slow
def test_a_higher_threshold_gives_smaller_outlines(
    landscape: Path, tiny: str, tmp_path: Path
) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP))
    sizes = [
        int(segment(landscape, layer, tmp_path, tiny, threshold=threshold).mask.sum())
        for threshold in (0.2, 0.5, 0.9)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_nothing_found_gives_empty_files(landscape: Path, tiny: str, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP), {"n": np.arange(4)})
    outcome = segment(landscape, layer, tmp_path, tiny, minimum_score=1.0)
    assert outcome.result.numbers == {"OBJECT_COUNT": 0, "MISSING_COUNT": 4, "MEAN_SCORE": 0}
    assert outcome.outlines == []
    assert list(outcome.fields) == ["n", "score", "area_m2", "prompts", "model"]
    assert not outcome.mask.any()


def test_prompts_without_data_are_counted(tmp_path: Path, tiny: str) -> None:
    pixels = np.maximum(tiny_models.landscape(260, 300), 1)
    pixels[:, 150:] = 0
    image = write_image(tmp_path / "half.tif", pixels, nodata=0)
    shapes = [*shapely.points([[60.5, 50.5], [250.0, 100.0], [-9.0, 3.0]]), None]
    layer = write_layer(tmp_path / "a.gpkg", [
        shape if shape is None else on_map([shape], NORTH_UP)[0] for shape in shapes
    ])  # fmt: skip
    outcome = segment(image, layer, tmp_path, tiny)
    assert outcome.result.numbers["MISSING_COUNT"] == 3
    assert outcome.result.warnings == (
        "Prompts outside of the raster or of the extent, which are not used: 1.",
        "Features without a geometry, which are not used: 1.",
        "Objects where the raster holds no data, which are left out: 1.",
    )
    assert not outcome.mask[:, 150:].any()


def test_prompts_that_are_all_elsewhere_are_refused(
    landscape: Path, tiny: str, tmp_path: Path
) -> None:
    away = on_map(shapely.points([[-60.5, 50.5], [990.0, 100.0]]), NORTH_UP)
    error = refused(landscape, tmp_path, write_layer(tmp_path / "a.gpkg", away), tiny)
    assert error.code is ErrorCode.EXTENT_OUTSIDE
    assert error.message == "All prompts lie outside of the raster or of the extent."


def test_prompts_that_are_all_on_nodata_are_refused(tmp_path: Path, tiny: str) -> None:
    pixels = np.full((200, 300, 3), 9, dtype=np.uint8)
    pixels[:, 150:] = 0
    image = write_image(tmp_path / "half.tif", pixels, nodata=0)
    layer = write_layer(tmp_path / "a.gpkg", on_map(shapely.points([[250.0, 100.0]]), NORTH_UP))
    error = refused(image, tmp_path, layer, tiny)
    assert error.message == "The raster holds no data under any of the prompts."


def test_a_damaged_raster_is_refused(tmp_path: Path, tiny: str) -> None:
    image = tmp_path / "damaged.tif"
    pixels = np.random.default_rng(1).integers(0, 255, (3, 256, 256), dtype=np.uint8)
    with rasterio.open(
        image, "w", driver="GTiff", width=256, height=256, count=3, dtype="uint8",
        transform=NORTH_UP, crs=UTM, compress="deflate",
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    damaged = bytearray(image.read_bytes())
    damaged[2000:-2000] = bytes(len(damaged) - 4000)
    image.write_bytes(damaged)
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS[:2], NORTH_UP))
    error = refused(image, tmp_path, layer, tiny)
    assert error.code is ErrorCode.TILES_FAILED
    assert error.message == "The raster cannot be read where the prompts are."


@pytest.mark.parametrize("name", ["landscape.tif", "a.gpkg"])
def test_inputs_are_not_written_over(name: str, landscape: Path, tiny: str, tmp_path: Path) -> None:
    image = tmp_path / "landscape.tif"
    image.write_bytes(landscape.read_bytes())
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP))
    before = (tmp_path / name).read_bytes()
    member = {"landscape.tif": "mask_raster", "a.gpkg": "polygon_file"}[name]
    error = refused(image, tmp_path, layer, tiny, **{member: str(tmp_path / name)})
    assert error.code is ErrorCode.OUTPUT_UNWRITABLE
    assert error.hint == "Choose another file for the result."
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("name", ["threshold", "minimum_score"])
def test_numbers_that_are_no_probability_are_refused(
    name: str, landscape: Path, tiny: str, tmp_path: Path
) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP))
    for value in (-0.1, 1.5, float("nan")):
        error = refused(landscape, tmp_path, layer, tiny, **{name: value})
        assert "must lie between 0 and 1" in error.message


def test_negative_prompts_alone_are_refused(landscape: Path, tiny: str, tmp_path: Path) -> None:
    fields = {"on": np.zeros(4, dtype=np.int32)}
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP), fields)
    error = refused(landscape, tmp_path, layer, tiny, label_field="on")
    assert error.message == "All prompts are negative, so there is nothing to outline."


def test_an_empty_layer_and_an_unknown_method_are_refused(
    landscape: Path, tiny: str, tmp_path: Path
) -> None:
    empty = write_layer(tmp_path / "a.gpkg", [], {"n": np.zeros(0, np.int32)})
    assert refused(landscape, tmp_path, empty, tiny).message == "The layer of prompts is empty."
    layer = write_layer(tmp_path / "b.gpkg", on_map(POINTS, NORTH_UP))
    error = refused(landscape, tmp_path, layer, tiny, method="magic")
    assert error.hint == "Choose one of auto, sam2, unigeoseg."


def test_a_cancel_between_tiles_leaves_nothing(
    landscape: Path, tiny: str, tmp_path: Path, encoded: list[int]
) -> None:
    places = [(x, y) for x in (20, 150, 280) for y in (20, 130, 240)]
    layer = write_layer(tmp_path / "a.gpkg", on_map(shapely.points(places), NORTH_UP))
    context = JobContext(is_cancelled=lambda: len(encoded) >= 2)
    with pytest.raises(CancelledError):
        run_job(make_job(landscape, layer, tmp_path, tiny), context)
    assert len(encoded) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.gpkg"]


@pytest.mark.slow
def test_progress_rises_to_its_end(landscape: Path, tiny: str, tmp_path: Path) -> None:
    places = [(x, y) for x in (20, 150, 280) for y in (20, 130, 240)]
    layer = write_layer(tmp_path / "a.gpkg", on_map(shapely.points(places), NORTH_UP))
    reported: list[tuple[float, str]] = []
    context = JobContext(report_progress=lambda done, phase: reported.append((done, phase)))
    segment(landscape, layer, tmp_path, tiny, context=context)
    fractions = [done for done, _ in reported]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len([phase for _, phase in reported if phase == "Outlining objects"]) >= 9


@pytest.mark.slow
def test_batches_are_halved_when_memory_runs_out(
    landscape: Path, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = shapely.points([(x, 128.0) for x in range(100, 148, 6)])
    layer = write_layer(tmp_path / "a.gpkg", on_map(points, NORTH_UP))
    expected = segment(landscape, layer, tmp_path, tiny)
    predict, sizes = Sam2Model.predict, []

    def tight(self: Sam2Model, embedding: Any, **prompts: Any) -> Any:
        sizes.append(len(prompts["points"]))
        if sizes[-1] > 3:
            raise MemoryError
        return predict(self, embedding, **prompts)

    monkeypatch.setattr(Sam2Model, "predict", tight)
    outcome = segment(landscape, layer, tmp_path, tiny)
    assert max(sizes) > 3
    assert shapely.equals_exact(outcome.outlines, expected.outlines, tolerance=0.2).all()
    monkeypatch.setattr(Sam2Model, "predict", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(JobError) as caught:
        segment(landscape, layer, tmp_path, tiny)
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY


@pytest.mark.slow
@pytest.mark.parametrize("name", ["turned", "degrees", "south-up", "no CRS"])
def test_the_place_on_the_ground_is_kept(name: str, tiny: str, tmp_path: Path) -> None:
    """The same pixels on other axes give the same pixels of the mask, with prompts to match."""
    transform, crs = {
        "turned": (
            Affine.translation(400000, 5000000) @ Affine.rotation(30) @ Affine.scale(0.2, -0.2),
            UTM,
        ),
        "degrees": (Affine(2e-6, 0, 13.0, 0, -2e-6, 0.1), "EPSG:4326"),
        "south-up": (Affine(0.2, 0, 400000, 0, 0.2, 5000000), UTM),
        "no CRS": (Affine(0.2, 0, 1000, 0, -0.2, 2000), None),
    }[name]
    pixels = np.random.default_rng(6).integers(0, 255, (26, 30, 3), dtype=np.uint8)
    pixels = pixels.repeat(10, 0).repeat(10, 1)
    shapes = [
        *POINTS,
        shapely.LineString([(20.3, 20.4), (90, 40.2)]),
        shapely.box(120, 60, 180, 110),
    ]
    outcomes: list[Outcome] = []
    for folder, place, ground in (("a", NORTH_UP, UTM), ("b", transform, crs)):
        (tmp_path / folder).mkdir()
        image = write_image(tmp_path / folder / "image.tif", pixels, place, ground)
        layer = write_layer(tmp_path / folder / "prompts.gpkg", on_map(shapes, place), crs=ground)
        outcomes.append(segment(image, layer, tmp_path / folder, tiny))
    first, second = outcomes
    assert first.mask.any()
    assert (first.mask != second.mask).mean() < 0.002
    back = on_map(second.outlines, NORTH_UP @ ~transform)
    assert shapely.total_bounds(back) == pytest.approx(
        shapely.total_bounds(first.outlines), abs=0.3
    )
    with rasterio.open(second.result.files["OUTPUT"]) as dataset:
        assert dataset.transform.almost_equals(transform, precision=1e-12)


@pytest.mark.slow
def test_prompts_of_another_crs_find_the_same(landscape: Path, tiny: str, tmp_path: Path) -> None:
    shapes = [*POINTS, shapely.LineString([(20, 20), (90, 40)]), shapely.box(120, 60, 180, 110)]
    here = on_map(shapes, NORTH_UP)
    there = shapely.transform(
        here,
        lambda p: np.stack(rasterio.warp.transform(UTM, "EPSG:4326", p[:, 0], p[:, 1]), axis=1),
    )
    first = segment(landscape, write_layer(tmp_path / "a.gpkg", here), tmp_path, tiny)
    second = segment(
        landscape, write_layer(tmp_path / "b.gpkg", there, crs="EPSG:4326"), tmp_path, tiny
    )
    assert len(first.outlines) == len(second.outlines)
    assert (first.mask != second.mask).mean() < 0.002


@pytest.mark.slow
def test_a_finer_or_coarser_result_lies_on_the_same_ground(
    landscape: Path, tiny: str, tmp_path: Path
) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP))
    own = segment(landscape, layer, tmp_path, tiny)
    fine = segment(landscape, layer, tmp_path, tiny, grid=GridRequest(resolution=0.1))
    assert fine.mask.shape == (520, 600)
    assert (fine.mask[::2, ::2] != own.mask).mean() < 0.03
    areas = [sum(outcome.fields["area_m2"]) for outcome in (own, fine)]
    assert areas[1] == pytest.approx(areas[0], rel=0.05)


@pytest.mark.slow
def test_boxes_larger_than_a_tile_are_read_coarse_then_fine(
    tiny: str, tmp_path: Path, encoded: list[int]
) -> None:
    rough = np.random.default_rng(8).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    image = write_image(tmp_path / "big.tif", rough.repeat(100, 0).repeat(100, 1))
    layer = write_layer(tmp_path / "a.gpkg", on_map([shapely.box(80, 90, 820, 810)], NORTH_UP))
    outcome = segment(image, layer, tmp_path, tiny)
    assert len(outcome.outlines) == 1
    assert 1 < len(encoded) < 120
    left, bottom, right, top = outcome.outlines[0].bounds
    limits = on_map([shapely.box(80 - 15, 90 - 15, 820 + 15, 810 + 15)], NORTH_UP)[0].bounds
    assert left >= limits[0] - 0.2
    assert bottom >= limits[1] - 0.2
    assert right <= limits[2] + 0.2
    assert top <= limits[3] + 0.2


def test_a_failed_write_leaves_nothing(
    landscape: Path, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pyogrio.raw, "write", full)
    error = refused(landscape, tmp_path, layer, tiny)
    assert error.code is ErrorCode.DISK_FULL
    assert [path.name for path in tmp_path.iterdir()] == ["a.gpkg"]


@pytest.mark.slow
def test_files_are_written_alone_if_asked(landscape: Path, tiny: str, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP))
    result = run_job(make_job(landscape, layer, tmp_path, tiny, mask_raster=None), JobContext())
    assert list(result.files) == ["POLYGONS"]
    outlines, _ = read_layer(tmp_path / "outlines.gpkg")
    assert len(outlines) == 4
    (tmp_path / "outlines.gpkg").unlink()
    result = run_job(make_job(landscape, layer, tmp_path, tiny, polygon_file=None), JobContext())
    assert list(result.files) == ["OUTPUT"]
    assert not (tmp_path / "outlines.gpkg").exists()


@pytest.mark.slow
def test_shapes_of_all_kinds_are_prompts(landscape: Path, tiny: str, tmp_path: Path) -> None:
    shapes = [
        shapely.MultiPoint([(60, 50), (66, 52)]),
        shapely.MultiLineString([[(100, 40), (130, 50)], [(100, 60), (130, 66)]]),
        shapely.Point(180, 180).buffer(20),
        shapely.MultiPolygon([shapely.box(30, 150, 50, 180), shapely.box(60, 150, 80, 170)]),
        shapely.GeometryCollection([shapely.Point(240, 60), shapely.Point(250, 64)]),
    ]
    layer = write_layer(tmp_path / "a.gpkg", on_map(shapes, NORTH_UP), {"n": np.arange(5)})
    outcome = segment(landscape, layer, tmp_path, tiny)
    found = dict(zip(outcome.fields["n"], outcome.outlines, strict=True))
    assert len(found) >= 4
    for number, outline in found.items():
        prompt = on_map([shapes[number]], NORTH_UP)[0]
        assert shapely.distance(prompt, outline) < 1.3


@pytest.mark.slow
def test_a_job_runs_the_same_twice(landscape: Path, tiny: str, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map(POINTS, NORTH_UP))
    first, second = (segment(landscape, layer, tmp_path, tiny) for _ in itertools.repeat(0, 2))
    assert (first.mask == second.mask).all()
    assert first.fields == second.fields


@pytest.mark.slow
def test_a_raster_that_is_too_coarse_is_reported(tmp_path: Path) -> None:
    coarse = Affine(10.0, 0, 400000, 0, -10.0, 5000000)
    image = write_image(tmp_path / "coarse.tif", tiny_models.landscape(150, 160), coarse)
    layer = write_layer(tmp_path / "a.gpkg", on_map(shapely.points([[80.0, 70.0]]), coarse))
    outcome = segment(image, layer, tmp_path, "offline-small")
    assert "reads the image at 10 m per pixel, but it was made for" in outcome.result.warnings[0]
    assert outcome.result.provenance["network_pixel"] == "10 m"
