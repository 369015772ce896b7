"""Whole assessments with a network that takes what is bright for an object."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from assess_scene import (
    BRIGHT,
    CRS,
    FALSE,
    HALF,
    HEIGHT,
    LACKING,
    MASKED,
    MASKED_HALF,
    NORTH_UP,
    ROTATED,
    WHOLE,
    WIDTH,
    Assessed,
    assess,
    drawn,
    imagery,
    in_map,
    read_band,
    write_bands,
    write_layer,
)
from bright_segassess import write_bright_preset
from numpy.typing import NDArray

from geoseg_qgis.engine.cli import main
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.source import Extent, GridRequest, VectorSource
from geoseg_qgis.protocol.tasks.assess import AssessVariant, Orientations

pytestmark = pytest.mark.slow

TP, FP, TN, FN = 1, 2, 3, 4
# Corners of bright objects are rounded by a pixel or two.
ROUNDED = 0.002


def expected_quality(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what the network must say of a mask of the scene."""
    bright = drawn(dict.fromkeys(BRIGHT, 1)) > 0
    inside = np.where(bright, TP, FP)
    return np.where(mask > 0, inside, np.where(bright, FN, TN)).astype(np.uint8)


def differing(first: NDArray[Any], second: NDArray[Any]) -> float:
    return float((first != second).mean())


@pytest.fixture(scope="session")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bright_preset(tmp_path_factory.mktemp("models") / "judge")


@pytest.fixture(scope="session")
def assessed(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Assessed:
    """The scene with a mask raster of one class."""
    folder = tmp_path_factory.mktemp("assessed")
    mask = write_bands(folder / "mask.tif", drawn(dict.fromkeys(MASKED, 1))[None])
    return assess(folder / "out", preset, imagery(folder / "image.tif"), mask=mask)


def test_quality_raster_and_numbers(assessed: Assessed) -> None:
    mask = drawn(dict.fromkeys(MASKED, 1))
    expected = expected_quality(mask)
    assert differing(assessed.quality, expected) < ROUNDED
    numbers = assessed.result.numbers
    tp, fp, fn = ((expected == value).sum() for value in (TP, FP, FN))
    assert numbers["PRECISION"] == pytest.approx(tp / (tp + fp), abs=0.01)
    assert numbers["RECALL"] == pytest.approx(tp / (tp + fn), abs=0.03)
    assert numbers["IOU"] == pytest.approx(tp / (tp + fp + fn), abs=0.02)
    assert numbers["F1"] == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=0.02)
    assert numbers["IOU_LOW"] <= numbers["IOU"] <= numbers["IOU_HIGH"]
    assert (numbers["POLYGON_COUNT"], numbers["FALSE_COUNT"], numbers["MISSED_COUNT"]) == (3, 1, 1)
    pixels = [summary.pixels for summary in assessed.result.classes]
    assert pixels == [int((assessed.quality == value).sum()) for value in (TP, FP, TN, FN)]
    assert assessed.result.classes[0].area == pytest.approx(pixels[0] * 0.25, rel=0.01)
    assert assessed.result.provenance["method"] == "segassess"
    assert assessed.result.provenance["model"] == "judge"
    assert not assessed.result.warnings


def test_quality_raster_has_names_colours_and_provenance(assessed: Assessed) -> None:
    with rasterio.open(assessed.folder / "quality.tif") as dataset:
        assert dataset.colormap(1)[TP] == (0x00, 0x9E, 0x73, 255)
        assert dataset.colormap(1)[FP] == (0xD5, 0x5E, 0x00, 255)
        assert dataset.nodata == 0
        tags = dataset.tags()
    assert tags["GEOSEG_MODEL"] == "judge"
    assert tags["GEOSEG_VARIANT"] == "constrained"
    assert "wrongly mapped (FP)" in tags["GEOSEG_CLASSES"]
    beside = (assessed.folder / "quality.tif.aux.xml").read_text(encoding="utf-8")
    assert "<Category>missed (FN)</Category>" in beside


