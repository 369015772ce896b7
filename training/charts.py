"""Charts of a run: its losses over the steps, and predicted against true IoU of objects."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from geoseg_qgis.engine.files import draft
from geoseg_qgis.engine.metrics.quality import Calibration

_COLUMNS = 3
_PANEL = (3.6, 2.2)
_SQUARE = 4.2
_COLOUR = "#0072b2"
_LARGEST_DOT = 500
"""Area of the dot of the fullest bin, in square points."""

Points = list[tuple[float, float]]


def read_curves(log: Path) -> dict[str, Points]:
    """Return (step, value) points of every number in a log of one JSON object a line."""
    curves: dict[str, Points] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        for name, value in entry.items():
            plain = isinstance(value, (int, float)) and math.isfinite(value)
            if plain and name not in ("step", "seconds"):
                curves.setdefault(name, []).append((float(entry["step"]), float(value)))
    return {name: points for name, points in curves.items() if len(points) > 1}


def curves_figure(curves: Mapping[str, Points]) -> Figure:
    """Return one panel for each curve, values over steps."""
    columns = min(_COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure((columns * _PANEL[0], rows * _PANEL[1]), layout="constrained")
    for number, (name, points) in enumerate(curves.items(), start=1):
        panel = figure.add_subplot(rows, columns, number, title=name)
        panel.plot(*zip(*points, strict=True), color=_COLOUR, linewidth=3)
        panel.grid(alpha=0.3)
    return figure


def calibration_figure(calibrations: Mapping[str, Calibration]) -> Figure:
    """Return one diagram for each source of masks: mean true IoU of ten bins of predicted IoU.

    The area of a dot follows the number of objects in its bin.
    """
    figure = Figure((_SQUARE * len(calibrations), _SQUARE), layout="constrained")
    for number, (title, one) in enumerate(calibrations.items(), start=1):
        panel = figure.add_subplot(1, len(calibrations), number)
        panel.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        panel.set(xlabel="predicted IoU", ylabel="true IoU")
        panel.set_title(
            f"{title}\n{one.count.sum()} objects, correlation {one.correlation:.2f}, "
            f"error {one.error:.2f}",
            fontsize="medium",
        )
        panel.plot((0, 1), (0, 1), color="0.75")
        filled = one.count > 0
        sizes = _LARGEST_DOT * one.count[filled] / max(int(one.count.max()), 1)
        panel.scatter(
            one.predicted[filled], one.actual[filled], sizes, _COLOUR, edgecolors="white", zorder=2
        )
    return figure


def save_chart(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file.

    Raises:
        JobError: The file cannot be written.
    """
    with draft(path) as unfinished:
        figure.savefig(unfinished, format="png")
