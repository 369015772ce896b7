"""A server on this computer that sends files as good, bad and lying servers do."""

from __future__ import annotations

import re
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Offer:
    """How one path is answered.

    Attributes:
        content: The file.
        status: Status of a refusal; 200 sends the file.
        failures: How many requests get status 503 first.
        break_after: Bytes after which the connection breaks, once for each entry.
        length: What ``Content-Length`` says in place of the truth.
        ranges: Whether ``Range`` is respected.
        shift: Bytes by which a range begins elsewhere than asked for.
        etag: Validator; empty sends none.
        headers: Further headers of every response, or others in place of the usual ones.
        location: Where to redirect.
        pause: Called between two blocks of the body.
        drip: Called between two bytes of a header that goes on until it returns False.
        endless: Whether the body is repeated without end and without a ``Content-Length``.
        partial: Whether the file is sent as a range that nobody asked for.
    """

    content: bytes = b""
    status: int = 200
    failures: int = 0
    break_after: list[int] = field(default_factory=list)
    length: int | None = None
    ranges: bool = True
    shift: int = 0
    etag: str = '"one"'
    headers: dict[str, str] = field(default_factory=dict)
    location: str = ""
    pause: Callable[[], object] | None = None
    drip: Callable[[], bool] | None = None
    endless: bool = False
    partial: bool = False


@dataclass
class Asked:
    """One request: path and headers in lower case."""

    path: str
    headers: dict[str, str]


class ModelServer(ThreadingHTTPServer):
    """Serves `offers` by path and remembers what it was asked.

    Attributes:
        tunnel: Server that it reaches as a proxy; a proxy without one lets nobody through.
    """

    daemon_threads = True
    tunnel: ModelServer | None = None

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.offers: dict[str, Offer] = {}
        self.asked: list[Asked] = []
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
            self.scheme = "https"

    def __enter__(self) -> ModelServer:
        """Serve in a thread."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop."""
        self.shutdown()
        self.server_close()

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"{self.scheme}://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are part of the tests."""


def write_certificate(folder: Path) -> Path:
    """Return a file with a key and a certificate for 127.0.0.1, which nobody trusts by itself."""
    key, chain, both = (folder / name for name in ("key.pem", "chain.pem", "both.pem"))
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
            "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(chain),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    both.write_bytes(key.read_bytes() + chain.read_bytes())
    return both


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ModelServer

    def do_GET(self) -> None:
        """Send, refuse or redirect."""
        path = self.path
        if "://" in path:
            path = "/" + path.split("/", 3)[3]
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append(Asked(self.path, headers))
        offer = self.server.offers.get(path, Offer(status=404))
        self.close_connection = True
        if offer.drip is not None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while offer.drip():
                self.wfile.write(b"x")
            return
        if offer.failures > 0:
            offer.failures -= 1
            self._refuse(503, offer)
        elif offer.location:
            self._refuse(302, offer, {"Location": offer.location})
        elif offer.status != 200:
            self._refuse(offer.status, offer)
        else:
            self._hand_out(offer, headers)

    def do_CONNECT(self) -> None:
        """Be a proxy, to the `tunnel` whatever the address."""
        self.server.asked.append(Asked(self.path, {}))
        self.close_connection = True
        if self.server.tunnel is None:
            self._refuse(403, Offer())
            return
        with socket.create_connection(("127.0.0.1", self.server.tunnel.server_port)) as far:
            self.send_response(200)
            self.end_headers()
            other = {self.connection: far, far: self.connection}
            while ready := select.select(list(other), [], [], 30.0)[0]:
                data = ready[0].recv(65536)
                if not data:
                    break
                other[ready[0]].sendall(data)

    def _refuse(self, status: int, offer: Offer, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        length = {} if offer.endless else {"Content-Length": "0"}
        for name, value in {**offer.headers, **(more or {}), **length}.items():
            self.send_header(name, value)
        self.end_headers()
        while offer.endless:
            self._send(offer.content, offer)

    def _hand_out(self, offer: Offer, headers: dict[str, str]) -> None:
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        same = headers.get("if-range", offer.etag) == offer.etag
        if wanted and offer.ranges and same:
            start = int(wanted[1]) + offer.shift
            if start >= len(offer.content):
                self._refuse(416, offer)
                return
        body = offer.content[start:]
        self.send_response(206 if start or offer.partial else 200)
        total, length = len(offer.content), len(body) if offer.length is None else offer.length
        sent = {"ETag": offer.etag} if offer.etag else {}
        if start:
            sent["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        if not offer.endless:
            sent["Content-Length"] = str(length)
        for name, value in {**sent, **offer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self._send(body, offer)
        while offer.endless:
            self._send(body, offer)

    def _send(self, body: bytes, offer: Offer) -> None:
        stop = offer.break_after.pop(0) if offer.break_after else len(body)
        block = 4096
        for first in range(0, min(stop, len(body)), block):
            self.wfile.write(body[first : min(first + block, stop)])
            if offer.pause is not None:
                self.wfile.flush()
                offer.pause()
        self.wfile.flush()

    def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002
        """Say nothing."""