def test_traced_polygons_are_ranked(assessed: Assessed) -> None:
    layer = assessed.polygons
    places = {"whole": WHOLE, "half": MASKED_HALF, "false": FALSE}
    found = {
        name: int(np.argmax(shapely.intersects(layer.shapes, in_map(box).centroid)))
        for name, box in places.items()
    }
    columns = layer.columns
    problems = {name: columns["problem"][index] for name, index in found.items()}
    assert problems == {"whole": "fine", "half": "incomplete", "false": "false"}
    ranks = {name: columns["fix_rank"][index] for name, index in found.items()}
    assert ranks == {"false": 1, "half": 2, "whole": 3}
    for name, box in places.items():
        shape = layer.shapes[found[name]]
        assert shape.symmetric_difference(in_map(box)).area < 2.0
        assert columns["area_m2"][found[name]] == pytest.approx(in_map(box).area, rel=0.01)
    assert columns["precision"][found["false"]] < 0.01
    assert columns["iou"][found["whole"]] > 0.97
    assert columns["tp_px"][found["half"]] == pytest.approx(32 * 32, abs=4)
    assert columns["fp_px"][found["false"]] == pytest.approx(32 * 64, abs=4)
    # Of what is missing beside the half, 16 pixels are near enough to be its fault.
    assert columns["recall"][found["half"]] == pytest.approx(2 / 3, abs=0.03)
    assert all(np.isnan(columns["spread"]))
    priorities = layer.sorted_by("priority", "fix_rank")
    assert priorities == sorted(priorities, reverse=True)


def test_missed_object_and_repaired_mask(assessed: Assessed) -> None:
    missed = assessed.missed
    assert len(missed.shapes) == 1
    both = missed.shapes[0].intersection(in_map(LACKING)).area
    assert both / missed.shapes[0].union(in_map(LACKING)).area > 0.94
    assert missed.columns["score"][0] > 0.95
    assert missed.columns["fix_rank"] == [1]
    repaired = read_band(assessed.folder / "repaired.tif")
    assert differing(repaired, drawn(dict.fromkeys(BRIGHT, 1))) < ROUNDED


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]


