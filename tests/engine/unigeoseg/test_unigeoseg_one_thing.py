"""Which words mean one thing, and which part of an answer is kept for them."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg_qgis.engine.methods.unigeoseg.one_thing import means_one_thing, strongest_part


@pytest.mark.parametrize(
    "instruction",
    [
        "the largest building",
        "largest building",
        "Find the leftmost car",
        "the smallest bus",
        "the house closest to the lake",
        "the vehicle in the left half of the image",
        "the swimming pool at the top right of the image",
        "the building with a red roof",
        "the red car",
        "the T-shaped house",
        "this white boat",
    ],
)
def test_words_that_mean_one_thing(instruction: str) -> None:
    assert means_one_thing(instruction)


@pytest.mark.parametrize(
    "instruction",
    [
        "",
        "the",
        "all buildings",
        "all red cars",
        "the two largest buildings",
        "the 2 largest buildings",
        "the largest buildings",
        "the three cars closest to the lake",
        "the buses in the left half of the image",
        "the buildings with a red roof",
        "every car on the road",
        "a red car",
        "red car",
        "the building",
        "the swimming pool",
        "the lake",
        "the road in the left half of the image",
        "the longest road",
        "the grass closest to the house",
        "the largest forest",
        "Which building is closest to the lake?",
        "the target at the point [0.1,0.2]",
    ],
)
def test_words_that_may_mean_several(instruction: str) -> None:
    assert not means_one_thing(instruction)


def test_questions_may_mean_several() -> None:
    assert means_one_thing("the largest building", "referring")
    assert not means_one_thing("the largest building", "reasoning")


def test_the_part_with_the_most_evidence_is_kept() -> None:
    small, large = np.zeros((2, 40, 60), bool)
    small[5:15, 5:15] = True
    large[5:35, 30:55] = True
    probability = np.where(small, 0.9, np.where(large, 0.55, 0.1)).astype(np.float32)
    probability[38, 2] = 0.999
    # Square root of the pixels times log odds: 10 * 2.2 against 27 * 0.2 and 1 * 6.9.
    assert np.array_equal(strongest_part(probability, 0.5), small)
    probability[large] = 0.8
    assert np.array_equal(strongest_part(probability, 0.5), large)
    # Beyond a threshold of 0.79 the large part has hardly any evidence left.
    assert np.array_equal(strongest_part(probability, 0.79), small)


def test_one_part_or_none_stays_as_it_is() -> None:
    probability = np.zeros((8, 8), np.float32)
    assert not strongest_part(probability, 0.5).any()
    probability[2:5, 2:5] = 1.0
    assert np.array_equal(strongest_part(probability, 0.5), probability > 0.5)


def test_certain_pixels_do_not_win_by_certainty_alone() -> None:
    probability = np.zeros((8, 8), np.float32)
    probability[0, 0] = 1.0
    probability[4:, 4:] = 0.99
    kept = strongest_part(probability, 0.0)
    assert kept[4:, 4:].all()
    assert kept.sum() == 16
