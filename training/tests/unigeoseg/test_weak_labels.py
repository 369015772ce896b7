"""Requests about labelled images ask only for what labels are certain of."""

from __future__ import annotations

import re

import numpy as np
import torch

from training.land_cover import BIT, partial_label
from training.unigeoseg.weak_labels import WeakRequest, weak_requests


def test_labels_decide_only_what_they_are_certain_of() -> None:
    labels = torch.full((32, 32), partial_label("tree", "grass"))
    labels[:16] = BIT["building"]
    labels[-2:] = 0
    requests = weak_requests(labels, 60, np.random.default_rng(0))
    assert len(requests) == 60
    by_text = {re.sub(r"^(the|all) ", "", one.text): one for one in requests}
    buildings = by_text["buildings"]
    assert buildings.mask[:16].all()
    assert not buildings.mask[16:].any()
    assert buildings.known[:30].all()
    assert not buildings.known[30:].any()
    vegetation = by_text["vegetation"]
    assert vegetation.mask[16:30].all()
    assert "trees" not in by_text
    # An image of what may be trees is not one without trees, but it is one without water.
    assert "water" in {one.text.removeprefix("all ") for one in ask_often(labels)}
    assert "trees" not in {one.text.removeprefix("all ") for one in ask_often(labels)}
    assert weak_requests(torch.zeros(32, 32, dtype=torch.long), 5, np.random.default_rng(0)) == []


def ask_often(labels: torch.Tensor) -> list[WeakRequest]:
    """Draw so often that even what is absent is requests for."""
    return weak_requests(labels, 400, np.random.default_rng(1))


def test_labelled_roads_include_their_vehicles() -> None:
    labels = torch.full((40, 40), BIT["building"])
    labels[:20] = partial_label("road", "car")
    labels[30:] = BIT["car"]
    roads = next(one for one in ask_often(labels) if one.text == "all roads")
    assert roads.mask[:20].all()
    assert not roads.mask[20:].any()
    assert roads.known[:30].all()
    assert not roads.known[30:].any()
    labels[:20] = partial_label("road", "grass")
    assert "all roads" not in {one.text for one in ask_often(labels)}
