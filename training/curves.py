"""A run's log as a picture: one panel a number, over the steps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

PANEL = (360, 200)
MARGINS = (52, 24, 12, 22)
"""Left, top, right, bottom of the plot inside its panel, in pixels."""
COLUMNS = 3
_INK, _PAPER, _LINE, _GRID = (40, 40, 40), (255, 255, 255), (15, 118, 110), (225, 225, 225)

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


def draw_curves(log: Path, picture: Path) -> bool:
    """Draw the numbers of a log into a PNG.

    Args:
        log: A run's ``log.jsonl``.
        picture: File to write.

    Returns:
        Whether there was anything to draw.
    """
    curves = read_curves(log)
    if not curves:
        return False
    rows = -(-len(curves) // COLUMNS)
    width, height = PANEL
    sheet = Image.new("RGB", (width * min(COLUMNS, len(curves)), height * rows), _PAPER)
    for index, (name, points) in enumerate(curves.items()):
        row, column = divmod(index, COLUMNS)
        sheet.paste(_panel(name, points), (column * width, row * height))
    sheet.save(picture)
    return True


def _panel(name: str, points: Points) -> Image.Image:
    panel = Image.new("RGB", PANEL, _PAPER)
    pen = ImageDraw.Draw(panel)
    left, top = MARGINS[0], MARGINS[1]
    right, bottom = PANEL[0] - MARGINS[2], PANEL[1] - MARGINS[3]
    (first, last), (low, high) = _range([x for x, _ in points]), _range([y for _, y in points])
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - top)
        pen.line([(left, y), (right, y)], fill=_GRID)
        pen.text((4, y - 6), f"{low + share * (high - low):.3g}", fill=_INK)
    pen.text((left, 6), name, fill=_INK)
    pen.text((left, bottom + 6), f"{first:.0f}", fill=_INK)
    pen.text((right - 36, bottom + 6), f"{last:.0f}", fill=_INK)
    places = [
        (
            left + (x - first) / (last - first) * (right - left),
            bottom - (y - low) / (high - low) * (bottom - top),
        )
        for x, y in points
    ]
    pen.line(places, fill=_LINE, width=2)
    return panel


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low, low + 1.0)