def test_report_stands_alone_and_says_the_numbers(assessed: Assessed) -> None:
    text = (assessed.folder / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert "script" not in page.tags
    assert [address[:22] for address in page.loaded] == ["data:image/png;base64,"]
    numbers = assessed.result.numbers
    for name in ("IOU", "PRECISION", "RECALL", "F1"):
        assert f"{numbers[name]:.3f}" in text
        assert f"{numbers[f'{name}_LOW']:.3f} to {numbers[f'{name}_HIGH']:.3f}" in text
    assert len(re.findall('<g id="bar-', text)) == 20
    assert "bright things" in text
    assert "incomplete" in text


def test_report_escapes_names(tmp_path: Path, preset: Path) -> None:
    values = drawn({WHOLE: 3, FALSE: 7})
    hostile = "<script>alert(1)</script>"
    done = assess(
        tmp_path / "out",
        preset,
        imagery(tmp_path / "image.tif"),
        mask=replace(
            write_bands(tmp_path / "mask.tif", values[None]),
            name=hostile,
            class_names={"3": "<b>'roof\"</b>", "7": "{{ 7 * 7 }} & $"},
        ),
    )
    text = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<b>'" not in text
    assert f"<h1>{html.escape(hostile)}</h1>" in text
    assert "<th>&lt;b&gt;&#39;roof&#34;&lt;/b&gt;</th>" in text
    assert "<th>{{ 7 * 7 }} &amp; $</th>" in text


@pytest.mark.parametrize(
    ("pixels", "crs"),
    [
        (NORTH_UP @ Affine.translation(-40, -24) @ Affine.scale(0.5), CRS),
        (NORTH_UP @ Affine.translation(-3, -2) @ Affine.scale(4, 4), CRS),
        (ROTATED @ Affine.translation(-100, -90) @ Affine.scale(0.25), CRS),
        (None, "EPSG:25832"),
    ],
    ids=["finer", "coarser", "rotated", "other CRS"],
)
def test_mask_on_other_pixels(
    tmp_path: Path, preset: Path, pixels: Affine | None, crs: str
) -> None:
    transform = pixels or NORTH_UP @ Affine.scale(0.25)
    shape = 1600, 2000
    rows, columns = np.indices(shape) + 0.5
    x, y = (~NORTH_UP @ transform) @ (columns, rows)
    own = drawn(dict.fromkeys(MASKED, 1))
    inside = (x >= 0) & (y >= 0) & (x < WIDTH) & (y < HEIGHT)
    values = np.zeros(shape, dtype=np.uint8)
    values[inside] = own[y[inside].astype(int), x[inside].astype(int)]
    mask = write_bands(tmp_path / "mask.tif", values[None], transform, crs)
    done = assess(tmp_path / "out", preset, imagery(tmp_path / "image.tif"), mask=mask)
    covered = done.quality > 0
    rows, columns = np.indices(own.shape) + 0.5
    u, v = (~transform @ NORTH_UP) @ (columns, rows)
    reached = (u >= 0) & (v >= 0) & (u < shape[1]) & (v < shape[0])
    assert differing(covered, reached) < ROUNDED
    expected = np.where(reached, expected_quality(own), 0)
    # A coarser mask has ragged outlines.
    assert differing(done.quality, expected) < 0.02
    assert done.result.numbers["FALSE_COUNT"] == 1


@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED], ids=["north up", "rotated"])
def test_polygons_of_another_crs_keep_all_they_have(
    tmp_path: Path, preset: Path, transform: Affine
) -> None:
    shapes = [in_map(box, transform, "EPSG:3857") for box in MASKED]
    far = shapely.transform(shapes[0], lambda points: points + 5000)
    fields = {
        "name": np.array(["whole", None, "wrong", "far"], dtype=object),
        "iou": np.array([7, 0, 9, 4], dtype=np.int32),
        "seen": np.array(["2024-02-29", "2020-01-01", "2021-01-01", "2022-01-01"], "M8[D]"),
    }
    empty = [None, np.array([False, True, False, False]), None]
    layer = write_layer(tmp_path / "mask.gpkg", [*shapes, far], fields, "EPSG:3857", empty)
    done = assess(tmp_path / "out", preset, imagery(tmp_path / "image.tif", transform), mask=layer)
    assert differing(done.quality, expected_quality(drawn(dict.fromkeys(MASKED, 1)))) < 0.01
    found = done.polygons
    assert found.crs == "EPSG:3857"
    assert list(found.columns)[:4] == ["name", "iou", "seen", "precision"]
    assert found.columns["name"] == ["whole", None, "wrong", "far"]
    assert found.columns["iou"][0::2] == [7, 9]
    assert np.isnan(found.columns["iou"][1])
    assert str(found.columns["seen"][0]) == "2024-02-29"
    parts = [shapely.get_parts(shape)[0] for shape in found.shapes]
    assert all(shapely.equals_exact(one, two) for one, two in zip(parts, [*shapes, far]))
    assert found.columns["problem"] == ["fine", "incomplete", "false", "not assessed"]
    assert found.columns["fix_rank"][:3] == [3, 2, 1]
    assert np.isnan(found.columns["fix_rank"][3])
    assert found.columns["iou_1"][0] > 0.95
    assert done.missed.crs == CRS
    missed = done.missed.shapes[0]
    assert missed.intersection(in_map(LACKING, transform)).area / missed.area > 0.97
    again = assess(
        tmp_path / "again",
        preset,
        imagery(tmp_path / "image.tif", transform),
        mask=VectorSource(str(tmp_path / "out" / "missed.gpkg"), "polygons"),
    )
    assert again.polygons.columns["fix_rank_1"] == [1]
    assert again.polygons.columns["problem"] == ["fine"]


def test_an_earlier_assessment_is_replaced(tmp_path: Path, preset: Path) -> None:
    image = imagery(tmp_path / "image.tif")
    layer = write_layer(
        tmp_path / "mask.gpkg", [in_map(box) for box in MASKED], {"id": np.arange(3)}
    )
    assess(tmp_path / "first", preset, image, mask=layer)
    earlier = VectorSource(str(tmp_path / "first" / "polygons.gpkg"), "polygons")
    done = assess(tmp_path / "second", preset, image, mask=earlier)
    assert list(done.polygons.columns)[:2] == ["id", "precision"]
    assert done.polygons.columns["id"] == [0, 1, 2]
    assert done.polygons.columns["fix_rank"] == [3, 2, 1]
    assert len([name for name in done.polygons.columns if name.startswith("iou")]) == 1


