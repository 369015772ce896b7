"""The report of a learnt model: accuracy on held-back places, and what was mistaken for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from geoseg_qgis.engine.methods.learning.cross_validation import Chosen, Interval
from geoseg_qgis.engine.methods.learning.heads import TITLES
from geoseg_qgis.engine.methods.learning.labels import Labels
from geoseg_qgis.protocol.legend import LegendClass

from .page import count, score, write_page
from .plots import confusion_matrix

_MOST_CLASSES = 60


@dataclass(frozen=True)
class LearningFacts:
    """What the page tells.

    Attributes:
        imagery: Name of the imagery.
        labels: The labels.
        chosen: The head and its accuracy.
        legend: The classes.
        blocks: What was held back at once.
        warnings: Sentences to show first.
        provenance: How the model was made.
    """

    imagery: str
    labels: Labels
    chosen: Chosen
    legend: tuple[LegendClass, ...]
    blocks: str
    warnings: tuple[str, ...]
    provenance: Mapping[str, str]


def write_report(path: str, facts: LearningFacts) -> None:
    """Write the page.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    accuracy = facts.chosen.accuracy
    counts = facts.labels.counts()
    rows = [
        {
            "name": item.name,
            "color": item.color,
            "estimates": (accuracy.iou[number], accuracy.f1[number]),
            "counts": counts[number],
        }
        for number, item in enumerate(facts.legend)
    ]
    write_page(
        path,
        "learning.html.j2",
        imagery=facts.imagery,
        warnings=facts.warnings,
        tiles=[
            *_tile("Mean IoU", accuracy.mean_iou),
            *_tile("Overall accuracy", accuracy.overall),
            (count(sum(places for places, _ in counts)), "Places")[::-1],
            (count(len(facts.labels)), "Pixels")[::-1],
        ],
        rows=rows,
        confusion=_confusion(facts),
        heads={
            TITLES[kind]: score(value) + (" (used)" if kind == facts.chosen.kind else "")
            for kind, value in accuracy.mean_ious.items()
        },
        blocks=facts.blocks,
        provenance=facts.provenance,
    )


def _tile(title: str, estimate: Interval) -> list[tuple[str, str]]:
    return [(title, score(estimate.value))] if np.isfinite(estimate.value) else []


def _confusion(facts: LearningFacts) -> Markup | None:
    """Return the matrix as a heat map, each row as shares of its class."""
    matrix, names = facts.chosen.accuracy.matrix, facts.labels.names
    shown = np.flatnonzero(matrix.sum(axis=1))
    if not 0 < len(names) <= _MOST_CLASSES or not len(shown):
        return None
    return confusion_matrix(
        matrix[shown] / matrix[shown].sum(axis=1, keepdims=True),
        shown[:, None] == np.arange(len(names)),
        [names[number] for number in shown],
        list(names),
    )
