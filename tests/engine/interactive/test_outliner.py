"""Outlines of one object at a time: the same as those of a job, from tiles that are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from prompt_cases import NORTH_UP, Houses, on_map, segment, write_image, write_layer
from shapely.geometry.base import BaseGeometry

from geoseg_qgis.engine.interactive.outliner import MOST_ENCODED, Outliner
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.outline import (
    Outline,
    OutlineRequest,
    Place,
    Prompt,
    PromptKind,
    superseded,
)
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind


@pytest.fixture
def outliner() -> Iterator[Outliner]:
    outliner = Outliner()
    yield outliner
    outliner.release()


def request(
    image: Path,
    *prompts: Prompt | tuple[float, float],
    pixel_size: float = 0.0,
    model: str = "",
) -> OutlineRequest:
    """Return a request at its first prompt; a pair is a positive point."""
    given = tuple(
        item if isinstance(item, Prompt) else Prompt(PromptKind.POINT, (item,)) for item in prompts
    )
    source = RasterSource(str(image), stretch=Stretch(StretchKind.NONE))
    place = Place(source, *given[0].corners[0], pixel_size)
    return OutlineRequest(place, given, model, "cpu")


def shape_of(outline: Outline) -> BaseGeometry:
    return shapely.MultiPolygon(
        [shapely.Polygon(rings[0], rings[1:]) for rings in outline.polygons]
    )


def agreement(first: BaseGeometry, second: BaseGeometry) -> float:
    return float(first.intersection(second).area / first.union(second).area)


def deepest(houses: Houses, number: int, transform: Affine = NORTH_UP) -> tuple[float, float]:
    (point,) = on_map([houses.inner[number]], transform)
    return point.x, point.y


@pytest.mark.slow
@pytest.mark.parametrize("turned", [False, True])
def test_outlines_are_those_of_a_job_on_the_same_tile(
    turned: bool, houses: Houses, outliner: Outliner, tmp_path: Path
) -> None:
    """The scene is smaller than a tile, so that both read the same pixels."""
    transform = NORTH_UP @ Affine.rotation(30) if turned else NORTH_UP
    image = write_image(tmp_path / "houses.tif", houses.pixels, transform)
    points = on_map(houses.inner, transform)
    numbers = list(range(len(points)))
    layer = write_layer(tmp_path / "prompts.gpkg", points, {"number": numbers})
    job = segment(image, layer, tmp_path)
    assert job.outlines
    scores = job.fields["score"]
    for number, outline, score in zip(job.fields["number"], job.outlines, scores, strict=True):
        point = points[number]
        found = outliner.outline(request(image, (point.x, point.y)))
        assert agreement(shape_of(found), outline) > 0.999
        assert found.score == pytest.approx(score, abs=2e-4)


@pytest.mark.slow
def test_a_box_and_a_negative_point_act_as_in_a_job(
    houses: Houses, outliner: Outliner, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "houses.tif", houses.pixels)
    box, point = on_map([houses.boxes[0], houses.inner[0]], NORTH_UP)
    other = on_map([houses.inner[1]], NORTH_UP)[0]
    layer = write_layer(
        tmp_path / "prompts.gpkg",
        [box, point, other],
        {"label": [1, 1, 0], "object": [1, 1, 1]},
    )
    job = segment(image, layer, tmp_path, label_field="label", group_field="object")
    corners = tuple(box.exterior.coords[:4])
    found = outliner.outline(
        request(
            image,
            Prompt(PromptKind.BOX, corners),
            (point.x, point.y),
            Prompt(PromptKind.POINT, ((other.x, other.y),), on_object=False),
        )
    )
    assert agreement(shape_of(found), job.outlines[0]) > 0.999


@pytest.mark.slow
def test_one_more_point_changes_nothing_but_the_outline(
    houses: Houses, outliner: Outliner, suburb: Path
) -> None:
    """Predictions of earlier turns are kept; the result is that of a fresh start."""
    x, y = deepest(houses, 0)
    places = [(x, y), (x + 0.5, y), (x, y + 0.5)]
    step_by_step = [outliner.outline(request(suburb, *places[: n + 1])) for n in range(3)]
    outliner.release()
    at_once = outliner.outline(request(suburb, *places))
    assert at_once.polygons == step_by_step[-1].polygons
    assert at_once.score == step_by_step[-1].score


@pytest.mark.slow
def test_working_ahead_changes_no_outline(houses: Houses, outliner: Outliner, suburb: Path) -> None:
    place = deepest(houses, 0)
    at_once = outliner.outline(request(suburb, place))
    outliner.release()
    outliner.prepare(request(suburb, place))
    pieces = 0
    while outliner.use_rest():
        pieces += 1
    assert pieces == 9
    assert not outliner.use_rest()
    assert outliner.outline(request(suburb, place)).polygons == at_once.polygons


@pytest.mark.slow
def test_a_place_is_encoded_once(outliner: Outliner, landscape: Path, tiny: str) -> None:
    here, near = (400020.0, 4999975.0), (400021.8, 4999975.0)
    assert not outliner.prepare(request(landscape, here, model=tiny)).was_encoded
    first = outliner.outline(request(landscape, here, model=tiny))
    assert first.was_encoded
    assert outliner.outline(request(landscape, near, model=tiny)).was_encoded
    assert first.bounds == pytest.approx((400000.0, 4999948.0, 400060.0, 5000000.0))
    assert not outliner.outline(request(landscape, (400055.0, 4999955.0), model=tiny)).was_encoded


@pytest.mark.slow
def test_a_file_that_changed_is_encoded_again(
    outliner: Outliner, landscape: Path, tiny: str, tmp_path: Path
) -> None:
    image = Path(shutil.copy(landscape, tmp_path / "image.tif"))
    asked = request(image, (400020.0, 4999975.0), model=tiny)
    outliner.outline(asked)
    os.utime(image, ns=(1, 1))
    assert not outliner.outline(asked).was_encoded
    assert outliner.outline(asked).was_encoded


@pytest.mark.slow
def test_the_oldest_encodings_are_forgotten(outliner: Outliner, tiny: str, tmp_path: Path) -> None:
    image = write_image(tmp_path / "wide.tif", np.full((128, 64 * 40, 3), 90, np.uint8))
    places = [(400000.0 + 0.2 * 64 * n, 4999987.0) for n in range(1, MOST_ENCODED + 2)]
    for place in places:
        outliner.prepare(request(image, place, model=tiny))
    assert outliner.prepare(request(image, places[-1], model=tiny)).was_encoded
    assert outliner.prepare(request(image, places[1], model=tiny)).was_encoded
    assert not outliner.prepare(request(image, places[0], model=tiny)).was_encoded


@pytest.mark.slow
def test_an_image_without_a_crs(outliner: Outliner, houses: Houses, tmp_path: Path) -> None:
    image = write_image(tmp_path / "plain.tif", houses.pixels, Affine.identity(), None)
    point = houses.inner[0]
    found = outliner.outline(request(image, (point.x, -point.y)))
    with_crs = write_image(tmp_path / "utm.tif", houses.pixels)
    same = outliner.outline(request(with_crs, deepest(houses, 0)))
    in_pixels = shapely.transform(shape_of(found), lambda p: p * [1, -1])
    placed = on_map([in_pixels], NORTH_UP)[0]
    assert agreement(placed, shape_of(same)) > 0.9


@pytest.mark.slow
def test_nothing_is_outlined_on_nodata(outliner: Outliner, tiny: str, tmp_path: Path) -> None:
    pixels = np.full((200, 200, 3), 120, np.uint8)
    pixels[:, :100] = 0
    image = write_image(tmp_path / "half.tif", pixels, nodata=0)
    found = outliner.outline(request(image, (400004.0, 4999980.0), model=tiny))
    assert found.polygons == ()
    empty = write_image(tmp_path / "empty.tif", np.zeros((200, 200, 3), np.uint8), nodata=0)
    assert outliner.outline(request(empty, (400004.0, 4999980.0), model=tiny)).polygons == ()


@pytest.mark.slow
def test_a_coarse_view_is_read_in_coarse_pixels(
    outliner: Outliner, landscape: Path, tiny: str
) -> None:
    fine = outliner.outline(request(landscape, (400030.0, 4999975.0), model=tiny))
    coarse = outliner.outline(
        request(landscape, (400030.0, 4999975.0), model=tiny, pixel_size=0.45)
    )
    assert fine.pixel_size == pytest.approx(0.2)
    assert coarse.pixel_size == pytest.approx(0.4)


@pytest.mark.slow
def test_places_beside_the_image_are_refused(
    outliner: Outliner, landscape: Path, tiny: str
) -> None:
    with pytest.raises(JobError) as raised:
        outliner.outline(request(landscape, (1.0, 1.0), model=tiny))
    assert raised.value.code is ErrorCode.EXTENT_OUTSIDE
    with pytest.raises(JobError) as raised:
        outliner.outline(request(landscape.with_name("gone.tif"), (1.0, 1.0), model=tiny))
    assert raised.value.code is ErrorCode.SOURCE_UNREADABLE
    with pytest.raises(JobError) as raised:
        outliner.outline(request(landscape, (400030.0, 4999975.0), model="nothing"))
    assert raised.value.code is ErrorCode.MODEL_MISSING


@pytest.mark.slow
def test_a_dropped_request_keeps_its_encoding(
    outliner: Outliner, landscape: Path, tiny: str
) -> None:
    asked = request(landscape, (400030.0, 4999975.0), model=tiny)
    calls = iter([None, superseded()])

    def checkpoint() -> None:
        error = next(calls)
        if error is not None:
            raise error

    with pytest.raises(JobError) as raised:
        outliner.outline(asked, checkpoint)
    assert raised.value.code is ErrorCode.SUPERSEDED
    assert outliner.outline(asked).was_encoded
