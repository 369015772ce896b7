"""Sizes of buildings: by their own area, unsure where one is cut off, asked for in training."""

from __future__ import annotations

import pytest
import torch

from training.colours import ANY_COLOUR
from training.land_cover import BIT, UNKNOWN, all_but
from training.sizes import ANY_SIZE, LARGE_FROM, SIZE_BIT, SMALL_UP_TO, building_sizes
from training.vocabulary import SIZED_SHARE, QuerySampler


def test_buildings_are_named_by_their_own_area() -> None:
    labels = torch.full((1, 160, 160), all_but("building"))
    labels[0, 10:40, 10:40] = BIT["building"]
    labels[0, 60:120, 60:120] = BIT["building"]
    labels[0, 10:50, 60:100] = BIT["building"]
    sizes = building_sizes(labels)[0]
    assert 30 * 30 <= SMALL_UP_TO < 40 * 40 < LARGE_FROM <= 60 * 60
    assert (sizes[10:40, 10:40] == SIZE_BIT["small"]).all()
    assert (sizes[60:120, 60:120] == SIZE_BIT["large"]).all()
    assert (sizes[10:50, 60:100] == ANY_SIZE).all()
    assert (sizes[labels[0] != BIT["building"]] == 0).all()


def test_a_building_that_is_cut_off_may_be_larger_than_it_looks_but_never_smaller() -> None:
    labels = torch.full((1, 160, 160), all_but("building"))
    labels[0, :20, :20] = BIT["building"]
    labels[0, 60:120, 100:] = BIT["building"]
    labels[0, 140:150, 10:20] = BIT["building"] | BIT["land"]
    labels[0, 50:70, 40:60] = BIT["building"]
    labels[0, 50:70, 60:64] = UNKNOWN  # as beyond the edge of an image
    sizes = building_sizes(labels)[0]
    assert (sizes[:20, :20] == ANY_SIZE).all()
    assert (sizes[60:120, 100:] == SIZE_BIT["large"]).all()
    assert (sizes[140:150, 10:20] == ANY_SIZE).all()
    assert (sizes[50:70, 40:60] == ANY_SIZE).all()
    assert sizes[150, 100] == 0


@pytest.mark.slow
def test_sizes_are_asked_for_apart_from_colours() -> None:
    steps = [QuerySampler(seed).queries() for seed in range(400)]
    sized = [step for step in steps if any(mask & ANY_SIZE for mask in step.surfaces)]
    assert len(sized) == pytest.approx(SIZED_SHARE * len(steps), rel=0.5)
    for step in sized:
        assert not any(mask & BIT["building"] for mask in step.surfaces)
        assert not any(mask & ANY_COLOUR for mask in step.surfaces)
        words = " ".join(sentence for sentences in step.sentences for sentence in sentences)
        assert any(
            f" {word} " in f" {words} "
            for word in ("small", "little", "tiny", "large", "big", "huge")
        )
