"""What users wait for: the start of the engine, a round trip, and whole segmentations."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.outline import measure_clicks
from geoseg_qgis.engine_client import EngineClient, EngineLocation
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask
from training.scenes import write_scene

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
SIDE = 1024
LARGE_SIDE = 2048
METHODS = ("fast", "mask_selection", "gumix")
CLASSES = "building, roof, house; road; tree, forest; water"


def main() -> int:
    """Print one line for each measurement, in seconds."""
    starts, imports, trips = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            client = EngineClient(EngineLocation(sys.executable, "setting"), Path(folder) / "log")
            try:
                starts.append(elapsed(client.start))
                imports.append(elapsed(client.status))
                trips += [elapsed(client.status) for _ in range(20)]
            finally:
                client.close()
    for name, seconds in (("start", starts), ("first status", imports), ("status", trips)):
        middle, low, high = statistics.median(seconds), min(seconds), max(seconds)
        sys.stdout.write(f"{name:14}{middle:9.4f} s  ({low:.4f} to {high:.4f})\n")
    measure_clicks()
    measure_segmentation()
    measure_whole_runs()
    return 0


def measure_segmentation() -> None:
    """Print how long each method takes on a generated scene, networks loaded."""
    with tempfile.TemporaryDirectory() as folder:
        image = write_scene(Path(folder) / "scene.tif", seed=7, size=SIDE)
        client = EngineClient(EngineLocation(sys.executable, "setting"), Path(folder) / "log")
        try:
            client.run(segmentation(image, "gumix"))
            for method in METHODS:
                job = segmentation(image, method)
                seconds = elapsed(partial(client.run, job))
                sys.stdout.write(f"{method:14}{seconds:9.2f} s  ({SIDE} x {SIDE} pixels)\n")
        finally:
            client.close()


def measure_whole_runs() -> None:
    """Print time and memory of each method as a command of its own, start included."""
    with tempfile.TemporaryDirectory() as folder:
        image = write_scene(Path(folder) / "scene.tif", seed=7, size=LARGE_SIDE)
        for method in METHODS:
            command = [sys.executable, "-m", "geoseg_qgis.engine", "openvocabulary"]
            command += ["--input", str(image), "--classes", CLASSES, "--method", method]
            command += ["--output", str(image.with_name(f"{method}.tif"))]
            started = time.perf_counter()
            process = subprocess.Popen(  # noqa: S603
                command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            memory = peak_memory(process)
            seconds = time.perf_counter() - started
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, command)
            size = f"{LARGE_SIDE} x {LARGE_SIDE} pixels, {memory}"
            sys.stdout.write(f"{method:14}{seconds:9.2f} s  ({size})\n")


def peak_memory(process: subprocess.Popen[bytes]) -> str:
    """Wait for a process and return its peak memory, where the system reports it."""
    if sys.platform != "linux":
        process.wait()
        return "memory not measured"
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return f"{usage.ru_maxrss / 1024**2:.2f} GiB"


def segmentation(image: Path, method: str) -> Job:
    """Return a job that writes a class raster and polygons beside the image."""
    task = OpenVocabularyTask(
        parse_classes(CLASSES),
        class_raster=str(image.with_name("classes.tif")),
        polygon_file=str(image.with_name("polygons.gpkg")),
    )
    return Job(RasterSource(str(image)), task, method=method)


def elapsed(action: Callable[[], object]) -> float:
    """Return the seconds that ``action`` takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
