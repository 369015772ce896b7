"""The page of an evaluation: scores, the confusion matrix as a heat map, and how it was done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from geoseg_qgis.engine.methods.evaluation.class_matching import NO_CLASS
from geoseg_qgis.engine.methods.evaluation.class_metrics import Evaluation

from .html_page import (
    bar_cell,
    count,
    count_cell,
    details,
    escape,
    facts,
    page,
    section,
    table,
    tile,
)
from .text_file import write_text

_MOST_CLASSES = 60
_LONGEST_LABEL = 22
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
_CLASS_NOTE = (
    "IoU: pixels where both have the class, of those where either has it. Precision: share of the "
    "result that is right. Recall: share of the reference that was found. Means run over the "
    "classes that occur."
)
_CONFUSION_NOTE = (
    "Rows are the reference, columns the result; each row sums to 100 %. Green is right, red is "
    "taken for something else."
)


def write_report(
    path: str, evaluation: Evaluation, warnings: Sequence[str], provenance: Mapping[str, str]
) -> None:
    """Write the page.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    result, reference = evaluation.names
    parts = [
        f"<header><p class='kind'>Evaluation</p><h1>{escape(result)}</h1>"
        f"<p>compared with <b>{escape(reference)}</b></p></header>",
        *(f"<p class='warning'>{escape(warning)}</p>" for warning in warnings),
        _tiles(evaluation),
        section("Classes", _class_table(evaluation), _CLASS_NOTE),
        section("Confusion", _confusion(evaluation), _CONFUSION_NOTE),
        section("Outlines and objects", _things(evaluation), _things_note(evaluation)),
        section("How it was compared", _method(evaluation)),
        details("How this page was made", facts(provenance)),
    ]
    write_text(path, page(f"{result} compared with {reference}", "".join(parts)))


def _tiles(evaluation: Evaluation) -> str:
    numbers = evaluation.numbers()
    tiles = [tile(title, f"{numbers[key]:.3f}") for key, title in _TILES if key in numbers]
    return f"<div class='tiles'>{''.join(tiles)}</div>"


def _class_table(evaluation: Evaluation) -> str:
    rows = [
        f"<tr><th>{escape(row.name)}</th>"
        f"{bar_cell(row.iou)}{bar_cell(row.precision)}{bar_cell(row.recall)}{bar_cell(row.f1)}"
        f"{count_cell(row.result_pixels)}{count_cell(row.reference_pixels)}</tr>"
        for row in evaluation.rows()
    ]
    titles = ("Class", "IoU", "Precision", "Recall", "F1", "Result pixels", "Reference pixels")
    return table(titles, rows)


def _confusion(evaluation: Evaluation) -> str:
    """Return the matrix as a heat map, each row as shares of its reference class."""
    shown = evaluation.shown
    if len(shown) > _MOST_CLASSES:
        return "<p>Too many classes to draw; the table file holds the matrix.</p>"
    rows = [number for number in shown if evaluation.matrix[number].any()]
    side, left, top = 54, 170, 120
    parts = []
    for line, number in enumerate(rows):
        total = int(evaluation.matrix[number].sum())
        y = top + line * side
        parts.append(_label(left - 12, y + side / 2 + 4, evaluation.class_name(number), "end"))
        for column, other in enumerate(shown):
            share = int(evaluation.matrix[number, other]) / total
            parts.append(_cell(left + column * side, y, side, share, number == other))
    for column, other in enumerate(shown):
        x = left + column * side + side / 2 + 4
        label = _label(0, 0, evaluation.class_name(other), "start")
        parts.append(f"<g transform='translate({x},{top - 10}) rotate(-50)'>{label}</g>")
    width, height = left + len(shown) * side + 90, top + len(rows) * side + 4
    return (
        f"<div class='wide'><svg class='matrix' viewBox='0 0 {width} {height}' width='{width}' "
        f"height='{height}' role='img'>{''.join(parts)}</svg></div>"
    )


def _cell(x: float, y: float, side: int, share: float, right: bool) -> str:
    kind = "right" if right else "wrong"
    opacity = 0.10 + 0.90 * share if share else 0.0
    text = "" if not share else "&lt;1%" if share < 0.005 else f"{share:.0%}"
    tone = "light" if share > 0.55 else "dark"
    return (
        f"<rect x='{x + 1}' y='{y + 1}' width='{side - 2}' height='{side - 2}' rx='4' "
        f"fill-opacity='{opacity:.2f}' class='cell {kind}'/>"
        f"<text x='{x + side / 2}' y='{y + side / 2 + 4}' text-anchor='middle' class='{tone}'>"
        f"{text}</text>"
    )


def _label(x: float, y: float, name: str, anchor: str) -> str:
    short = name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"
    return f"<text x='{x}' y='{y}' text-anchor='{anchor}'>{escape(short)}</text>"


def _things(evaluation: Evaluation) -> str:
    rows = [
        f"<tr><th>{escape(row.name)}</th>"
        f"{bar_cell(row.boundary.precision)}{bar_cell(row.boundary.recall)}"
        f"{bar_cell(row.boundary.f1)}"
        f"{bar_cell(row.objects.precision)}{bar_cell(row.objects.recall)}"
        f"{count_cell(row.objects.result)}{count_cell(row.objects.reference)}</tr>"
        for number, row in zip(evaluation.shown, evaluation.rows(), strict=True)
        if number != NO_CLASS
    ]
    titles = (
        "Class", "Boundary precision", "Boundary recall", "Boundary F1",
        "Object precision", "Object recall", "Objects in the result", "Objects in the reference",
    )  # fmt: skip
    return table(titles, rows)


def _things_note(evaluation: Evaluation) -> str:
    return (
        f"Outline pixels count as right within {evaluation.tolerance} of an outline of the same "
        "class. Objects are connected areas of one class; two are the same from an IoU of 0.5 "
        "upwards."
    )


def _method(evaluation: Evaluation) -> str:
    compared = int(evaluation.matrix.sum())
    area = "" if math.isnan(evaluation.area) else f", {count(round(evaluation.area))} m²"
    reference = evaluation.sides[1]
    ignored = [
        reference.label(value) for value in reference.values if value in evaluation.matching.ignored
    ]
    listed = facts(
        {
            "Compared": f"{count(compared)} pixels{area}",
            "Left out": f"{count(evaluation.left_out)} pixels without data or ignored",
            "Ignored in the reference": ", ".join(ignored) or "nothing",
            "Classes were matched": evaluation.matching.manner,
        }
    )
    rows = [
        f"<tr><th>{escape(row.name)}</th><td>{escape(row.result_values or 'none')}</td>"
        f"<td>{escape(row.reference_values or 'none')}</td></tr>"
        for number, row in zip(evaluation.shown, evaluation.rows(), strict=True)
        if number != NO_CLASS
    ]
    return listed + table(("Class", "In the result", "In the reference"), rows)