def test_tiles_leave_no_seams(tmp_path: Path, preset: Path) -> None:
    image = imagery(tmp_path / "image.tif")
    mask = write_bands(tmp_path / "mask.tif", drawn(dict.fromkeys(MASKED, 1))[None])
    one = write_bright_preset(tmp_path / "one", tile=512)
    many = assess(tmp_path / "many", preset, image, mask=mask)
    single = assess(tmp_path / "single", one, image, mask=mask)
    inner = (slice(None), slice(16, -16), slice(16, -16))
    assert np.nanmax(np.abs(many.scores - single.scores)[inner]) < 0.02
    assert differing(many.quality, single.quality) < ROUNDED / 10


def test_constrained_agrees_with_the_mask(tmp_path: Path, preset: Path) -> None:
    values = drawn(dict.fromkeys(MASKED, 1))
    image = imagery(tmp_path / "image.tif")
    mask = write_bands(tmp_path / "mask.tif", values[None])
    done = assess(tmp_path / "out", preset, image, mask=mask)
    assert set(np.unique(done.quality[values > 0])) == {TP, FP}
    assert set(np.unique(done.quality[values == 0])) == {TN, FN}
    assert not done.scores[2:, values > 0].any()
    assert not done.scores[:2, values == 0].any()
    np.testing.assert_allclose(done.scores.sum(0), 1, atol=0.005)
    assert np.array_equal(done.scores.argmax(0) + 1, done.quality)
    raw = assess(tmp_path / "raw", preset, image, mask=mask, variant=AssessVariant.RAW)
    # This network reads no mask, so its raw output is the same for both kinds of object.
    np.testing.assert_allclose(raw.scores[0], raw.scores[3], atol=0.005)
    np.testing.assert_allclose(raw.scores[0] + raw.scores[3], done.scores[[0, 3]].sum(0), atol=0.01)


def test_nodata_is_not_judged(tmp_path: Path, preset: Path) -> None:
    hole = (80, 144, 208, 304)
    image = imagery(tmp_path / "image.tif", hole=hole)
    values = drawn(dict.fromkeys(MASKED, 1))
    mask = write_bands(tmp_path / "mask.tif", values[None])
    done = assess(tmp_path / "out", preset, image, mask=mask)
    empty = np.zeros(values.shape, dtype=bool)
    empty[80:144, 208:304] = True
    assert np.array_equal(done.quality == 0, empty)
    assert np.array_equal(np.isnan(done.scores[0]), empty)
    columns = done.polygons.columns
    lost = columns["problem"].index("no data")
    assert np.isnan(columns["iou"][lost])
    assert np.isnan(columns["fix_rank"][lost])
    assert done.result.numbers["FALSE_COUNT"] == 0
    repaired = read_band(done.folder / "repaired.tif")
    assert np.array_equal(repaired[empty], values[empty])


def test_classes_one_at_a_time(tmp_path: Path, preset: Path) -> None:
    values = drawn({WHOLE: 3, MASKED_HALF: 7, FALSE: 7})
    mask = write_bands(tmp_path / "mask.tif", values[None])
    image = imagery(tmp_path / "image.tif")
    done = assess(
        tmp_path / "out", preset, image, mask=replace(mask, class_names={"3": "roof", "7": "road"})
    )
    assert differing(done.quality, expected_quality(values)) < ROUNDED
    columns = done.polygons.columns
    assert sorted(zip(columns["class"], columns["class_id"])) == [
        ("road", 7), ("road", 7), ("roof", 3),
    ]  # fmt: skip
    repaired = read_band(done.folder / "repaired.tif")
    assert set(np.unique(repaired[drawn({WHOLE: 1}) > 0])) <= {0, 3}
    assert not repaired[drawn({FALSE: 1}) > 0].any()
    assert (repaired[drawn({MASKED_HALF: 1}) > 0] == 7).mean() > 0.99
    # What is missing beside the road is no part of a road for the class that claims it, the roof.
    assert done.missed.columns["class"] == ["roof", "roof"]
    text = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "<th>roof</th>" in text
    assert "<th>road</th>" in text
    one = assess(
        tmp_path / "one", preset, image, classes=("road",),
        mask=replace(mask, class_names={"3": "roof", "7": "road"}),
    )  # fmt: skip
    assert one.polygons.columns["class"] == ["road", "road"]
    assert (one.quality[drawn({WHOLE: 1}) > 0] == FN).mean() > 0.99
    with pytest.raises(JobError, match="no class 'water'") as caught:
        assess(tmp_path / "none", preset, image, mask=mask, classes=("water",))
    assert caught.value.code is ErrorCode.INVALID_CLASSES


