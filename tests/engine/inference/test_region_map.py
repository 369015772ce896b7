"""Regions over tiles: objects keep one id across a seam, the ground does not flood the raster."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.inference.region_map import RegionMap, RegionPlan, propose_regions
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder


def stitched(folder: Path, truth: NDArray[np.int32], plan: RegionPlan) -> NDArray[np.int32]:
    """Propose the connected parts of ``truth`` tile by tile and return the stitched ids."""
    height, width = truth.shape
    grid = Grid(Affine.identity(), width, height)
    fine = plan.subdivision

    def propose(window: Window) -> NDArray[np.int32]:
        top, left = int(window.row_off) * fine, int(window.col_off) * fine
        part = np.zeros((plan.size * fine, plan.size * fine), dtype=np.int32)
        cut = truth[top : top + part.shape[0], left : left + part.shape[1]]
        part[: cut.shape[0], : cut.shape[1]] = cut
        parts = [ndimage.label(part == value)[0] for value in np.unique(part) if value]
        ids = np.zeros_like(part)
        for labels in parts:
            ids = np.where(labels > 0, labels + ids.max(), ids)
        return ids.astype(np.int32)

    with ScratchFolder(folder) as scratch:
        regions = RegionMap(scratch, grid)
        propose_regions(regions, propose, plan, lambda _: None)
        return regions.read(Window(0, 0, width, height))


@pytest.mark.parametrize("subdivision", [1, 3])
def test_objects_keep_one_id_across_tiles(tmp_path: Path, subdivision: int) -> None:
    truth = np.zeros((150, 190), dtype=np.int32)
    objects = [(40, 55, 50, 70), (100, 125, 20, 30), (45, 70, 95, 110), (5, 12, 150, 188)]
    for number, (top, bottom, left, right) in enumerate(objects, start=1):
        truth[top:bottom, left:right] = number
    plan = RegionPlan(64 // subdivision, 24 // subdivision, subdivision)
    ids = stitched(tmp_path, truth, plan)
    assert np.array_equal(ids > 0, truth > 0)
    for number in range(1, len(objects) + 1):
        assert len(np.unique(ids[truth == number])) == 1
    assert len(np.unique(ids)) == len(objects) + 1


def test_the_ground_is_not_one_region(tmp_path: Path) -> None:
    """Without the limit of size one vote would colour the whole raster."""
    ids = stitched(tmp_path, np.ones((200, 200), dtype=np.int32), RegionPlan(64, 16))
    assert (ids > 0).all()
    assert np.bincount(ids.ravel()).max() <= 64 * 64
    assert len(np.unique(ids)) == 16


def test_sampling_takes_the_nearest_id_and_pads(tmp_path: Path) -> None:
    with ScratchFolder(tmp_path) as scratch:
        regions = RegionMap(scratch, Grid(Affine.identity(), 40, 20))
        ids = np.arange(800, dtype=np.int32).reshape(20, 40)
        regions.write(Window(0, 0, 40, 20), ids)
        assert regions.count == 799
        assert np.array_equal(regions.sample((10, 20), Window(0, 0, 20, 10)), ids[1::2, 1::2])
        padded = regions.sample_padded((20, 40), Window(36, 16, 8, 8))
        assert np.array_equal(padded[:4, :4], ids[16:, 36:])
        assert padded[4:].max() == padded[:, 4:].max() == 0
