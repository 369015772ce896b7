"""The CSV of an evaluation: one row for each class, one for all, and the confusion matrix."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from geoseg_qgis.engine.files import draft
from geoseg_qgis.engine.methods.evaluation.class_metrics import ClassRow, Evaluation

OVER_ALL = "(all)"
COLUMNS = (
    "class", "result_values", "reference_values", "result_pixels", "reference_pixels", "hits",
    "iou", "precision", "recall", "f1",
    "boundary_precision", "boundary_recall", "boundary_f1",
    "result_objects", "reference_objects", "object_precision", "object_recall", "object_f1",
    "accuracy", "kappa", "mapped_area", "corrected_area", "corrected_area_interval",
)  # fmt: skip


def write_table(path: str, evaluation: Evaluation) -> None:
    """Write the table; columns ``as <class>`` are the confusion matrix.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    shown = evaluation.shown
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    areas = {
        item.name: tuple(f"{value:.2f}" for value in (item.mapped, item.corrected, item.width))
        for item in evaluation.areas()
    }
    writer.writerow([*COLUMNS, *(f"as {evaluation.class_name(number)}" for number in shown)])
    for number, row in zip(shown, evaluation.rows(), strict=True):
        counts = [int(evaluation.matrix[number, column]) for column in shown]
        writer.writerow([*_cells(row), "", "", *areas.get(row.name, ("", "", "")), *counts])
    totals = [int(evaluation.matrix[:, column].sum()) for column in shown]
    writer.writerow([*_over_all(evaluation), *totals])
    with draft(Path(path)) as unfinished:
        unfinished.write_text(text.getvalue(), encoding="utf-8", newline="")


def _cells(row: ClassRow) -> list[str | int]:
    return [
        row.name, row.result_values, row.reference_values,
        row.result_pixels, row.reference_pixels, row.hits,
        _plain(row.iou), _plain(row.precision), _plain(row.recall), _plain(row.f1),
        _plain(row.boundary.precision), _plain(row.boundary.recall), _plain(row.boundary.f1),
        row.objects.result, row.objects.reference,
        _plain(row.objects.precision), _plain(row.objects.recall), _plain(row.objects.f1),
    ]  # fmt: skip


def _over_all(evaluation: Evaluation) -> list[str | int]:
    numbers = evaluation.numbers()
    objects = [evaluation.objects[number] for number in evaluation.shown]
    total = int(evaluation.matrix.sum())
    cells: dict[str, str | int] = {
        "class": OVER_ALL,
        "result_pixels": total,
        "reference_pixels": total,
        "hits": int(evaluation.matrix.trace()),
        "result_objects": sum(item.result for item in objects),
        "reference_objects": sum(item.reference for item in objects),
        "accuracy": _plain(numbers.get("ACCURACY", math.nan)),
        "kappa": _plain(numbers.get("KAPPA", math.nan)),
    }
    for kind, prefix in (("", "MEAN_"), ("boundary_", "BOUNDARY_"), ("object_", "OBJECT_")):
        for name in ("iou", "precision", "recall", "f1"):
            cells[f"{kind}{name}"] = _plain(numbers.get(prefix + name.upper(), math.nan))
    return [cells.get(name, "") for name in COLUMNS]


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"
