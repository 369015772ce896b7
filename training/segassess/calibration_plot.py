"""Picture of predicted against true IoU of objects."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from geoseg_qgis.engine.metrics.quality import Calibration

SIDE, MARGIN, GAP = 360, 64, 40
SMALLEST, LARGEST = 3.0, 16.0
INK, FAINT, DOT = "#222222", "#bbbbbb", "#0072b2"
TICKS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)


class _Panel:
    """One square diagram with both axes from 0 to 1."""

    def __init__(self, draw: ImageDraw.ImageDraw, left: float) -> None:
        self._draw = draw
        self._left = left
        self._font = ImageFont.load_default(13)

    def place(self, x: float, y: float) -> tuple[float, float]:
        return self._left + x * SIDE, MARGIN + (1 - y) * SIDE

    def axes(self, title: str) -> None:
        corners = [*self.place(0, 1), *self.place(1, 0)]
        self._draw.rectangle(corners, outline=INK)
        self._draw.line([self.place(0, 0), self.place(1, 1)], fill=FAINT, width=2)
        for tick in TICKS:
            x, y = self.place(tick, 0)
            self._draw.text((x, y + 6), f"{tick:g}", INK, self._font, anchor="mt")
            x, y = self.place(0, tick)
            self._draw.text((x - 6, y), f"{tick:g}", INK, self._font, anchor="rm")
        x, y = self.place(0.5, 0)
        self._draw.text((x, y + 30), "predicted IoU", INK, self._font, anchor="mt")
        x, y = self.place(0, 1)
        self._draw.text((x, y - 34), title, INK, self._font, anchor="lt")

    def note(self, text: str) -> None:
        x, y = self.place(0, 1)
        self._draw.text((x, y - 17), text, INK, self._font, anchor="lt")

    def dots(self, calibration: Calibration) -> None:
        most = max(int(calibration.count.max()), 1)
        for x, y, count in zip(calibration.predicted, calibration.actual, calibration.count):
            if count:
                radius = SMALLEST + (LARGEST - SMALLEST) * math.sqrt(count / most)
                centre = self.place(float(x), float(y))
                self._draw.circle(centre, radius, fill=DOT, outline="white")


def draw_calibration(path: Path, calibrations: Mapping[str, Calibration]) -> None:
    """Write a PNG with one diagram a source of masks: mean true IoU of ten bins of predicted IoU.

    Args:
        path: File to write, whole or not at all.
        calibrations: Titles and pairs; the area of a dot follows the number of objects.
    """
    count = len(calibrations)
    size = (2 * MARGIN + count * SIDE + (count - 1) * (GAP + MARGIN), SIDE + 2 * MARGIN)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for index, (title, calibration) in enumerate(calibrations.items()):
        panel = _Panel(draw, MARGIN + index * (SIDE + GAP + MARGIN))
        panel.axes(title)
        panel.note(
            f"{calibration.count.sum()} objects, correlation {calibration.correlation:.2f}, "
            f"error {calibration.error:.2f}"
        )
        panel.dots(calibration)
    draw.text((12, 12), "true IoU", INK, ImageFont.load_default(13))
    partial = path.with_name(path.name + ".part")
    image.save(partial, "PNG", optimize=True)
    os.replace(partial, path)  # noqa: PTH105
