"""What can be asked of real pictures, whose labels say for each pixel which surfaces it may be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.generated import class_surfaces
from training.land_cover import partial_label

from .pixel_head import at_cells

_FEWEST = 200
_LEAST_KNOWN = 0.3
_ABSENT_SHARE = 0.05
_ROAD = ("road", "car")
"""Labels of roads do not tell the vehicles on them."""
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


class RealAsked(NamedTuple):
    """One request about a real picture."""

    text: str
    task: Task
    answer: Tensor
    """(S, S) float32, 1 on the answer."""
    known: Tensor
    """(S, S) bool, False where the labels leave it open."""


def ask_of_labels(
    labels: Tensor, count: int, random: np.random.Generator, shown: float = 1.0
) -> list[RealAsked]:
    """Ask for classes by name and by use.

    Args:
        labels: (S, S) int64 bit masks of possible surfaces, 0 where unknown.
        count: Number of requests.
        random: Source of the choices.
        shown: Share of the square that is picture and no bar.

    Returns:
        The requests, none when the labels answer nothing.
    """
    possible: list[tuple[tuple[str, ...], Tensor, Tensor]] = []
    absent: list[tuple[tuple[str, ...], Tensor, Tensor]] = []
    for surfaces in _SENTENCES:
        bits = partial_label(*surfaces)
        answer = (labels & ~bits == 0) & (labels & partial_label(surfaces[0]) != 0)
        known = answer | ((labels > 0) & (labels & bits == 0))
        share = float(known.float().mean()) / shown
        if int(answer.sum()) >= _FEWEST and share > _LEAST_KNOWN:
            possible.append((surfaces, answer, known))
        elif not bool((labels & bits).any()) and share > 1 - _LEAST_KNOWN:
            absent.append((surfaces, answer, known))
    asked: list[RealAsked] = []
    while possible and len(asked) < count:
        pool = absent if absent and random.random() < _ABSENT_SHARE else possible
        surfaces, answer, known = pool[int(random.integers(len(pool)))]
        texts, task = _SENTENCES[surfaces], Task.REFERRING
        if surfaces in _QUESTIONS and random.random() < 0.25:
            texts, task = _QUESTIONS[surfaces], Task.REASONING
        text = texts[int(random.integers(len(texts)))]
        asked.append(RealAsked(text, task, answer.float(), known))
    return asked


def allowed_classes(labels: Tensor, cells: int) -> Tensor:
    """Return which generated classes each cell may have: (classes, cells, cells) bool."""
    seen = torch.from_numpy(at_cells(labels.numpy(), cells))
    bits = torch.from_numpy(class_surfaces()).long()
    allowed: Tensor = (bits[:, None, None] & seen[None]) != 0
    return allowed
