"""Charts of a run's log, and of predicted against true IoU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from geoseg_qgis.engine.metrics.quality import calibrate
from training.charts import calibration_figure, curves_figure, read_curves, save_chart

BLUE, WHITE = (0, 114, 178), (255, 255, 255)


def write_log(path: Path, entries: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def colour_at(picture: Path, axes: Axes, x: float, y: float) -> tuple[int, ...]:
    """Return the colour of a written chart at data coordinates."""
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    column, row = axes.transData.transform((x, y))
    return tuple(pixels[int(len(pixels) - row), int(column)].tolist())


def test_falling_loss_falls_in_the_chart(tmp_path: Path) -> None:
    entries: list[dict[str, object]] = [
        {"step": step, "seconds": 1.0, "total": 10.0 - step} for step in range(10)
    ]
    figure = curves_figure(read_curves(write_log(tmp_path / "log.jsonl", entries)))
    save_chart(figure, tmp_path / "curves.png")
    (panel,) = figure.axes
    for step in range(1, 9):
        assert colour_at(tmp_path / "curves.png", panel, step, 10.0 - step) == BLUE
    assert colour_at(tmp_path / "curves.png", panel, 1.3, 2.3) == WHITE
    assert [path.name for path in tmp_path.glob("*.png")] == ["curves.png"]


def test_what_is_no_curve_is_left_out(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "log.jsonl",
        [{"step": 1, "loss": 2.0, "note": "x"}, {"step": 2, "loss": 1.0, "once": 3.0}],
    )
    assert read_curves(log) == {"loss": [(1.0, 2.0), (2.0, 1.0)]}
    assert read_curves(write_log(tmp_path / "empty.jsonl", [])) == {}


def test_dots_lie_at_predicted_and_true_iou(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    pairs = calibrate(np.array([0.25, 0.25, 0.75]), np.array([0.5, 0.5, 0.25]))
    figure = calibration_figure({"one": pairs, "two": pairs})
    save_chart(figure, path)
    assert len(figure.axes) == 2
    for panel in figure.axes:
        assert colour_at(path, panel, 0.25, 0.5) == BLUE
        assert colour_at(path, panel, 0.75, 0.25) == BLUE
        assert colour_at(path, panel, 0.1, 0.9) == WHITE
        few, many = sorted(panel.collections[0].get_sizes())
        assert many == 2 * few
