"""An engine process that faults are tried on, and the jobs that it gets."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

ROOT = Path(__file__).parents[2]
# Seconds; an answer that takes longer counts as a failure.
PATIENCE = 60.0
CLASSES = [{"class_id": 1, "synonyms": ["building"], "color": "#c05050"}]


@dataclass
class Outcome:
    """What became of one kind of fault.

    Attributes:
        fault: Its name in the table.
        tried: How often it was tried.
        failures: One sentence for each time that something went wrong.
        skipped: Why it was not tried, empty when it was.
    """

    fault: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    skipped: str = ""

    def check(self, ok: bool, what: str) -> None:
        """Count one try."""
        self.tried += 1
        if not ok:
            self.failures.append(what)


class Engine:
    """An engine that serves on pipes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "geoseg_qgis.engine", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._number = 0

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def write(self, line: bytes) -> bool:
        """Send a line; return whether it could be sent."""
        stdin = self._process.stdin
        try:
            if stdin is not None:
                stdin.write(line + b"\n")
                stdin.flush()
        except OSError:
            return False
        return stdin is not None

    def call(self, method: str, params: Any) -> dict[str, Any] | None:
        """Return the answer to a request, None without one."""
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        if not self.write(json.dumps(message).encode()):
            return None
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                return None
            answer: dict[str, Any] = json.loads(line)
            if "method" not in answer and answer.get("id") == self._number:
                return answer

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """Yield an engine and end it."""
    process = Engine()
    try:
        yield process
    finally:
        process.close()


def write_picture(path: Path, side: int = 700) -> Path:
    """Write coloured squares as a GeoTIFF."""
    rough = np.random.default_rng(1).integers(20, 230, (3, -(-side // 10), -(-side // 10)))
    pixels = rough.astype(np.uint8).repeat(10, 1).repeat(10, 2)[:, :side, :side]
    with rasterio.open(
        path, "w", driver="GTiff", height=side, width=side, count=3, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.Affine(0.3, 0, 400000, 0, -0.3, 5000000),
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    return path


def make_job(picture: Path | str, folder: Path) -> dict[str, Any]:
    """Return a job with a class raster and polygons."""
    return {
        "kind": "openvocabulary",
        "source": {"uri": str(picture)},
        "task": {
            "classes": CLASSES,
            "class_raster": str(folder / "classes.tif"),
            "polygon_file": str(folder / "classes.gpkg"),
        },
        "method": "fast",
        "model": "offline-small",
        "device": "cpu",
    }


def start(
    job: dict[str, Any], folder: Path, limit: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    """Start the command line with a job.

    Args:
        job: The job.
        folder: Where its file is written.
        limit: Called in the child before it starts.
    """
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "geoseg_qgis.engine", "run", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=limit,  # noqa: PLW1509  no engine, and so no thread, runs beside it
    )


def pixels_of(path: Path) -> bytes | None:
    """Return the pixels of a raster, None when it cannot be read."""
    try:
        with rasterio.open(path) as dataset:
            content: bytes = dataset.read().tobytes()
            return content
    except (rasterio.errors.RasterioError, OSError):
        return None


def leftovers(folder: Path) -> list[str]:
    """Return the drafts and scratch files in a folder."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
