"""The command line as a person runs it: in a process, judged by exit status and output."""

from __future__ import annotations

import io
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg_qgis.engine.terminal import TerminalReporter, format_result
from geoseg_qgis.protocol import PLUGIN_VERSION
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.result import ClassSummary, Result
from geoseg_qgis.protocol.source import Extent, RasterSource, VectorSource

ROOT = Path(__file__).parents[2]


def geoseg(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "geoseg_qgis.engine", *arguments]
    return subprocess.run(
        command, cwd=ROOT, input=text, capture_output=True, text=True, check=False
    )


def test_version() -> None:
    done = geoseg("--version")
    assert (done.returncode, done.stdout.strip()) == (0, PLUGIN_VERSION)


def test_wrong_arguments_end_with_2() -> None:
    assert geoseg("openvocabulary", "--classes", "building").returncode == 2


def test_job_is_printed_as_qgis_makes_it(tmp_path: Path) -> None:
    raster = tmp_path / "ortho.tif"
    raster.write_bytes(b"")
    done = geoseg(
        "openvocabulary", "--input", str(raster), "--classes", "building; water",
        "--output", str(tmp_path / "classes.tif"), "--extent", "1", "2", "3", "4.5",
        "--resolution", "0.5", "--bands", "4", "3", "2", "--right-angles", "building",
        "--no-rivals", "--print-job",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    job = Job.from_json(json.loads(done.stdout))
    assert job.kind == "openvocabulary"
    assert job.source.uri == str(raster)
    assert job.source.bands == (4, 3, 2)
    assert job.grid.extent == Extent(1.0, 2.0, 3.0, 4.5)
    assert job.grid.resolution == 0.5
    assert job.task.classes == parse_classes("building; water")
    assert job.task.class_raster == str(tmp_path / "classes.tif")
    assert not job.task.rivals
    assert job.task.polygons.right_angles == ("building",)


@pytest.mark.slow
def test_the_command_of_the_readme_maps_a_picture(tmp_path: Path) -> None:
    """Word for word, but for the two files: it names neither method nor model."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^python -m geoseg_qgis\.engine (openvocabulary .*)$", text, re.MULTILINE)
    image, classes = tmp_path / "ortho.tif", tmp_path / "classes.tif"
    pixels = np.full((3, 96, 96), 90, np.uint8)
    with rasterio.open(
        image, "w", driver="GTiff", width=96, height=96, count=3, dtype="uint8",
        transform=rasterio.Affine(0.3, 0, 400000, 0, -0.3, 5800000), crs="EPSG:32633",
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    files = {"ortho.tif": str(image), "classes.tif": str(classes)}
    done = geoseg(*(files.get(word, word) for word in shlex.split(line)))
    assert done.returncode == 0, done.stderr
    with rasterio.open(classes) as dataset:
        assert dataset.read(1).max() <= 2


def test_path_that_only_gdal_knows_stays(tmp_path: Path) -> None:
    done = geoseg(
        "reclassify", "--input", "/vsizip/a.zip/b.tif", "--thresholds", "0.4",
        "--output", str(tmp_path / "c.tif"), "--print-job",
    )  # fmt: skip
    assert Job.from_json(json.loads(done.stdout)).source.uri == "/vsizip/a.zip/b.tif"


def test_job_without_output_is_refused() -> None:
    done = geoseg("reclassify", "--input", "a.tif", "--thresholds", "0.4")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Error: The job would write nothing.",
        "       Give --output or --polygons.",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "The job is not a JSON object."),
        ('{"kind": "dance"}', "There is no job called 'dance'."),
    ],
)
def test_unusable_job_files_are_explained(text: str, sentence: str) -> None:
    done = geoseg("run", "-", text=text)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_job_file_is_explained(tmp_path: Path) -> None:
    done = geoseg("run", str(tmp_path / "job.json"))
    assert done.returncode == 1
    assert "cannot be read" in done.stderr


@pytest.mark.slow
def test_models_are_listed() -> None:
    done = geoseg("models", "--json")
    assert done.returncode == 0, done.stderr
    names = {entry["name"]: entry for entry in json.loads(done.stdout)["models"]}
    assert "gumix" in names["gumix-paper"]["methods"]
    assert "gumix-paper" in geoseg("models").stdout


@pytest.mark.slow
def test_devices_are_listed() -> None:
    devices = json.loads(geoseg("devices", "--json").stdout)
    assert devices[-1]["device"] == "cpu"
    assert devices[-1]["total"] > devices[-1]["free"] > 0


def test_plain_output_gets_a_line_a_phase() -> None:
    stream = io.StringIO()
    reporter = TerminalReporter(stream)
    for index in range(100):
        reporter.progress(index / 200, "Tiles")
    reporter.progress(0.5, "Polygons")
    reporter.log("warning", "One tile failed.")
    reporter.fail(JobError(ErrorCode.DISK_FULL, "The disk is full.", "Free some space."))
    assert stream.getvalue().splitlines() == [
        "  0% Tiles",
        " 50% Polygons",
        "Warning: One tile failed.",
        "Error: The disk is full.",
        "       Free some space.",
    ]


def test_terminal_gets_a_bar_that_never_goes_back() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    reporter = TerminalReporter(stream)
    for fraction in (0.0, 0.5, 0.25, 1.0):
        reporter.progress(fraction, "Tiles")
    reporter.close()
    shown = [int(number) for number in re.findall(r"(\d+)%\|", stream.getvalue())]
    assert shown == sorted(shown)
    assert shown
    assert "Tiles" in stream.getvalue()


def test_result_becomes_a_table() -> None:
    classes = (
        ClassSummary(1, "building", "#ff0000", 1000, 0.25, 12345.6, 17),
        ClassSummary(12, "tree", "#00ff00", 3000, 0.75, 3.2, 0),
    )
    result = Result({"class_raster": "c.tif"}, {"tiles": 4.0}, classes)
    assert format_result(result).splitlines() == [
        "id  class     share  area m2  polygons",
        " 1  building  25.0%   12,346        17",
        "12  tree      75.0%        3         0",
        "tiles: 4",
        "class_raster: c.tif",
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C is a signal on POSIX")
def test_ctrl_c_cancels_and_writes_nothing(long_job: Job, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "geoseg_qgis.engine", "run", "-"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps(long_job.to_json()))
        process.stdin.close()
        process.stdin = None
        assert "%" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said.splitlines()[-1] == "Error: The run was cancelled."
    assert [path.name for path in tmp_path.iterdir()] == ["scores.tif"]


def test_evaluate_job_is_printed(tmp_path: Path) -> None:
    done = geoseg(
        "evaluate", "--input", "classes.tif", "--reference", "truth.gpkg",
        "--reference-field", "kind", "--mapping", "1 = roof", "--ignore", "none",
        "--boundary-tolerance", "1.5", "--boundary-unit", "metres", "--extent", "1", "2", "3", "4",
        "--report", str(tmp_path / "report.html"), "--print-job",
    )  # fmt: skip
    job = Job.from_json(json.loads(done.stdout))
    assert job.kind == "evaluate"
    assert job.task.result == RasterSource("classes.tif", "classes")
    assert job.grid.extent == Extent(1.0, 2.0, 3.0, 4.0)
    assert job.task.reference == VectorSource("truth.gpkg", name="truth")
    assert (job.task.reference_field, job.task.mapping, job.task.ignore) == (
        "kind",
        "1 = roof",
        "none",
    )
    assert (job.task.boundary_tolerance, job.task.boundary_unit.value) == (1.5, "metres")
    assert job.task.report == str(tmp_path / "report.html")


def test_evaluate_without_files_is_refused() -> None:
    done = geoseg("evaluate", "--input", "a.tif", "--reference", "b.tif")
    assert done.returncode == 1
    assert done.stderr.splitlines()[1].strip() == "Give --report or --table."
