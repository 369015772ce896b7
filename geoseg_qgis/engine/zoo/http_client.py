"""One request to the server of a model: https only, never waiting longer than it may.

The client is that of huggingface_hub (httpx2), which uses ``HTTPS_PROXY``, ``NO_PROXY`` and
``SSL_CERT_FILE``. It waits for each piece of an answer, however little that is; a server that sends
one byte every few seconds would hold it for ever. So a thread of its own reads the answer, and
whoever wants it stops waiting when the user cancels or a limit is passed.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from huggingface_hub import get_token

from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol import PLUGIN_VERSION

from .addresses import ADOPT_HINT, Address, unavailable
from .http_errors import InterruptionError, broken, proxy_refused

THREAD = "geoseg-download"
_MOST_REDIRECTS = 8
_POLL = 0.1
# Blocks that may wait to be written, of up to 64 KiB each.
_QUEUED = 32


@dataclass(frozen=True)
class TransferSettings:
    """Limits of a transfer.

    Attributes:
        attempts: Attempts in a row that may end without `progress` new bytes.
        first_wait: Seconds before the second attempt; doubled for each further one.
        silence: Seconds without a byte after which a connection counts as broken.
        answer: Seconds until an answer must have begun, redirects included.
        window: Seconds over which the speed is averaged.
        slowest: Bytes a second below which a connection counts as broken.
        longest: Seconds that one file may take.
        progress: Bytes that count as progress. With fewer, a server that breaks every connection
            could keep a transfer alive for ever.
        largest: Bytes of the largest file whose size neither card nor server state. Hugging Face
            stores no file above 50 GB for plain downloads.
    """

    attempts: int = 5
    first_wait: float = 1.0
    silence: float = 20.0
    answer: float = 60.0
    window: float = 60.0
    slowest: int = 1_000
    longest: float = 86_400.0
    progress: int = 1_000_000
    largest: int = 50_000_000_000


@dataclass(frozen=True)
class Answer:
    """A server's answer.

    Attributes:
        response: Status and headers.
        stated_sha256: SHA-256 that Hugging Face states for the file, or None.
        with_token: Whether the user's token was sent.
        blocks: The body as it arrives; raises like `ask`.
    """

    response: httpx2.Response
    stated_sha256: str | None
    with_token: bool
    blocks: Iterator[bytes]


@contextlib.contextmanager
def ask(
    address: Address, headers: Mapping[str, str], settings: TransferSettings, context: JobContext
) -> Iterator[Answer]:
    """Ask for a file and yield the answer; the connection is closed afterwards.

    The user's token is sent to Hugging Face only, never to where it redirects.

    Raises:
        InterruptionError: For what may pass.
        JobError: ``MODEL_MISSING`` for an address, certificate or proxy that cannot be used.
        CancelledError: When the user cancelled.
    """
    token = get_token() if address.on_hub else None
    sent = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
    try:
        client = httpx2.Client(
            timeout=settings.silence,
            headers={"User-Agent": f"geoseg/{PLUGIN_VERSION}", "Accept-Encoding": "identity"},
        )
        request = client.build_request("GET", address.url, headers=sent)
    except httpx2.InvalidURL as error:
        raise broken(error, address.url) from error
    except (ImportError, ValueError) as error:
        raise proxy_refused(str(error)) from error
    reader = _Reader(client, request)
    reader.start()
    try:
        response = reader.take(settings.answer, context)
        stated = reader.stated_sha256 if address.on_hub else None
        blocks = reader.blocks(settings.silence, context)
        yield Answer(response, stated, bool(token), blocks)
    finally:
        reader.stop()


class _Reader(threading.Thread):
    """Sends a request, follows redirects, and queues the response, its blocks and at last None.

    Args:
        client: Closed by `stop`.
        request: What is sent.
    """

    def __init__(self, client: httpx2.Client, request: httpx2.Request) -> None:
        super().__init__(name=THREAD, daemon=True)
        self.stated_sha256: str | None = None
        self._client = client
        self._request = request
        self._queue: queue.Queue[Any] = queue.Queue(_QUEUED)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Read until the end, an error, or `stop`."""
        try:
            response = self._follow_redirects()
            self._put(response)
            for block in response.iter_raw():
                self._put(block)
            self._put(None)
        except _StoppedError:
            pass
        except Exception as error:  # noqa: BLE001 - raised by take() in the other thread
            with contextlib.suppress(_StoppedError):
                self._put(broken(error, self._request.url.host))

    def take(self, seconds: float, context: JobContext) -> Any:
        """Return what was read next.

        Raises:
            InterruptionError: When nothing came in time.
            CancelledError: When the user cancelled.
            Exception: What reading raised.
        """
        until = time.monotonic() + seconds
        while True:
            context.check_cancelled()
            try:
                item = self._queue.get(timeout=_POLL)
            except queue.Empty:
                if time.monotonic() > until:
                    raise InterruptionError(f"{self._request.url.host} sends nothing") from None
                continue
            if isinstance(item, Exception):
                raise item
            return item

    def blocks(self, silence: float, context: JobContext) -> Iterator[bytes]:
        """Yield the body; each block must come within ``silence`` seconds."""
        while (block := self.take(silence, context)) is not None:
            yield block

    def stop(self) -> None:
        """Close the connection, whether or not all was read."""
        self._stopped.set()
        self._client.close()

    def _follow_redirects(self) -> httpx2.Response:
        hub = self._request.url.origin
        for _ in range(_MOST_REDIRECTS):
            host = self._request.url.host
            if self._request.url.scheme != "https":
                raise unavailable(
                    f"{host} was not asked, because the connection would not be encrypted.",
                    f"Correct the model's card, or {ADOPT_HINT}.",
                )
            # The bodies of redirects are not read, as they might never end.
            response = self._client.send(self._request, stream=True)
            if self._request.url.origin == hub:
                self.stated_sha256 = _sha256_of(response) or self.stated_sha256
            if response.next_request is None:
                return response
            response.close()
            # It has no Authorization header any more if it goes to another server.
            self._request = response.next_request
        raise unavailable(f"{host} redirects endlessly.", f"Try again later, or {ADOPT_HINT}.")

    def _put(self, item: Any) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=_POLL)
                return
        raise _StoppedError


class _StoppedError(Exception):
    """Nobody wants the answer any more."""


def _sha256_of(response: httpx2.Response) -> str | None:
    """Return the SHA-256 of a file in Git LFS, which Hugging Face states as its linked ETag."""
    digest: str = response.headers.get("x-linked-etag", "").strip('"')
    return digest if len(digest) == 64 and set(digest) <= set("0123456789abcdef") else None