def test_classes_of_polygons(tmp_path: Path, preset: Path) -> None:
    fields = {"kind": np.array(["shed", "house", None], dtype=object)}
    layer = write_layer(tmp_path / "mask.gpkg", [in_map(box) for box in MASKED], fields)
    done = assess(
        tmp_path / "out", preset, imagery(tmp_path / "image.tif"), mask=layer,
        class_field="kind",
    )  # fmt: skip
    assert done.polygons.columns["problem"] == ["fine", "incomplete", "not assessed"]
    assert done.result.numbers["POLYGON_COUNT"] == 2
    assert ["without a value" in warning for warning in done.result.warnings] == [True]
    with rasterio.open(done.folder / "repaired.tif") as dataset:
        assert dataset.tags()["GEOSEG_CLASSES"].startswith("house =")
        assert (dataset.read(1)[drawn({WHOLE: 1}) > 0] == 2).mean() > 0.99


def test_overlapping_polygons_have_all_of_their_pixels(tmp_path: Path, preset: Path) -> None:
    large = (24, 72, 24, 104)
    layer = write_layer(
        tmp_path / "mask.gpkg", [in_map(WHOLE), in_map(large), in_map(WHOLE), in_map(HALF)]
    )
    done = assess(tmp_path / "out", preset, imagery(tmp_path / "image.tif"), mask=layer)
    columns = done.polygons.columns
    assert columns["tp_px"] == pytest.approx([32 * 64] * 3 + [32 * 64], abs=8)
    assert columns["fp_px"] == pytest.approx([0, 48 * 80 - 32 * 64, 0, 0], abs=8)
    assert ["overlap" in warning for warning in done.result.warnings] == [True]


def test_crossed_outlines_are_repaired_to_be_assessed(tmp_path: Path, preset: Path) -> None:
    top, bottom, left, right = WHOLE
    corners = [(left, top), (right, bottom), (right, top), (left, bottom)]
    bow = shapely.Polygon([NORTH_UP @ corner for corner in corners])
    assert not bow.is_valid
    layer = write_layer(tmp_path / "mask.gpkg", [bow, in_map(HALF)])
    done = assess(tmp_path / "out", preset, imagery(tmp_path / "image.tif"), mask=layer)
    assert shapely.equals_exact(shapely.get_parts(done.polygons.shapes[0])[0], bow)
    assert done.polygons.columns["tp_px"][0] == pytest.approx(32 * 64 / 2, rel=0.05)
    assert ["invalid outlines" in warning for warning in done.result.warnings] == [True]


def test_points_are_no_mask(tmp_path: Path, preset: Path) -> None:
    layer = tmp_path / "points.geojson"
    layer.write_text('{"type": "Point", "coordinates": [1, 2]}', encoding="utf-8")
    with pytest.raises(JobError, match="holds no feature with an area"):
        assess(
            tmp_path / "out",
            preset,
            imagery(tmp_path / "image.tif"),
            mask=VectorSource(str(layer)),
        )


@pytest.mark.parametrize("crs", [CRS, None])
def test_a_mask_without_a_crs_is_reported(tmp_path: Path, preset: Path, crs: str | None) -> None:
    mask = write_bands(tmp_path / "mask.tif", drawn(dict.fromkeys(MASKED, 1))[None], crs=crs)
    shapes = [in_map(box) for box in MASKED]
    layer = write_layer(tmp_path / "mask.gpkg", shapes, crs=crs)
    source = imagery(tmp_path / "image.tif")
    for given in ({"mask": mask}, {"mask": layer}):
        done = assess(tmp_path / "out", preset, source, **given)
        reported = [warning.split(",")[0] for warning in done.result.warnings]
        assert reported == ([] if crs else ["Either the imagery or the mask has no CRS"])


def no_mask(folder: Path) -> dict[str, Any]:
    return {"mask": write_bands(folder / "mask.tif", drawn({})[None])}


