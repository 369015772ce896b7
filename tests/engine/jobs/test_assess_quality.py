"""The built-in network on good masks of which single polygons were corrupted.

Real images with building polygons are assessed twice: with their good mask, and with one in which
some polygons are shifted, eroded, dropped or made up. The predicted IoU of exactly those must fall.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import shapely
from assess_scene import Assessed, assess, write_layer
from numpy.typing import NDArray
from pyproj import Transformer

from geoseg_qgis.engine.zoo.registry import Origin, catalogue
from geoseg_qgis.protocol.source import RasterSource

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "oam_buildings"

# Held out from training; all are in Web Mercator, whose metres are nearly true at the equator.
IMAGES = ("kampala_05", "nairobi_04")
# Least share of corrupted polygons whose predicted IoU must fall, and by how much.
# Measured: shifted 7 of 7 by 0.04 to 0.47, eroded 7 of 7 by 0.18 to 0.27, made up 4 of 5 lie 0.18
# or more below the median of 0.60, those left alone -0.09 to 0.05.
LEAST: dict[str, tuple[float, float]] = {
    "shifted": (0.75, 0.15),
    "eroded": (0.85, 0.12),
    "made up": (0.7, 0.13),
}
# Least share of dropped polygons that a missed object lies on, by a tenth of their area; measured
# 2 of 6.
LEAST_MISSED = 0.3
# Largest median change of the polygons that were left alone.
LARGEST_CHANGE = 0.05
SMALLEST_AREA = 40.0  # square metres
KINDS = ("shifted", "eroded", "dropped", "kept", "kept")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def preset() -> Path:
    for found in catalogue().presets.values():
        if found.origin is Origin.BUILT_IN and found.is_ready("segassess"):
            return found.folder
    pytest.skip("no built-in preset has a segassess component yet")


@dataclass(frozen=True)
class Corrupted:
    """A mask before and after, polygon by polygon.

    Attributes:
        good: Polygons of the good mask.
        changed: What became of each, None where it was dropped.
        kinds: How each was changed.
        added: Polygons on ground where there is none.
    """

    good: list[shapely.Polygon]
    changed: list[shapely.Polygon | None]
    kinds: list[str]
    added: list[shapely.Polygon]


def buildings(name: str) -> list[shapely.Polygon]:
    """Return the larger buildings of an image in metres."""
    path = SHARED / "labels" / f"{name}.geojson"
    if not path.is_file():
        pytest.skip(f"{name} of shared/data/oam_buildings is not beside the checkout")
    collection = json.loads(path.read_text(encoding="utf-8"))
    turn = Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)
    found = []
    for feature in collection["features"]:
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        for part in shapely.get_parts(shape):
            placed = shapely.transform(
                part, lambda points: np.stack(turn.transform(*points.T), axis=1)
            )
            if placed.is_valid and placed.area >= SMALLEST_AREA:
                found.append(placed)
    return found


def corrupt(good: list[shapely.Polygon], seed: int) -> Corrupted:
    """Spoil some polygons, the same ones each time."""
    generator = np.random.default_rng(seed)
    kinds = [KINDS[number % len(KINDS)] for number in generator.permutation(len(good)).tolist()]
    changed: list[shapely.Polygon | None] = []
    for shape, kind in zip(good, kinds, strict=True):
        width = np.sqrt(shape.area)
        if kind == "shifted":
            angle = generator.uniform(0, 2 * np.pi)
            step = 0.6 * width * np.array([np.cos(angle), np.sin(angle)])
            changed.append(shapely.transform(shape, lambda points, step=step: points + step))
        elif kind == "eroded":
            smaller = shape.buffer(-0.18 * width)
            parts = shapely.get_parts(smaller)
            changed.append(parts[np.argmax(shapely.area(parts))] if len(parts) else shape)
        else:
            changed.append(None if kind == "dropped" else shape)
    return Corrupted(good, changed, kinds, list(made_up(good, generator)))


def made_up(
    good: list[shapely.Polygon], generator: np.random.Generator
) -> Iterator[shapely.Polygon]:
    """Yield some polygons moved to where no building is near."""
    everything = shapely.union_all(good).buffer(2.0)
    left, bottom, right, top = everything.bounds
    wanted = max(2, len(good) // 6)
    for _ in range(400):
        shape = good[generator.integers(len(good))]
        place = np.array([generator.uniform(left, right), generator.uniform(bottom, top)])
        step = place - shapely.get_coordinates(shape.centroid)[0]
        moved = shapely.transform(shape, lambda points, step=step: points + step)
        if not moved.intersects(everything) and shapely.box(left, bottom, right, top).contains(
            moved
        ):
            everything = everything.union(moved.buffer(2.0))
            wanted -= 1
            yield moved
        if not wanted:
            return


@dataclass(frozen=True)
class Assessments:
    """Both assessments of an image."""

    corrupted: Corrupted
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    added: NDArray[np.float64]
    missed: NDArray[np.object_]


@pytest.fixture(scope="module")
def assessments(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Assessments]:
    found = []
    for name in IMAGES:
        corrupted = corrupt(buildings(name), 7)
        folder = tmp_path_factory.mktemp(name)
        source = RasterSource(str(SHARED / "images" / f"{name}.tif"), name)
        before = run(folder / "before", preset, source, corrupted.good)
        standing = [shape for shape in corrupted.changed if shape is not None]
        after = run(folder / "after", preset, source, [*standing, *corrupted.added])
        iou = np.full(len(corrupted.good), np.nan)
        scores = np.array(after.polygons.columns["iou"], dtype=np.float64)
        iou[[shape is not None for shape in corrupted.changed]] = scores[: len(standing)]
        found.append(
            Assessments(
                corrupted,
                np.array(before.polygons.columns["iou"], dtype=np.float64),
                iou,
                scores[len(standing) :],
                after.missed.shapes,
            )
        )
    return found


def run(
    folder: Path, preset: Path, source: RasterSource, shapes: list[shapely.Polygon]
) -> Assessed:
    folder.mkdir()
    layer = write_layer(folder / "mask.gpkg", shapes, crs="EPSG:3857")
    return assess(folder, preset, source, mask=layer)


def falls(assessments: list[Assessments], kind: str) -> NDArray[np.float64]:
    """Return by how much the IoU of the polygons of a kind fell, those that could be assessed."""
    drops = [
        one.before[place] - one.after[place]
        for one in assessments
        for place, other in enumerate(one.corrupted.kinds)
        if other == kind
    ]
    values = np.array(drops, dtype=np.float64)
    return values[~np.isnan(values)]


@pytest.mark.parametrize("kind", ["shifted", "eroded"])
def test_corrupted_polygons_lose_quality(assessments: list[Assessments], kind: str) -> None:
    share, least = LEAST[kind]
    drops = falls(assessments, kind)
    assert len(drops) >= 3
    assert (drops >= least).mean() >= share, drops.round(3).tolist()
    assert np.median(drops) > np.median(falls(assessments, "kept"))


def test_polygons_left_alone_keep_theirs(assessments: list[Assessments]) -> None:
    assert abs(np.median(falls(assessments, "kept"))) <= LARGEST_CHANGE


def test_made_up_polygons_are_low(assessments: list[Assessments]) -> None:
    share, least = LEAST["made up"]
    middle = np.nanmedian(np.concatenate([one.before for one in assessments]))
    added = np.concatenate([one.added for one in assessments])
    added = added[~np.isnan(added)]
    assert len(added) >= 3
    assert (middle - added >= least).mean() >= share, (middle, added.round(3).tolist())


def test_dropped_polygons_are_missed(assessments: list[Assessments]) -> None:
    found = []
    for one in assessments:
        missed = shapely.union_all(one.missed)
        for shape, kind in zip(one.corrupted.good, one.corrupted.kinds, strict=True):
            if kind == "dropped":
                found.append(missed.intersection(shape).area >= 0.1 * shape.area)
    assert len(found) >= 3
    assert np.mean(found) >= LEAST_MISSED, found
