"""Command line, job file and server refuse the same values with the same sentences."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from engine_process import EngineProcess

from geoseg_qgis.engine.cli import main
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask
from geoseg_qgis.protocol.tasks.refer import ReferTask

CASES = [
    ("refer", "--threshold", "40", "Threshold must lie between 0 and 1; it is 40.",
     "Give a number in this range, such as 0.5."),
    ("refer", "--threshold", "nan", "Threshold must lie between 0 and 1; it is nan.",
     "Give a number in this range, such as 0.5."),
    ("refer", "--threshold", "inf", "Threshold must lie between 0 and 1; it is inf.",
     "Give a number in this range, such as 0.5."),
    ("refer", "--threshold", "high", "Threshold must be a number; it is 'high'.",
     "Give a number from 0 to 1."),
    ("refer", "--resolution", "-2", "Resolution must be greater than 0 and at most 1,000,000; "
     "it is -2.", "Give a number above 0 to 1,000,000."),
    ("refer", "--view", "sideways", "View cannot be 'sideways'.",
     "Choose one of auto, whole, tiles."),
    ("refer", "--method", "clicks", "Method cannot be 'clicks'.",
     "Choose one of auto, unigeoseg."),
    ("openvocabulary", "--points-per-side", "1000000000", "Points per side must lie between 1 and "
     "128; it is 1,000,000,000.", "Give a whole number from 1 to 128."),
]  # fmt: skip
MEMBERS = {
    "--threshold": ("task", "threshold"),
    "--resolution": ("grid", "resolution"),
    "--view": ("task", "view"),
    "--method": ("method",),
    "--points-per-side": ("task", "points_per_side"),
}


def bad_job(kind: str, option: str, value: str) -> dict[str, Any]:
    """Return the JSON form of a job with one bad value."""
    tasks = {
        "refer": ReferTask("all houses", mask_raster="mask.tif"),
        "openvocabulary": OpenVocabularyTask(parse_classes("house"), class_raster="a.tif"),
    }
    form = Job(RasterSource("ortho.tif"), tasks[kind]).to_json()
    *steps, last = MEMBERS[option]
    place = form
    for step in steps:
        place = place[step]
    try:
        place[last] = float(value) if option != "--points-per-side" else int(value)
    except ValueError:
        place[last] = value
    return form


@pytest.mark.parametrize(("kind", "option", "value", "message", "hint"), CASES)
def test_command_line_and_job_file(  # noqa: PLR0917
    kind: str,
    option: str,
    value: str,
    message: str,
    hint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = {"refer": ["--instruction", "all houses"], "openvocabulary": ["--classes", "house"]}
    arguments = [kind, "--input", "ortho.tif", *words[kind], "--output", "out.tif", option, value]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    job = json.dumps(bad_job(kind, option, value)).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(job)))
    assert main(["run", "-"]) == 1
    assert capsys.readouterr().err == said == f"Error: {message}\n       {hint}\n"


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    """An engine process."""
    engine = EngineProcess()
    yield engine
    engine.close()


@pytest.mark.slow
def test_server(engine: EngineProcess) -> None:
    for number, (kind, option, value, message, hint) in enumerate(CASES):
        engine.send(id=number, method="run", params=bad_job(kind, option, value))
        data = engine.answer(number)["error"]["data"]
        assert (data["code"], data["message"], data["hint"]) == ("invalid_job", message, hint)


@pytest.mark.slow
def test_classes_are_parsed_once_on_the_way_of_a_job(tmp_path: Path) -> None:
    image, output = tmp_path / "ortho.tif", tmp_path / "classes.tif"
    with rasterio.open(
        image, "w", driver="GTiff", width=64, height=64, count=3, dtype="uint8",
        transform=rasterio.Affine(0.3, 0, 400000, 0, -0.3, 5800000), crs="EPSG:32633",
    ) as dataset:  # fmt: skip
        dataset.write(np.full((3, 64, 64), 90, np.uint8))
    before = parse_classes.cache_info()
    arguments = ["--input", str(image), "--classes", "a quiet street; a roof", "--method", "fast"]
    assert main(["openvocabulary", *arguments, "--output", str(output), "--device", "cpu"]) == 0
    after = parse_classes.cache_info()
    assert after.hits + after.misses - before.hits - before.misses == 1
