"""Requests about labelled images, whose labels are sets of land covers that a pixel may have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.generated import class_surfaces
from training.land_cover import partial_label

from .pixel_head import at_cells

_MIN_PIXELS = 200
_MIN_KNOWN = 0.3
"""Share of the image of which a request must be known."""
_ABSENT_SHARE = 0.05
_ROAD = ("road", "car")
"""Labels of roads include the vehicles on them."""
_SENTENCES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("building",): ("all buildings",),
    _ROAD: ("all roads", "the road"),
    ("tree",): ("all trees",),
    ("grass",): ("the grass",),
    ("water",): ("all water",),
    ("field",): ("all fields",),
    ("car",): ("all vehicles", "all cars"),
    ("tree", "grass", "field"): ("all vegetation",),
}
_QUESTIONS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("building",): (
        "where do people find shelter from the rain?",
        "what could carry solar panels?",
        "which structures would be insured against fire and burglary?",
    ),
    _ROAD: ("which surface carries the traffic?", "where would an ambulance drive?"),
    ("tree",): ("what gives shade on a hot day and stores carbon?",),
    ("water",): ("where would fish live?", "where could boats float?"),
    ("field",): ("where is food grown by machines?",),
    ("car",): ("what could drive away within a minute?", "what needs fuel or charging?"),
    ("tree", "grass", "field"): ("what turns sunlight into growth?",),
}


class WeakRequest(NamedTuple):
    """One request about a labelled image."""

    text: str
    task: Task
    mask: Tensor
    """(S, S) float32, 1 on the pixels that are meant."""
    known: Tensor
    """(S, S) bool, False where the labels leave it open."""


def weak_requests(
    labels: Tensor, count: int, random: np.random.Generator, shown: float = 1.0
) -> list[WeakRequest]:
    """Draw requests for classes by name and by use.

    Args:
        labels: (S, S) int64 bit masks of possible land covers, 0 where unknown.
        count: Number of requests.
        random: Source of the choices.
        shown: Share of the square that is image and no bar.

    Returns:
        The requests, none when too little is known.
    """
    possible: list[tuple[tuple[str, ...], Tensor, Tensor]] = []
    absent: list[tuple[tuple[str, ...], Tensor, Tensor]] = []
    for covers in _SENTENCES:
        bits = partial_label(*covers)
        mask = (labels & ~bits == 0) & (labels & partial_label(covers[0]) != 0)
        known = mask | ((labels > 0) & (labels & bits == 0))
        share = float(known.float().mean()) / shown
        if int(mask.sum()) >= _MIN_PIXELS and share > _MIN_KNOWN:
            possible.append((covers, mask, known))
        elif not bool((labels & bits).any()) and share > 1 - _MIN_KNOWN:
            absent.append((covers, mask, known))
    requests: list[WeakRequest] = []
    while possible and len(requests) < count:
        pool = absent if absent and random.random() < _ABSENT_SHARE else possible
        covers, mask, known = pool[int(random.integers(len(pool)))]
        texts, task = _SENTENCES[covers], Task.REFERRING
        if covers in _QUESTIONS and random.random() < 0.25:
            texts, task = _QUESTIONS[covers], Task.REASONING
        text = texts[int(random.integers(len(texts)))]
        requests.append(WeakRequest(text, task, mask.float(), known))
    return requests


def allowed_classes(labels: Tensor, cells: int) -> Tensor:
    """Return which classes of drawn scenes each cell may have: (classes, cells, cells) bool."""
    seen = torch.from_numpy(at_cells(labels.numpy(), cells))
    bits = torch.from_numpy(class_surfaces()).long()
    allowed: Tensor = (bits[:, None, None] & seen[None]) != 0
    return allowed
