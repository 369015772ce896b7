"""The picture of a run's log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from training.curves import MARGINS, PANEL, draw_curves, read_curves


def write_log(path: Path, entries: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_falling_loss_falls_in_the_picture(tmp_path: Path) -> None:
    entries: list[dict[str, object]] = [
        {"step": step, "seconds": 1.0, "total": 10.0 - step} for step in range(10)
    ]
    picture = tmp_path / "curves.png"
    assert draw_curves(write_log(tmp_path / "log.jsonl", entries), picture)
    pixels = np.asarray(Image.open(picture)).astype(int)
    assert pixels.shape == (PANEL[1], PANEL[0], 3)
    line = np.argwhere((pixels == [15, 118, 110]).all(axis=2))
    first, last = line[line[:, 1].argmin()], line[line[:, 1].argmax()]
    assert abs(first[0] - MARGINS[1]) <= 2
    assert abs(last[0] - (PANEL[1] - MARGINS[3])) <= 2


def test_what_is_no_curve_is_left_out(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "log.jsonl",
        [{"step": 1, "loss": 2.0, "note": "x"}, {"step": 2, "loss": 1.0, "once": 3.0}],
    )
    assert read_curves(log) == {"loss": [(1.0, 2.0), (2.0, 1.0)]}
    empty = write_log(tmp_path / "empty.jsonl", [])
    assert not draw_curves(empty, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
