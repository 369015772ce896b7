"""How long a click takes until its outline is there: median and 95th percentile.

Processor time of the engine is printed as well; it says more on a machine that others use, too.
"""

from __future__ import annotations

import os
import queue
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rasterio

from geoseg_qgis.engine_client import Answer, EngineClient, EngineLocation, OutlineClient
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.outline import OutlineRequest, Place, Prompt, PromptKind
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask
from training.scenes import write_scene

SIDE = 2048
CLICKS = 40
PLACES = 6
MOST_POINTS = 4
# Seconds in which a person looks at an outline, rather short ones.
_LOOK = 0.6
# Pixels around the middle of a place, which one encoded tile serves.
_REACH = 100
_LIMIT = 300.0


@dataclass(frozen=True)
class Taken:
    """What a request took.

    Attributes:
        wall: Seconds until the answer.
        processor: Seconds of the engine on all cores; 0 where the system does not say.
    """

    wall: float
    processor: float


class Clicks:
    """A client that waits for its answers.

    Args:
        image: Where to click.
        folder: Folder of the log.
    """

    def __init__(self, image: Path, folder: Path) -> None:
        self._answers: queue.Queue[Answer] = queue.Queue()
        location = EngineLocation(sys.executable, "setting")
        log = folder / "outlines.log"
        self._client = OutlineClient(location, self._answers.put, log_file=log)
        self._source = RasterSource(str(image), stretch=Stretch(StretchKind.NONE))
        with rasterio.open(image) as dataset:
            self._transform = dataset.transform

    def click(self, *pixels: tuple[float, float]) -> Taken:
        """Click on pixels, the first of which is the place, and wait for the outline."""
        request = self._request(pixels)
        return self._measured(lambda: self._client.outline(lambda: request))

    def prepare(self) -> Taken:
        """Have the engine started and the model loaded."""
        return self._measured(lambda: self._client.prepare(OutlineRequest))

    def close(self) -> None:
        """End the engine."""
        self._client.close()

    def _request(self, pixels: tuple[tuple[float, float], ...]) -> OutlineRequest:
        places = [self._transform * pixel for pixel in pixels]
        prompts = tuple(Prompt(PromptKind.POINT, (place,)) for place in places)
        return OutlineRequest(Place(self._source, *places[0]), prompts)

    def _measured(self, ask: Callable[[], int]) -> Taken:
        before, started = self._processor_time(), time.perf_counter()
        ask()
        answer = self._answers.get(timeout=_LIMIT)
        wall = time.perf_counter() - started
        if answer.error is not None:
            raise answer.error
        return Taken(wall, self._processor_time() - before)

    def _processor_time(self) -> float:
        pid = self._client.pid
        if pid is None or sys.platform != "linux":
            return 0.0
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_clicks() -> None:
    """Print how long clicks take on a generated scene with the built-in model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = write_scene(folder / "scene.tif", seed=7, size=SIDE)
        clicks = Clicks(image, folder)
        try:
            show("click, tool chosen", [clicks.prepare()])
            places = [(384 + 256 * n, 640) for n in range(PLACES)]
            show("click, new place", [clicks.click(place) for place in places])
            show("click, same place", list(same_place(clicks, places)))
            show("click, next point", list(next_points(clicks, places[-1])))
            with a_job(image, folder):
                show("click, job runs", list(same_place(clicks, places, seed=4)))
                show("new place, job", [clicks.click((x, 1408)) for x, _ in places])
        finally:
            clicks.close()


def same_place(clicks: Clicks, places: list[tuple[int, int]], seed: int = 3) -> Iterator[Taken]:
    """Yield the times of clicks on places that are encoded, each seen for a moment before."""
    chance = random.Random(seed)  # noqa: S311  places, no secret
    for number in range(CLICKS):
        x, y = places[number * len(places) // CLICKS]
        time.sleep(_LOOK)
        yield clicks.click(
            (x + chance.uniform(-_REACH, _REACH), y + chance.uniform(-_REACH, _REACH))
        )


def next_points(clicks: Clicks, place: tuple[int, int]) -> Iterator[Taken]:
    """Yield the times of further points on the same object."""
    for shift in range(5):
        points = [(place[0] + 4.0 * shift, float(place[1]))]
        clicks.click(*points)
        for step in range(1, MOST_POINTS):
            points.append((points[0][0], points[0][1] + 6.0 * step))
            yield clicks.click(*points)


@contextmanager
def a_job(image: Path, folder: Path) -> Iterator[None]:
    """Have an engine of its own map the scene again and again meanwhile."""
    client = EngineClient(EngineLocation(sys.executable, "setting"), folder / "jobs.log")
    begun, stopped = threading.Event(), threading.Event()
    task = OpenVocabularyTask(
        parse_classes("building; road; tree; water"), class_raster=str(folder / "classes.tif")
    )
    source = RasterSource(str(image), stretch=Stretch(StretchKind.NONE))
    job = Job(source, task, method="mask_selection")

    def work() -> None:
        while not stopped.is_set():
            try:
                client.run(job, lambda *_: begun.set(), is_cancelled=stopped.is_set)
            except Exception as error:  # noqa: BLE001  a cancelled job is none to report
                if not stopped.is_set():
                    sys.stdout.write(f"The job failed: {error}\n")
                    begun.set()
                    return

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(_LIMIT)
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        client.close()


def show(name: str, taken: list[Taken]) -> None:
    """Print median and 95th percentile of both times."""
    wall, processor = ([getattr(item, part) for item in taken] for part in ("wall", "processor"))
    sys.stdout.write(
        f"{name:20}{statistics.median(wall):9.4f} s  (p95 {late(wall):.4f}, {len(wall)} times; "
        f"processor {statistics.median(processor):.2f}, p95 {late(processor):.2f})\n"
    )
    sys.stdout.flush()


def late(values: list[float]) -> float:
    """Return the 95th percentile."""
    return sorted(values)[min(round(0.95 * len(values)), len(values) - 1)]


if __name__ == "__main__":
    measure_clicks()
