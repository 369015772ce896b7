"""Labels of two tiles are paired where they share pixels, whatever their numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rasterio.windows import Window

from geoseg_qgis.engine.inference.stitching import label_pairs, shared_slices


def test_pairs_by_hand() -> None:
    first = np.array([[1, 1, 0, 2], [1, 1, 2, 2]], dtype=np.int32)
    second = np.array([[0, 700_000, 700_000, 5], [0, 700_000, 5, 5]], dtype=np.int32)
    pairs = label_pairs(first, second)
    assert pairs.first.tolist() == [1, 2]
    assert pairs.second.tolist() == [700_000, 5]
    assert pairs.iou.tolist() == [2 / 5, 1.0]
    assert pairs.cover.tolist() == [2 / 3, 1.0]


def test_no_labels_give_no_pairs() -> None:
    for shape in ((0,), (3, 4)):
        empty = np.zeros(shape, dtype=np.int32)
        assert len(label_pairs(empty, empty).iou) == 0


@given(st.integers(0, 10_000))
def test_every_pair_is_counted(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first = generator.integers(0, 4, (9, 7), dtype=np.int32)
    second = generator.integers(0, 3, (9, 7), dtype=np.int32) * 1000
    pairs = label_pairs(first, second)
    expected = sorted({(a, b) for a, b in zip(first.flat, second.flat, strict=True) if a and b})
    assert list(zip(pairs.first, pairs.second, strict=True)) == expected
    for a, b, shared, iou in zip(pairs.first, pairs.second, pairs.shared, pairs.iou, strict=True):
        one, other = first == a, second == b
        assert shared == (one & other).sum()
        assert iou == (one & other).sum() / (one | other).sum()


def test_slices_of_an_overlap() -> None:
    first, second = Window(0, 0, 10, 10), Window(6, 8, 10, 10)
    here, there = shared_slices(first, second) or ((), ())
    assert here == (slice(8, 10), slice(6, 10))
    assert there == (slice(0, 2), slice(0, 4))
    assert shared_slices(first, Window(10, 0, 5, 5)) is None
