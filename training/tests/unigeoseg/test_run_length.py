"""Run lengths and polygons of annotations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.unigeoseg.run_length import decode_runs, decode_segmentation


def compress(lengths: list[int]) -> str:
    """Write run lengths as the annotation format does: differences in 6-bit characters."""
    text = ""
    for index, length in enumerate(lengths):
        value = length - (lengths[index - 2] if index > 2 else 0)
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr((bits | 0x20 if more else bits) + 48)
    return text


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=12))
def test_compressed_run_lengths(lengths: list[int]) -> None:
    total = sum(lengths)
    runs = decode_runs({"size": [1, total], "counts": compress(lengths)})
    assert np.array_equal(runs, decode_runs({"size": [1, total], "counts": lengths}))
    assert runs.sum() == sum(lengths[1::2])


def test_runs_go_down_the_columns() -> None:
    mask = decode_segmentation({"size": [2, 3], "counts": [1, 2, 3]}, 2, 3)
    assert mask.tolist() == [[0, 1, 0], [1, 0, 0]]
    with pytest.raises(ValueError, match="do not fill"):
        decode_runs({"size": [2, 3], "counts": [1, 2]})