def far_away(folder: Path) -> dict[str, Any]:
    far = shapely.transform(in_map(WHOLE), lambda points: points + 1e4)
    return {"mask": write_layer(folder / "mask.gpkg", [far])}


def empty_layer(folder: Path) -> dict[str, Any]:
    return {"mask": write_layer(folder / "mask.gpkg", [])}


@pytest.mark.parametrize("mask", [no_mask, far_away, empty_layer])
def test_a_mask_without_objects_is_refused(tmp_path: Path, preset: Path, mask: Any) -> None:
    with pytest.raises(JobError, match="has no object") as caught:
        assess(tmp_path / "out", preset, imagery(tmp_path / "image.tif"), **mask(tmp_path))
    assert caught.value.code is ErrorCode.EXTENT_OUTSIDE
    assert not list((tmp_path / "out").iterdir())


def test_wrong_jobs_are_refused(tmp_path: Path, preset: Path) -> None:
    image = imagery(tmp_path / "image.tif")
    nothing = dict.fromkeys(
        ("quality_raster", "polygon_file", "missed_file", "repaired_mask", "scores", "report")
    )
    with pytest.raises(JobError, match="asks for no result"):
        assess(tmp_path / "out", preset, image, mask=image, **nothing)


def test_a_hundred_thousand_polygons(tmp_path: Path) -> None:
    side, pitch = 317, 3
    size = 960
    preset = write_bright_preset(tmp_path / "judge", tile=512)
    image = imagery(tmp_path / "image.tif", shape=(size, size))
    x = 500000.0 + 0.5 * pitch * np.arange(side)
    y = 5600000.0 - 0.5 * pitch * np.arange(side)
    left, top = (part.ravel() for part in np.meshgrid(x, y))
    shapes = shapely.box(left, top - 1.0, left + 1.0, top)
    layer = write_layer(tmp_path / "mask.gpkg", list(shapes), {"number": np.arange(side**2)})
    done = assess(tmp_path / "out", preset, image, mask=layer, missed_file=None, scores=None)
    assert done.result.numbers["POLYGON_COUNT"] == side**2 > 100_000
    columns = done.polygons.columns
    assert columns["number"] == list(range(side**2))
    assert set(columns["problem"]) == {"too small"}
    assert set(np.add(columns["tp_px"], columns["fp_px"]).tolist()) == {4}


@pytest.mark.parametrize("stop", [0.03, 0.3, 0.85])
def test_a_cancel_leaves_nothing(tmp_path: Path, preset: Path, stop: float) -> None:
    seen = [0.0]
    context = JobContext(
        report_progress=lambda fraction, _: seen.append(fraction),
        is_cancelled=lambda: seen[-1] >= stop,
    )
    mask = write_bands(tmp_path / "mask.tif", drawn(dict.fromkeys(MASKED, 1))[None])
    with pytest.raises(CancelledError):
        assess(
            tmp_path / "out", preset, imagery(tmp_path / "image.tif"), context=context, mask=mask
        )
    assert seen == sorted(seen)
    assert not list((tmp_path / "out").iterdir())


def test_several_views_tell_a_spread(tmp_path: Path, preset: Path) -> None:
    layer = write_layer(tmp_path / "mask.gpkg", [in_map(box) for box in MASKED])
    done = assess(
        tmp_path / "out",
        preset,
        imagery(tmp_path / "image.tif"),
        mask=layer,
        shifted=True,
        orientations=Orientations.FLIPS,
    )
    columns = done.polygons.columns
    # A patch that lies half on something bright is dark, so a moved grid sees less of it.
    assert columns["problem"] == ["boundary", "incomplete", "false"]
    seen = [1.0, 16 / 32, 48 / 64, 16 / 32 * 48 / 64]
    assert columns["iou"][0] == pytest.approx(np.mean(seen), abs=0.01)
    assert columns["spread"][0] == pytest.approx(np.std(seen), abs=0.01)
    assert columns["spread"][2] < 0.01
    assert (done.quality[40:56, 40:88] == TP).all()
    numbers = done.result.numbers
    assert numbers["IOU_LOW"] < numbers["IOU"] < numbers["IOU_HIGH"]
    assert "Views of each tile</dt><dd>16<" in (done.folder / "report.html").read_text()


