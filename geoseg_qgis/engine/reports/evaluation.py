"""The report of an evaluation: scores, the confusion matrix as a heat map, how it was compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from geoseg_qgis.engine.methods.evaluation.class_metrics import Evaluation
from geoseg_qgis.engine.methods.evaluation.layer_classes import NO_CLASS

from .page import count, score, write_page
from .plots import confusion_matrix

# A larger matrix fits no screen, and its cells are too small for numbers.
_MOST_CLASSES = 60
_TILES = (
    ("MEAN_IOU", "Mean IoU"),
    ("FOREGROUND_IOU", "Foreground IoU"),
    ("MEAN_F1", "Mean F1"),
    ("ACCURACY", "Overall accuracy"),
    ("KAPPA", "Kappa"),
    ("BOUNDARY_F1", "Boundary F1"),
    ("OBJECT_PRECISION", "Object precision"),
    ("OBJECT_RECALL", "Object recall"),
)


def write_report(
    path: str, evaluation: Evaluation, warnings: Sequence[str], provenance: Mapping[str, str]
) -> None:
    """Write the page.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    result, reference = evaluation.names
    numbers = evaluation.numbers()
    rows = evaluation.rows()
    numbered = zip(evaluation.shown, rows, strict=True)
    write_page(
        path,
        "evaluation.html.j2",
        result=result,
        reference=reference,
        warnings=warnings,
        tiles=[(title, score(numbers[key])) for key, title in _TILES if key in numbers],
        rows=rows,
        class_rows=[row for number, row in numbered if number != NO_CLASS],
        confusion=_confusion(evaluation),
        areas=evaluation.areas(),
        area_unit="pixels" if math.isnan(evaluation.area) else "m²",
        tolerance=evaluation.tolerance,
        comparison=_comparison(evaluation),
        provenance=provenance,
    )


def _confusion(evaluation: Evaluation) -> Markup | None:
    """Return the matrix as a heat map, each row as shares of its class in the reference."""
    columns = np.array(evaluation.shown)
    rows = np.array([number for number in columns if evaluation.matrix[number].any()])
    if len(columns) > _MOST_CLASSES:
        return None
    totals = evaluation.matrix[rows].sum(axis=1)
    return confusion_matrix(
        evaluation.matrix[np.ix_(rows, columns)] / totals[:, None],
        rows[:, None] == columns,
        [evaluation.class_name(number) for number in rows],
        [evaluation.class_name(number) for number in columns],
    )


def _comparison(evaluation: Evaluation) -> dict[str, str]:
    compared = int(evaluation.matrix.sum())
    area = "" if math.isnan(evaluation.area) else f", {count(round(evaluation.area))} m²"
    reference = evaluation.layers[1]
    ignored = [
        reference.label(value) for value in reference.values if value in evaluation.matching.ignored
    ]
    return {
        "Compared": f"{count(compared)} pixels{area}",
        "Left out": f"{count(evaluation.left_out)} pixels without data or ignored",
        "Ignored in the reference": ", ".join(ignored) or "nothing",
        "Classes were matched": evaluation.matching.manner,
    }
