"""A package index on this computer, with small stand-ins for PyTorch."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Enough of torch for the checks of the set-up: a product of two matrices, on a device.
_TORCH = """
__version__ = {version!r}
_CARD, _FAULT = {card!r}, {fault!r}

class _Matrix:
    def __init__(self, rows):
        self.rows = rows
    def reshape(self, height, width):
        flat = [value for row in self.rows for value in row]
        return _Matrix([flat[at * width:(at + 1) * width] for at in range(height)])
    @property
    def T(self):
        return _Matrix([list(column) for column in zip(*self.rows)])
    def __matmul__(self, other):
        columns = other.T.rows
        return _Matrix([[sum(a * b for a, b in zip(row, column)) for column in columns]
                        for row in self.rows])
    def tolist(self):
        return self.rows

def arange(count, device="cpu"):
    if device == "cuda" and _FAULT:
        raise RuntimeError(_FAULT)
    return _Matrix([[float(value) for value in range(int(count))]])

class cuda:
    is_available = staticmethod(lambda: bool(_CARD))
    get_device_name = staticmethod(lambda index: _CARD)

class backends:
    pass
"""


def make_wheel(name: str, version: str, source: str, requires: tuple[str, ...] = ()) -> bytes:
    """Return a wheel of one module."""
    stem = name.replace("-", "_")
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {each}\n" for each in requires)
    folder = f"{stem}-{version}.dist-info"
    members = {
        f"{stem}/__init__.py": source,
        f"{folder}/METADATA": metadata,
        f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = ""
    for path, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        record += f"{path},sha256={digest.rstrip('=')},{len(text.encode())}\n"
    members[f"{folder}/RECORD"] = f"{record}{folder}/RECORD,,\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return stream.getvalue()


def torch_wheel(
    version: str, local: str, card: str = "", fault: str = "", requires: tuple[str, ...] = ()
) -> bytes:
    """Return a stand-in for torch.

    Args:
        version: Version of the package.
        local: What ``torch.__version__`` says.
        card: Graphics card that it finds.
        fault: Message of the error that computing on the card raises.
        requires: Further packages that it needs.
    """
    return make_wheel("torch", version, _TORCH.format(version=local, card=card, fault=fault),
                      requires)  # fmt: skip


@dataclass
class PackageServer:
    """Indexes by folder, each with wheels by file name.

    Attributes:
        folders: Wheels of each index, such as ``whl/cpu`` or ``simple``.
        with_digests: Whether the pages state the SHA-256 of each wheel.
        withheld: Names of wheels that are listed but cannot be downloaded.
        asked: Paths that were asked for.
    """

    folders: dict[str, dict[str, bytes]] = field(default_factory=dict)
    with_digests: bool = True
    withheld: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    address: str = ""
    _server: ThreadingHTTPServer | None = None

    def add(self, folder: str, name: str, version: str, wheel: bytes) -> str:
        """Offer a wheel and return its requirement with its hash."""
        file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        self.folders.setdefault(folder, {})[file] = wheel
        return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(wheel).hexdigest()}\n"

    def start(self) -> None:
        """Listen on a free port."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = outer.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                kind = "text/html" if self.path.endswith("/") else "application/octet-stream"
                self.send_header("Content-Type", kind)
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def do_HEAD(self) -> None:
                status, body = outer.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a page of links or a wheel."""
        self.asked.append(path)
        folder, _, last = path.strip("/").rpartition("/")
        if not path.endswith("/"):
            wheel = self.folders.get(folder, {}).get(last)
            gone = wheel is None or last in self.withheld
            return (404, b"") if gone or wheel is None else (200, wheel)
        links = ""
        for file, wheel in self.folders.get(folder, {}).items():
            if file.partition("-")[0].replace("_", "-") == last:
                digest = f"#sha256={hashlib.sha256(wheel).hexdigest()}" * self.with_digests
                links += f'<a href="/{folder}/{file}{digest}">{file}</a>\n'
        return (200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode()) if links else (
            404, b"")  # fmt: skip
