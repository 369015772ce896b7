"""Corruptions: each leaves its own kind of fault, and a mask that can still be recognised."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from training.scenes import generate_scene
from training.scenes.corruptions import CORRUPTIONS, corrupt


def squares() -> np.ndarray:
    """Nine squares of 20 pixels, 20 apart."""
    mask = np.zeros((140, 140), np.bool_)
    for row in range(20, 120, 40):
        for column in range(20, 120, 40):
            mask[row : row + 20, column : column + 20] = True
    return mask


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Return the intersection over union of two masks."""
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("kind", list(CORRUPTIONS))
def test_every_kind_does_harm_within_limits(kind: str):
    strength = 4.0 if kind == "merge" else 1.0  # the squares lie far apart
    scores = [iou(squares(), corrupt(squares(), seed, kind, strength)) for seed in range(8)]
    assert 0.2 < np.mean(scores) < 0.97


@pytest.mark.parametrize("kind", ["shift", "erode", "dilate", "ragged", "rotate"])
def test_strength_makes_it_worse(kind: str):
    weak = [iou(squares(), corrupt(squares(), seed, kind, 0.4)) for seed in range(8)]
    strong = [iou(squares(), corrupt(squares(), seed, kind, 2.0)) for seed in range(8)]
    assert np.mean(strong) < np.mean(weak) - 0.05


@pytest.mark.parametrize("kind", ["erode", "drop"])
def test_only_misses(kind: str):
    for seed in range(5):
        result = corrupt(squares(), seed, kind, 1.0)
        assert not (result & ~squares()).any()
        assert result.sum() < squares().sum()


@pytest.mark.parametrize("kind", ["dilate", "add", "merge"])
def test_only_false_alarms(kind: str):
    for seed in range(5):
        result = corrupt(squares(), seed, kind, 1.0)
        assert not (squares() & ~result).any()


def test_drop_takes_whole_parts():
    labels, count = ndimage.label(squares())
    result = corrupt(squares(), 3, "drop", 1.0)
    shares = [result[labels == index].mean() for index in range(1, count + 1)]
    assert set(shares) == {0.0, 1.0}


def test_merge_joins_neighbours():
    result = corrupt(squares(), 0, "merge", 4.0)
    assert ndimage.label(result)[1] < 9


def test_shift_keeps_the_area():
    result = corrupt(squares(), 1, "shift", 1.0)
    assert result.sum() == squares().sum()
    assert not np.array_equal(result, squares())


def test_same_seed_same_mask():
    assert np.array_equal(corrupt(squares(), 5), corrupt(squares(), 5))
    assert not np.array_equal(corrupt(squares(), 5), corrupt(squares(), 6))


def test_the_true_mask_is_left_alone():
    mask = squares()
    for kind in CORRUPTIONS:
        corrupt(mask, 0, kind)
    assert np.array_equal(mask, squares())


def test_mixtures_on_scenes_spread_over_qualities():
    mask = generate_scene(6, 192, 0.5, "suburb").class_mask("building")
    scores = [iou(mask, corrupt(mask, seed)) for seed in range(40)]
    assert min(scores) < 0.5
    assert max(scores) > 0.75
    assert np.std(scores) > 0.1


def test_empty_masks_stay_empty_or_get_false_parts():
    empty = np.zeros((50, 60), np.bool_)
    assert corrupt(empty, 0, "add").any()
    assert not corrupt(empty, 0, "dilate").any()


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="no corruption 'melt'"):
        corrupt(squares(), 0, "melt")
