"""Positions on another grid: a linear field stays linear, whatever window is asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rasterio.windows import Window

from geoseg_qgis.engine.raster.resampling.grids import nearest_window, sample_bilinear


def field(height: int, width: int) -> torch.Tensor:
    rows = (torch.arange(height, dtype=torch.float32) + 0.5) / height
    columns = (torch.arange(width, dtype=torch.float32) + 0.5) / width
    return torch.stack([rows[:, None].expand(height, width), columns[None].expand(height, width)])


@pytest.mark.parametrize(("source", "target"), [((40, 60), (61, 89)), ((90, 80), (31, 27))])
def test_linear_fields_keep_their_values(source: tuple[int, int], target: tuple[int, int]) -> None:
    values = field(*source)

    def read(window: Window) -> torch.Tensor:
        return values[(slice(None), *window.toslices())]

    expected = field(*target)
    whole = sample_bilinear(read, source, target, Window(0, 0, target[1], target[0]))
    assert torch.allclose(whole[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-5)
    part = sample_bilinear(read, source, target, Window(5, 7, 13, 11))
    assert torch.allclose(part, whole[:, 7:18, 5:18], atol=1e-5)


@pytest.mark.slow
@given(
    source=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    target=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    data=st.data(),
)
def test_nearest_takes_the_pixel_that_holds_the_centre(
    source: tuple[int, int], target: tuple[int, int], data: st.DataObject
) -> None:
    top = data.draw(st.integers(0, target[0] - 1))
    left = data.draw(st.integers(0, target[1] - 1))
    height = data.draw(st.integers(1, target[0] - top))
    width = data.draw(st.integers(1, target[1] - left))
    window, rows, columns = nearest_window(source, source, Window(0, 0, source[1], source[0]))
    assert window.toranges() == ((0, source[0]), (0, source[1]))
    window, rows, columns = nearest_window(target, source, Window(left, top, width, height))
    for index, (offset, length, found, start) in enumerate(
        [(top, height, rows, window.row_off), (left, width, columns, window.col_off)]
    ):
        centres = (np.arange(offset, offset + length) + 0.5) * source[index] / target[index]
        assert np.all(np.abs(found + start + 0.5 - centres) <= 0.5 + 1e-9)
        assert found.min() >= 0
        assert found.max() < (window.height, window.width)[index]
