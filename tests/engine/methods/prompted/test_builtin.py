"""What the built-in SAM 2 finds at prompts on generated and on real buildings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from prompt_cases import NORTH_UP, UTM, Houses, Outcome, on_map, overlap, segment, write_layer
from pyproj import Transformer
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from geoseg_qgis.engine.zoo.card import CARD_FILE
from geoseg_qgis.engine.zoo.registry import open_preset

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[4].parent / "shared" / "data"
MODEL = "offline-small"


def house_scores(houses: Houses, outcome: Outcome) -> list[float]:
    """Return the IoU of each house, 0 for those that were not found."""
    shape = houses.masks[0].shape
    found = {
        int(number): rasterize([outline], out_shape=shape, transform=NORTH_UP)
        for number, outline in zip(outcome.fields["n"], outcome.outlines, strict=True)
    }
    return [
        overlap(found[number], mask) if number in found else 0.0
        for number, mask in enumerate(houses.masks)
    ]


@pytest.fixture
def of_boxes(houses: Houses, suburb: Path, tmp_path: Path) -> Outcome:
    """The outcome of a box around each house."""
    fields = {"n": np.arange(len(houses.masks))}
    layer = write_layer(tmp_path / "boxes.gpkg", on_map(houses.boxes, NORTH_UP), fields)
    return segment(suburb, layer, tmp_path, MODEL)


def test_boxes_find_generated_houses(houses: Houses, of_boxes: Outcome) -> None:
    scores = house_scores(houses, of_boxes)
    assert len(scores) == 8
    assert np.mean(scores) > 0.64


def test_points_find_generated_houses(houses: Houses, suburb: Path, tmp_path: Path) -> None:
    fields = {"n": np.arange(len(houses.masks))}
    layer = write_layer(tmp_path / "points.gpkg", on_map(houses.inner, NORTH_UP), fields)
    scores = house_scores(houses, segment(suburb, layer, tmp_path, MODEL))
    assert np.mean(scores) > 0.67


def test_the_card_says_which_mask_a_point_gets(
    houses: Houses, suburb: Path, tmp_path: Path
) -> None:
    fields = {"n": np.arange(len(houses.masks))}
    points = write_layer(tmp_path / "points.gpkg", on_map(houses.inner, NORTH_UP), fields)
    boxes = write_layer(tmp_path / "boxes.gpkg", on_map(houses.boxes, NORTH_UP), fields)
    folder = tmp_path / "best-of-three"
    shutil.copytree(open_preset(MODEL).folder, folder)
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    assert card["sam2"].pop("multimask") is False
    (folder / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")
    of_points, of_boxes = (
        [segment(suburb, layer, tmp_path, model).mask for model in (MODEL, str(folder))]
        for layer in (points, boxes)
    )
    assert overlap(*of_points) < 0.95
    assert np.array_equal(*of_boxes)


def test_the_card_says_whether_to_zoom_in(houses: Houses, suburb: Path, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "points.gpkg", on_map(houses.inner, NORTH_UP))
    folder = tmp_path / "without-zoom"
    shutil.copytree(open_preset(MODEL).folder, folder)
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    assert card["sam2"].pop("closer") is True
    (folder / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")
    near, far = (segment(suburb, layer, tmp_path, model).mask for model in (MODEL, str(folder)))
    assert 0.4 < overlap(near, far) < 0.99


def test_rough_outlines_find_generated_houses(houses: Houses, suburb: Path, tmp_path: Path) -> None:
    rough = [shapely.affinity.rotate(box, 8).buffer(2).simplify(1) for box in houses.boxes]
    fields = {"n": np.arange(len(houses.masks))}
    layer = write_layer(tmp_path / "rough.gpkg", on_map(rough, NORTH_UP), fields)
    scores = house_scores(houses, segment(suburb, layer, tmp_path, MODEL))
    assert np.mean(scores) > 0.54


def test_a_turned_raster_shows_the_same_houses(
    houses: Houses, of_boxes: Outcome, tmp_path: Path
) -> None:
    """Only the transform is turned, so the pixels of the mask are the same."""
    turned = NORTH_UP @ rasterio.Affine.rotation(35.0)
    image = tmp_path / "turned.tif"
    with rasterio.open(
        image, "w", driver="GTiff", width=480, height=480, count=3, dtype="uint8",
        transform=turned, crs=UTM,
    ) as dataset:  # fmt: skip
        dataset.write(houses.pixels.transpose(2, 0, 1))
    fields = {"n": np.arange(len(houses.masks))}
    layer = write_layer(tmp_path / "turned.gpkg", on_map(houses.boxes, turned), fields)
    outcome = segment(image, layer, tmp_path, MODEL)
    assert overlap(outcome.mask, of_boxes.mask) > 0.99


def test_a_large_box_is_refined_near_its_coarse_mask(
    houses: Houses, suburb: Path, tmp_path: Path
) -> None:
    layer = write_layer(tmp_path / "a.gpkg", on_map([shapely.box(20, 20, 460, 460)], NORTH_UP))
    outcome = segment(suburb, layer, tmp_path, MODEL)
    assert outcome.result.numbers["OBJECT_COUNT"] == 1
    assert shapely.is_valid(outcome.outlines[0])


def real_buildings(image: Path) -> tuple[NDArray[np.object_], str]:
    """Return the buildings that lie on an image as a whole, in its CRS."""
    with rasterio.open(image) as dataset:
        crs, bounds = dataset.crs.to_wkt(), dataset.bounds
    labels = DATA / "oam_buildings" / "labels" / f"{image.stem}.geojson"
    meta, _, geometry, _ = pyogrio.raw.read(str(labels))
    to_image = Transformer.from_crs(meta["crs"], crs, always_xy=True)
    shapes = shapely.transform(
        shapely.from_wkb(geometry),
        lambda p: np.stack(to_image.transform(p[:, 0], p[:, 1]), axis=1),
    )
    parts = shapely.get_parts(shapes)
    whole = shapely.within(parts, shapely.box(*bounds)) & (shapely.area(parts) > 15)
    return parts[whole][:12], crs


def agreement(truth: BaseGeometry, outline: BaseGeometry) -> float:
    """Return the IoU of two areas."""
    return float(
        shapely.area(shapely.intersection(truth, outline))
        / shapely.area(shapely.union(truth, outline))
    )


@pytest.mark.skipif(
    not (DATA / "oam_buildings").is_dir(),
    reason="the real images (shared/data/oam_buildings) are not beside the checkout",
)
@pytest.mark.parametrize(("kind", "floor"), [("point", 0.57), ("box", 0.69)])
def test_prompts_find_real_buildings(kind: str, floor: float, tmp_path: Path) -> None:
    """Validation images only, which no shipped weights have seen."""
    splits = json.loads((DATA / "splits.json").read_text(encoding="utf-8"))
    scores: list[float] = []
    for name in splits["oam_buildings"]["validation"][:4:3]:
        image = DATA / "oam_buildings" / "images" / name
        buildings, crs = real_buildings(image)
        prompts = {
            "point": shapely.get_point(shapely.maximum_inscribed_circle(buildings), 0),
            "box": shapely.envelope(buildings),
        }[kind]
        layer = write_layer(
            tmp_path / f"{image.stem}.gpkg", prompts, {"n": np.arange(len(prompts))}, crs
        )
        outcome = segment(image, layer, tmp_path, MODEL)
        found = dict(zip(outcome.fields["n"], outcome.outlines, strict=True))
        scores += [
            agreement(building, found[number]) if number in found else 0.0
            for number, building in enumerate(buildings)
        ]
    assert len(scores) >= 20
    assert np.mean(scores) > floor