def test_network_reads_its_own_pixels(tmp_path: Path) -> None:
    size = {"preferred": 1.0, "finest": 0.5, "coarsest": 1.5}
    preset = write_bright_preset(tmp_path / "judge", pixel_size=size)
    layer = write_layer(tmp_path / "mask.gpkg", [in_map(box) for box in (WHOLE, FALSE)])
    boxes = (WHOLE, LACKING)
    image = imagery(tmp_path / "image.tif", boxes=boxes)
    done = assess(tmp_path / "out", preset, image, mask=layer)
    assert done.result.provenance["network_pixel"] == "1 m"
    values = drawn({WHOLE: TP, FALSE: FP, LACKING: FN})
    assert differing(done.quality, np.where(values == 0, TN, values)) < 0.01
    assert done.polygons.columns["problem"] == ["fine", "false"]
    coarse = write_bright_preset(
        tmp_path / "fine", pixel_size={"preferred": 0.1, "finest": 0.05, "coarsest": 0.3}
    )
    warned = assess(tmp_path / "warned", coarse, image, mask=layer)
    assert ["was made for 0.05 to 0.3 m" in text for text in warned.result.warnings] == [True]


def test_extent_and_resolution(tmp_path: Path, preset: Path) -> None:
    layer = write_layer(tmp_path / "mask.gpkg", [in_map(box) for box in MASKED])
    left, top = NORTH_UP @ (0, 0)
    right, bottom = NORTH_UP @ (128, 160)
    grid = GridRequest(Extent(left, bottom, right, top), 1.0)
    image = imagery(tmp_path / "image.tif")
    done = assess(tmp_path / "out", preset, image, grid, mask=layer)
    with rasterio.open(tmp_path / "out" / "quality.tif") as dataset:
        assert dataset.shape == (80, 64)
        assert dataset.bounds == (left, bottom, right, top)
    assert done.result.numbers["POLYGON_COUNT"] == 2
    assert done.polygons.columns["problem"][2] == "not assessed"
    assert (done.quality[16:32, 16:48] == TP).mean() > 0.98


def test_imagery_without_a_crs(tmp_path: Path, preset: Path) -> None:
    grey = np.where(drawn(dict.fromkeys(BRIGHT, 1)) > 0, 210, 40).astype(np.uint8)
    image = write_bands(tmp_path / "image.tif", np.stack([grey] * 3), NORTH_UP, None)
    mask = write_bands(tmp_path / "mask.tif", drawn({WHOLE: 255})[None], NORTH_UP, None)
    done = assess(tmp_path / "out", preset, image, mask=replace(mask, name="roofs"))
    assert (done.quality[32:64, 32:96] == TP).mean() > 0.99
    assert done.result.numbers["MISSED_COUNT"] == 2
    assert read_band(done.folder / "repaired.tif").max() == 255
    assert done.polygons.columns["class_id"] == [255]


def test_smallest_areas(tmp_path: Path, preset: Path) -> None:
    layer = write_layer(tmp_path / "mask.gpkg", [in_map(box) for box in MASKED])
    done = assess(
        tmp_path / "out", preset, imagery(tmp_path / "image.tif"), mask=layer,
        minimum_area=300.0, missed_area=500.0,
    )  # fmt: skip
    assert done.polygons.columns["problem"] == ["fine", "too small", "false"]
    assert done.result.numbers["MISSED_COUNT"] == 0


def test_from_the_command_line(tmp_path: Path, preset: Path) -> None:
    image = imagery(tmp_path / "image.tif")
    fields = {"kind": np.array(["roof", "road", "road"], dtype=object)}
    write_layer(tmp_path / "mask.gpkg", [in_map(box) for box in MASKED], fields)
    report, output = tmp_path / "report.html", tmp_path / "quality.tif"
    words = [
        "assess", "--input", image.uri, "--mask", str(tmp_path / "mask.gpkg"),
        "--class-field", "kind", "--classes", "roof", "--model", str(preset), "--device", "cpu",
        "--output", str(output), "--report", str(report),
    ]  # fmt: skip
    assert main(words) == 0
    assert (read_band(output)[drawn({WHOLE: 1}) > 0] == TP).mean() > 0.99
    assert "Assessment of mask" in report.read_text(encoding="utf-8")
    assert main(words[:-4]) == 1
