"""Runs that were stopped go on where they were, and end as if they had never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
import shapely
from assess_scene import MASKED, drawn, imagery, write_bands
from bright_segassess import write_bright_preset
from numpy.typing import NDArray
from prompt_cases import NORTH_UP, on_map, write_layer
from prompt_cases import make_job as prompts_job
from unigeoseg_facts import write_preset
from waiting import wait_until

from geoseg_qgis.engine.inference.journal import Stage
from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind
from geoseg_qgis.protocol.tasks.assess import AssessTask, Orientations
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask
from geoseg_qgis.protocol.tasks.refer import ReferTask, View

MakeJob = Callable[[Path], Job]

METHODS = ["fast", "gumix", "mask_selection", "one class", "tiles", "whole", "prompts", "assess"]


def write_picture(path: Path, height: int = 340, width: int = 390) -> Path:
    rough = np.random.default_rng(5).integers(20, 230, (3, -(-height // 10), -(-width // 10)))
    pixels = rough.astype(np.uint8).repeat(10, axis=1).repeat(10, axis=2)[:, :height, :width]
    # A quarter without data: tiles there are empty.
    pixels[:, : height // 2, : width // 2] = 0
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=3, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.Affine(0.3, 0, 400000, 0, -0.3, 5000000), nodata=0,
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    return path


def open_vocabulary_job(image: Path, preset: Path, method: str, classes: str, folder: Path) -> Job:
    files = {
        "class_raster": str(folder / "classes.tif"),
        "polygon_file": str(folder / "classes.gpkg"),
        "scores": str(folder / "scores.tif"),
    }
    task = OpenVocabularyTask(parse_classes(classes), rivals=False, **files)
    return Job(RasterSource(str(image)), task, method=method, model=str(preset), device="cpu")


def refer_job(image: Path, preset: Path, view: View, folder: Path) -> Job:
    files = {
        "mask_raster": str(folder / "mask.tif"),
        "polygon_file": str(folder / "mask.gpkg"),
        "scores": str(folder / "scores.tif"),
    }
    # Random networks put all probabilities near a half.
    task = ReferTask("the white planes", view=view, threshold=0.5, **files)
    source = RasterSource(str(image), stretch=Stretch(StretchKind.NONE))
    return Job(source, task, method="unigeoseg", model=str(preset), device="cpu")


def assess_job(image: RasterSource, mask: RasterSource, preset: Path, folder: Path) -> Job:
    files = {
        "quality_raster": str(folder / "quality.tif"),
        "polygon_file": str(folder / "polygons.gpkg"),
        "missed_file": str(folder / "missed.gpkg"),
        "scores": str(folder / "scores.tif"),
    }
    task = AssessTask(mask=mask, orientations=Orientations.FLIPS, **files)
    return Job(image, task, method="segassess", model=str(preset), device="cpu")


@pytest.fixture
def make_job(  # noqa: PLR0917
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tiny_preset: Path,
    tiny: str,
    landscape: Path,
    tiny_model: UniGeoSeg,
    toy_tokenizer: ByteTokenizer,
) -> MakeJob:
    """Return what makes a job of the method that the test asks for, with results in a folder."""
    method: str = request.param
    if method in ("tiles", "whole"):
        image = write_picture(tmp_path / "image.tif", 330, 290)
        words = ["the", "white", "plane", "planes"]
        preset = write_preset(tmp_path / "unigeoseg", tiny_model, toy_tokenizer, words)
        view = View(method)
        return lambda folder: refer_job(image, preset, view, folder)
    if method == "prompts":
        places = [[x, y] for x in (30.5, 150.2, 270.0) for y in (20.5, 130.7, 240.0)]
        numbers = {"number": np.arange(9, dtype=np.int64)}
        layer = write_layer(
            tmp_path / "prompts.gpkg", on_map(shapely.points(places), NORTH_UP), fields=numbers
        )
        return lambda folder: prompts_job(landscape, layer, folder, tiny, minimum_score=0.0)
    if method == "assess":
        mask = write_bands(tmp_path / "mask.tif", drawn(dict.fromkeys(MASKED, 1))[None])
        judge = write_bright_preset(tmp_path / "judge", 64)
        source = imagery(tmp_path / "image.tif")
        return lambda folder: assess_job(source, mask, judge, folder)
    image = write_picture(tmp_path / "image.tif")
    classes = "building" if method == "one class" else "building, roof; road; water"
    name = "mask_selection" if method == "one class" else method
    return lambda folder: open_vocabulary_job(image, tiny_preset, name, classes, folder)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each tile, or group of tiles, that is computed."""
    keys: list[str] = []
    keep = Stage.keep

    def noted(self: Stage, key: str, arrays: Sequence[NDArray[Any]], tiles: int = 1) -> None:
        keys.append(key)
        keep(self, key, arrays, tiles)

    monkeypatch.setattr(Stage, "keep", noted)
    return keys


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of scratch files, and of finished tiles."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("GEOSEG_SCRATCH", str(folder))
    return folder


