"""Resampling kernels against values that can be computed by hand, and against torch."""

from __future__ import annotations

import numpy as np
import torch
from affine import Affine
from rasterio.windows import Window
from torch.nn.functional import interpolate

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.arrays import (
    resize_fixed_point,
    resize_nearest_array,
    sample_grid,
    sample_positions,
)

CELLS = np.random.default_rng(3).normal(size=(9, 7)).astype(np.float32)


def enlarged(height: int, width: int) -> np.ndarray:
    image = torch.from_numpy(CELLS)[None, None]
    resized: np.ndarray = interpolate(image, (height, width), mode="bilinear", align_corners=False)[
        0, 0
    ].numpy()
    return resized


def test_fixed_point_halves_by_the_mean_of_four() -> None:
    image = np.array([[10, 20, 255, 255], [30, 41, 255, 255]], dtype=np.uint8)[..., None]
    assert resize_fixed_point(image, (1, 2))[0, :, 0].tolist() == [25, 255]


def test_nearest_keeps_every_second_pixel() -> None:
    values = np.arange(12).reshape(3, 4)
    assert resize_nearest_array(values, (3, 2)).tolist() == [[0, 2], [4, 6], [8, 10]]
    assert resize_nearest_array(values, (6, 4))[::2].tolist() == values.tolist()


def test_positions_are_sampled_as_torch_enlarges() -> None:
    rows, columns = (np.arange(36) + 0.5) / 4, (np.arange(21) + 0.5) / 3
    assert np.allclose(sample_positions(CELLS, rows, columns), enlarged(36, 21), atol=1e-6)


def test_grids_are_sampled_as_torch_enlarges_and_windows_agree_with_the_whole() -> None:
    grid = Grid(Affine(0.7, 0, 100, 0, -0.7, 200), 7, 9)
    fine = grid.rescaled(21, 36)
    whole = sample_grid(CELLS, grid, fine)
    assert np.allclose(whole, enlarged(36, 21), atol=1e-6)
    part = sample_grid(CELLS, grid, fine.window_grid(Window(4, 17, 11, 13)))
    assert np.allclose(part, whole[17:30, 4:15], atol=1e-6)
    assert np.array_equal(sample_grid(CELLS, grid, grid), CELLS)
