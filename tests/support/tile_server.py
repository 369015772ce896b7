"""A tile server for tests: tiles tell where they belong, and some can be refused."""

from __future__ import annotations

import struct
import threading
import zlib
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable


def png_tile(red: int, green: int, blue: int, size: int = 256) -> bytes:
    """Return a PNG of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = (b"\0" + bytes((red, green, blue)) * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    )


class TileServer(ThreadingHTTPServer):
    """Serves tiles whose colour tells their column and row unless `color` gives another.

    `refuse` decides which are missing.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TileHandler)
        self.requests: list[tuple[int, int, int]] = []
        self.sent = 0
        self.refuse: Callable[[int, int, int], bool] = lambda *_: False
        self.color: Callable[[int, int, int], tuple[int, int, int]] = lambda _zoom, column, row: (
            column % 256,
            row % 256,
            7,
        )
        self.delay = threading.Event()
        self.seconds = 0.0

    def source(self, largest_zoom: int = 18) -> str:
        """Return the data source of an XYZ layer."""
        # A path of its own for every server keeps the tile cache of the process out of play.
        address = f"http://127.0.0.1:{self.server_port}/{id(self)}"
        return f"type=xyz&url={address}/%7Bz%7D/%7Bx%7D/%7By%7D.png&zmin=0&zmax={largest_zoom}"


class _TileHandler(BaseHTTPRequestHandler):
    server: TileServer

    def do_GET(self) -> None:
        zoom, column, row = (int(part.split(".")[0]) for part in self.path.split("/")[-3:])
        self.server.requests.append((zoom, column, row))
        self.server.delay.wait(self.server.seconds)
        if self.server.refuse(zoom, column, row):
            self.send_error(404)
            return
        body = png_tile(*self.server.color(zoom, column, row))
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # A cancelled snapshot hangs up in the middle of a tile.
        with suppress(ConnectionError):
            self.wfile.write(body)
            self.server.sent += 1

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""