def run(job: Job, stop: Callable[[], bool] = lambda: False) -> tuple[Result, list[str]]:
    said: list[str] = []
    context = JobContext(report_log=lambda _, text: said.append(text), is_cancelled=stop)
    return run_job(job, context), said


def continued(said: list[str]) -> list[str]:
    return [text for text in said if text.startswith("Continued a run")]


def contents(folder: Path) -> dict[str, Any]:
    """Return what the files of a folder hold, without how and when they were made."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".tif":
            with rasterio.open(path) as dataset:
                found[path.name] = (dataset.read().tobytes(), dataset.transform, dataset.dtypes)
        elif path.suffix == ".gpkg":
            meta, _, shapes, fields = pyogrio.raw.read(path, layer=pyogrio.list_layers(path)[0][0])
            columns = [column.tolist() for column in fields]
            found[path.name] = (list(meta["fields"]), shapes.tolist(), repr(columns))
        else:
            found[path.name] = None
    return found


def folder_in(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("make_job", METHODS, indirect=True)
def test_a_cancelled_run_goes_on_and_ends_the_same(
    make_job: MakeJob, tmp_path: Path, scratch: Path, computed: list[str]
) -> None:
    whole, cut = folder_in(tmp_path, "whole"), folder_in(tmp_path, "cut")
    result, said = run(make_job(whole))
    everything = len(computed)
    assert everything >= 2
    assert not continued(said)
    assert list(scratch.iterdir()) == []

    computed.clear()
    stop_at = max(1, everything // 2)
    with pytest.raises(CancelledError):
        run(make_job(cut), lambda: len(computed) >= stop_at)
    assert list(cut.iterdir()) == []
    first = len(computed)
    assert stop_at <= first < everything
    again, said = run(make_job(cut))
    assert len(computed) == everything
    assert len(continued(said)) == 1
    assert contents(cut) == contents(whole)
    assert again.numbers == result.numbers
    assert again.warnings == result.warnings
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("make_job", ["fast"], indirect=True)
def test_only_the_same_job_goes_on(
    make_job: MakeJob, tmp_path: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_in(tmp_path, "out")
    with pytest.raises(CancelledError):
        run(make_job(folder), lambda: len(computed) >= 1)
    image = tmp_path / "image.tif"
    facts = image.stat()
    os.utime(image, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    _, said = run(make_job(folder))
    assert not continued(said)
    os.utime(image, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    _, said = run(make_job(folder))
    assert continued(said)


@pytest.mark.slow
@pytest.mark.parametrize("make_job", ["gumix"], indirect=True)
def test_a_killed_command_goes_on(make_job: MakeJob, tmp_path: Path, scratch: Path) -> None:
    whole, cut = folder_in(tmp_path, "whole"), folder_in(tmp_path, "cut")
    write_picture(tmp_path / "image.tif", 360, 400)
    run(make_job(whole))
    job = tmp_path / "job.json"
    job.write_text(json.dumps(make_job(cut).to_json()), encoding="utf-8")
    command = [sys.executable, "-m", "geoseg_qgis.engine", "run", str(job)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(f.stat().st_size > 4_000 for f in scratch.rglob("*.tiles")), 120)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(cut.glob("*.tif")) == []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Continued a run that had stopped: " in done.stderr
    assert contents(cut) == contents(whole)
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("make_job", ["prompts"], indirect=True)
def test_a_full_disk_costs_no_finished_tile(
    make_job: MakeJob, tmp_path: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_in(tmp_path, "out")

    def full(*_: Any, **__: Any) -> None:
        raise JobError(ErrorCode.DISK_FULL, "The disk is full.", "Free some space.")

    with monkeypatch.context() as patch:
        patch.setattr("geoseg_qgis.engine.jobs.prompts.write_geopackage", full)
        with pytest.raises(JobError):
            run(make_job(folder))
    tiles = len(computed)
    _, said = run(make_job(folder))
    assert len(computed) == tiles, said
    assert continued(said) == [f"Continued a run that had stopped: {tiles} tiles were kept."]
