"""Predictions drawn on the pixels of the results, and their outlines."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from prompt_cases import prompted

from geoseg_qgis.engine.methods.prompted.drawing import Drawing
from geoseg_qgis.engine.methods.prompted.mask_outlines import outline_masks
from geoseg_qgis.engine.methods.prompted.masks import (
    ObjectMask,
    Placement,
    areas_touching,
    logit_of,
)
from geoseg_qgis.engine.methods.prompted.prompted_objects import ObjectPrompt
from geoseg_qgis.engine.methods.prompted.refinement import CoarseMask, refine_edge
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.protocol.polygons import PolygonOptions

GRID = Grid(Affine(0.5, 0, 0, 0, -0.5, 0), 1000, 800)


def prompt(*points: tuple[float, float]) -> ObjectPrompt:
    return prompted(np.array(points, dtype=float).reshape(-1, 2))


def box_prompt(left: float, top: float, right: float, bottom: float) -> ObjectPrompt:
    area = (left, top, right, bottom)
    return prompted(areas=(area,), limits=shapely.box(*area))


def disc(size: int, placement: Placement, x: float, y: float, radius: float) -> np.ndarray:
    """Return the logits of a disc of the output, falling by one a pixel from its edge."""
    rows = placement.top + (np.arange(size) + 0.5) * placement.down
    columns = placement.left + (np.arange(size) + 0.5) * placement.across
    away = np.hypot(rows[:, None] - y, columns[None] - x)
    return (radius - away).astype(np.float32)


def drawing(logits: np.ndarray, placement: Placement, item: ObjectPrompt) -> Drawing:
    return Drawing(logits, np.ones((512, 512), bool), placement, item, 0.0, GRID)


@pytest.mark.parametrize("cell", [0.5, 3.7, 8.0])
def test_masks_lie_on_the_pixels_they_came_from(cell: float) -> None:
    """A disc round a known place is drawn there, whatever the size of the cells."""
    placement = Placement(-20.0, 13.5, cell, cell)
    x, y, radius = placement.left + 64 * cell + 0.3, placement.top + 60 * cell, 20 * cell
    mask = drawing(disc(128, placement, x, y, radius), placement, prompt((x, y))).mask()
    assert mask is not None
    rows, columns = np.nonzero(mask.pixels)
    assert columns.mean() + mask.left + 0.5 == pytest.approx(x, abs=0.1)
    assert rows.mean() + mask.top + 0.5 == pytest.approx(y, abs=0.1)
    assert mask.pixels.sum() == pytest.approx(np.pi * radius**2, rel=0.02)


def test_masks_end_at_the_raster_and_at_nodata() -> None:
    placement = Placement(-100.0, -100.0, 2.0, 2.0)
    logits = disc(128, placement, 0.0, 0.0, 40.0)
    valid = np.ones((512, 512), dtype=bool)
    valid[:, 220:] = False
    mask = Drawing(logits, valid, placement, prompt((5.0, 5.0)), 0.0, GRID).mask()
    assert mask is not None
    assert (mask.left, mask.top) == (0, 0)
    columns = np.flatnonzero(mask.pixels.any(axis=0))
    assert (columns[0], columns[-1]) == (0, 9)
    assert mask.pixels.sum() == pytest.approx(10 * 40, abs=20)


def test_a_box_holds_its_object() -> None:
    placement = Placement(0.0, 0.0, 4.0, 4.0)
    item = box_prompt(180, 200, 260, 300)
    mask = drawing(disc(128, placement, 220.0, 250.0, 90.0), placement, item).mask()
    assert mask is not None
    rows, columns = np.nonzero(mask.pixels)
    assert (columns.min() + mask.left, columns.max() + mask.left) == (180, 259)
    assert (rows.min() + mask.top, rows.max() + mask.top) == (200, 299)


def test_only_areas_that_prompts_touch_are_kept() -> None:
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:10, 5:10] = mask[5:10, 20:30] = mask[20:35, 40:55] = True
    assert areas_touching(mask, prompt((7.5, 7.5)), 1).sum() == 25
    assert areas_touching(mask, prompt((7.5, 7.5), (21.0, 6.0)), 1).sum() == 75
    assert areas_touching(mask, prompt((12.5, 7.5)), 2).sum() == 0
    assert areas_touching(mask, prompt((12.5, 7.5)), 3).sum() == 25
    assert areas_touching(mask, prompt((1.0, 39.0)), 3).sum() == 0
    assert areas_touching(mask, box_prompt(0, 0, 60, 15), 1).sum() == 50
    assert areas_touching(mask, box_prompt(56, 0, 60, 15), 1).sum() == 0


def test_probabilities_become_logits() -> None:
    assert logit_of(0.5) == 0.0
    assert logit_of(0.9) == pytest.approx(np.log(9))
    assert logit_of(0.0) == pytest.approx(-13.8, abs=0.1)
    assert logit_of(1.0) == pytest.approx(13.8, abs=0.1)


def masks_of(*arrays: np.ndarray, left: int = 30, top: int = 70, step: int = 1) -> list[ObjectMask]:
    return [ObjectMask(array, left, top, step) for array in arrays]


@pytest.mark.slow
def test_outlines_enclose_exactly_the_pixels() -> None:
    rng = np.random.default_rng(11)
    arrays = [rng.random((int(h), int(w))) > 0.4 for h, w in rng.integers(1, 90, (60, 2))]
    outlines = outline_masks(masks_of(*arrays), GRID, PolygonOptions(simplify=0.0))
    assert len(outlines) == 60
    for array, polygons in zip(arrays, outlines, strict=True):
        assert shapely.is_valid(polygons).all()
        assert shapely.area(polygons).sum() == array.sum()
        if array.any():
            rows, columns = np.nonzero(array)
            assert shapely.total_bounds(polygons).tolist() == [
                columns.min() + 30, rows.min() + 70, columns.max() + 31, rows.max() + 71,
            ]  # fmt: skip


def test_an_outline_does_not_depend_on_its_neighbours() -> None:
    rows, columns = np.mgrid[:60, :60]
    round_one = np.hypot(rows - 30, columns - 30) < 25
    slanted = (rows + 2 * columns > 60) & (rows < 55)
    options = PolygonOptions(simplify=1.5)
    together = outline_masks(masks_of(round_one, slanted, round_one), GRID, options)
    alone = [outline_masks(masks_of(mask), GRID, options)[0] for mask in (round_one, slanted)]
    assert shapely.equals_exact(together[0], alone[0]).all()
    assert shapely.equals_exact(together[1], alone[1]).all()
    assert shapely.equals_exact(together[2], alone[0]).all()


def test_options_apply_to_parts_and_holes() -> None:
    array = np.zeros((40, 60), dtype=bool)
    array[2:32, 2:42] = True
    array[10:14, 10:14] = array[20:30, 20:30] = False
    array[36:38, 50:52] = True
    options = PolygonOptions(minimum_area=10.0, minimum_hole=10.0, simplify=0.0)
    (polygons,) = outline_masks(masks_of(array), GRID, options)
    assert [len(shapely.get_rings(item)) for item in polygons] == [2]
    assert shapely.area(polygons[0]) == 30 * 40 - 100
    (small,) = outline_masks(masks_of(array), GRID, PolygonOptions(minimum_area=1000.0))
    assert len(small) == 0


def test_any_name_squares_outlines() -> None:
    rows, columns = np.mgrid[:80, :80].astype(float)
    turned = (np.abs((rows - 40) * 0.8 + (columns - 40) * 0.6) < 25) & (
        np.abs((columns - 40) * 0.8 - (rows - 40) * 0.6) < 15
    )
    options = PolygonOptions(simplify=1.0, right_angles=("yes",))
    (polygons,) = outline_masks(masks_of(turned), GRID, options)
    corners = np.asarray(polygons[0].exterior.coords)
    assert len(corners) == 5
    sides = np.diff(corners, axis=0)
    assert abs(sides[0] @ sides[1]) < 1e-6 * np.hypot(*sides[0]) * np.hypot(*sides[1])


def test_coarse_masks_are_placed_in_steps() -> None:
    (polygons,) = outline_masks(
        masks_of(np.ones((10, 20), bool), step=4), GRID, PolygonOptions(simplify=0.0)
    )
    assert shapely.total_bounds(polygons).tolist() == [30, 70, 110, 110]


def test_refinement_moves_the_edge_a_little() -> None:
    """The coarse disc is 20 pixels off; fine tiles along the edge bring it to its place."""
    coarse_place = Placement(0.0, 0.0, 16.0, 16.0)
    wrong = drawing(disc(64, coarse_place, 520.0, 400.0, 280.0), coarse_place, prompt((500, 400)))
    cells = wrong.cells()
    assert cells is not None
    coarse = CoarseMask(cells, coarse_place, 128, 0.0)
    prompts = []

    def predict(left: int, top: int, item: ObjectPrompt) -> np.ndarray:
        prompts.append(item)
        place = Placement(left, top, 4.0, 4.0)
        inside = np.hypot(*(item.positive + np.array([left - 520.0, top - 400.0])).T)
        assert (inside < 280.0).all()
        return disc(32, place, 500.0, 400.0, 280.0)

    fine = (
        (tile, Placement(tile.left, tile.top, 1.0, 1.0))
        for tile in refine_edge(coarse, prompt((500, 400)), predict)
    )
    mask = wrong.refined(coarse.band, fine)
    assert mask is not None
    columns = np.nonzero(mask.pixels)[1]
    assert columns.mean() + mask.left + 0.5 == pytest.approx(500.0, abs=1.0)
    assert mask.pixels.sum() == pytest.approx(np.pi * 280**2, rel=0.01)
    assert 20 < len(prompts) < 60


def test_predictions_that_contradict_the_coarse_mask_are_ignored() -> None:
    place = Placement(0.0, 0.0, 16.0, 16.0)
    coarse = drawing(disc(64, place, 520.0, 400.0, 280.0), place, prompt((500, 400)))
    cells, plain = coarse.cells(), coarse.mask()
    assert cells is not None
    assert plain is not None
    mask = CoarseMask(cells, place, 128, 0.0)

    def nothing(left: int, top: int, item: ObjectPrompt) -> np.ndarray:
        return np.full((32, 32), -5.0, np.float32)

    assert list(refine_edge(mask, prompt((500, 400)), nothing)) == []
    refined = coarse.refined(mask.band, [])
    assert refined is not None
    assert (refined.pixels == plain.pixels).all()
