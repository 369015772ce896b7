"""Faults that are made in true masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.segassess.corruption import CORRUPTIONS, CorruptedTruth


def squares() -> NDArray[np.bool_]:
    mask = np.zeros((96, 96), dtype=bool)
    for row in (10, 40, 70):
        for column in (10, 40, 70):
            mask[row : row + 18, column : column + 18] = True
    return mask


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda one: one.__name__)
def test_corruptions_change_masks(
    corruption: Callable[[NDArray[np.bool_], np.random.Generator], NDArray[np.bool_]],
) -> None:
    mask = squares()
    results = [corruption(mask, np.random.default_rng(seed)) for seed in range(5)]
    shares = [(result & mask).sum() / (result | mask).sum() for result in results]
    assert all(result.dtype == bool and result.shape == mask.shape for result in results)
    assert min(shares) < 0.9
    assert not np.array_equal(results[0], results[1])
    assert np.array_equal(mask, squares())


def test_corrupted_truth_is_mixed() -> None:
    truth = torch.from_numpy(squares()[None, None].astype(np.float32)).repeat(200, 1, 1, 1)
    masks = CorruptedTruth(seed=3)(torch.zeros(200, 3, 96, 96), truth)
    assert masks.shape == truth.shape
    assert ((masks == 0) | (masks == 1)).all()
    clean = sum(torch.equal(one, other) for one, other in zip(masks, truth))
    empty = int((masks.sum((1, 2, 3)) == 0).sum())
    assert 8 <= clean <= 40
    assert 3 <= empty <= 30
