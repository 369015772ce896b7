"""A whole job on a raster from a server that wants a key: the key is sent, and written nowhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask

pytestmark = pytest.mark.slow
WORD = "q7Zx2mK9vT4b"


# GDAL holds Python's lock while it reads, so the server needs a process of its own.
_SERVER = """
import re, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
content, log, word = open(sys.argv[1], "rb").read(), open(sys.argv[2], "a"), sys.argv[3]

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        header = self.headers.get("Authorization", "")
        log.write(self.path + " " + header + chr(10))
        log.flush()
        fine = word in self.path + header and "ortho.tif" in self.path
        body, status = (content, 200) if fine else (b"", 404)
        found = re.fullmatch(r"bytes=([0-9]+)-([0-9]+)", self.headers.get("Range", ""))
        self.send_response(206 if fine and found else status)
        if fine and found:
            first, last = int(found[1]), min(int(found[2]), len(content) - 1)
            body = content[first : last + 1]
            self.send_header("Content-Range", "bytes %d-%d/%d" % (first, last, len(content)))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class FileServer:
    """Hands out one file, whole or in ranges, to those who name the word.

    Attributes:
        address: Address of the file.
        log: File with the path and the ``Authorization`` header of each request.
    """

    address: str
    log: Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    path = tmp_path / "hidden" / "ortho.tif"
    path.parent.mkdir()
    rng = np.random.default_rng(3)
    pixels = rng.integers(20, 230, (3, 8, 8), dtype=np.uint8).repeat(12, axis=1).repeat(12, axis=2)
    profile = {"driver": "GTiff", "height": 96, "width": 96, "count": 3, "dtype": "uint8"}
    transform = rasterio.Affine(0.3, 0, 400000, 0, -0.3, 5000000)
    with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, **profile) as dataset:
        dataset.write(pixels)
    log = tmp_path / "requests.txt"
    command = [sys.executable, "-c", _SERVER, str(path), str(log), WORD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        yield FileServer(f"http://127.0.0.1:{port}/ortho.tif", log)
        process.kill()


def run(uri: str, preset: Path, folder: Path) -> tuple[str, list[str]]:
    """Map the raster; return everything that was written, and what was said."""
    results = folder / "results"
    results.mkdir()
    task = OpenVocabularyTask(
        parse_classes("building; water"),
        scores=str(results / "scores.tif"),
        class_raster=str(results / "classes.tif"),
        polygon_file=str(results / "polygons.gpkg"),
    )
    said: list[str] = []
    context = JobContext(lambda _, phase: said.append(phase), lambda _, text: said.append(text))
    job = Job(RasterSource(uri), task, method="fast", model=str(preset), device="cpu")
    result = run_job(job, context)
    with rasterio.open(task.class_raster or "") as classes:
        assert classes.read(1).shape == (96, 96)
    said += [str(result.to_json())]
    written = b"".join(path.read_bytes() for path in results.rglob("*") if path.is_file())
    return written.decode("latin-1"), said


@pytest.mark.parametrize(
    "form",
    [
        "/vsicurl/{0}?api_key={1}",
        "/vsicurl/{0}?X-Amz-Signature={1}&X-Amz-Date=20261201",
    ],
)
def test_key_is_sent_and_written_nowhere(
    form: str, server: FileServer, tiny_preset: Path, tmp_path: Path
) -> None:
    written, said = run(form.format(server.address, WORD), tiny_preset, tmp_path)
    assert WORD in server.log.read_text(encoding="utf-8")
    assert "ortho.tif" in written
    assert "***" in written
    assert WORD not in written
    assert WORD not in "\n".join(said)


def test_errors_do_not_tell_the_key(server: FileServer, tiny_preset: Path, tmp_path: Path) -> None:
    gone = server.address.replace("ortho", "gone")
    with pytest.raises(JobError) as caught:
        run(f"/vsicurl/{gone}?api_key={WORD}", tiny_preset, tmp_path)
    assert "gone.tif?api_key=***" in caught.value.message
    assert WORD not in str(caught.value.to_json())
