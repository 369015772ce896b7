"""One request to the server of a model: https only, never waiting longer than it may.

The client is that of huggingface_hub (httpx2), which uses ``HTTPS_PROXY``, ``NO_PROXY`` and
``SSL_CERT_FILE``. It waits for each piece of a response, however small; a server that sends one
byte every few seconds would hold it for ever. So it is awaited asynchronously, and the waiting ends
when the user cancels or a limit is passed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
from huggingface_hub import get_token

from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol import PLUGIN_VERSION
from geoseg_qgis.protocol.errors import CancelledError

from .addresses import ADOPT_HINT, Address, unavailable
from .http_errors import InterruptionError, broken, proxy_refused

_MOST_REDIRECTS = 8
_POLL = 0.1

T = TypeVar("T")


@dataclass(frozen=True)
class TransferSettings:
    """Limits of a transfer.

    Attributes:
        attempts: Attempts in a row that may end without `minimum_progress`.
        first_wait: Seconds before the second attempt; doubled for each further one.
        silence_timeout: Seconds without a byte after which a connection counts as broken.
        response_timeout: Seconds until a response must have begun, redirects included.
        rate_window: Seconds over which the rate is averaged.
        minimum_rate: Bytes a second below which a connection counts as broken.
        total_timeout: Seconds that one file may take.
        minimum_progress: Bytes that count as progress. With fewer, a server that breaks every
            connection could keep a transfer alive for ever.
        maximum_size: Bytes of the largest file whose size neither card nor server state. Hugging
            Face offers no file above 50 GB for plain downloads.
    """

    attempts: int = 5
    first_wait: float = 1.0
    silence_timeout: float = 20.0
    response_timeout: float = 60.0
    rate_window: float = 60.0
    minimum_rate: int = 1_000
    total_timeout: float = 86_400.0
    minimum_progress: int = 1_000_000
    maximum_size: int = 50_000_000_000


@dataclass(frozen=True)
class FileResponse:
    """A server's response to the request for a file.

    Attributes:
        response: Status, headers, and the body, yet to be read.
        stated_sha256: SHA-256 that Hugging Face states for the file, or None.
        commit: Commit of the repository that Hugging Face states, or None.
        with_token: Whether the user's token was sent.
    """

    response: httpx2.Response
    stated_sha256: str | None
    commit: str | None
    with_token: bool


def run_cancellable(work: Coroutine[Any, Any, T], context: JobContext) -> T:
    """Return what ``work`` returns; a cancel stops it wherever it waits.

    Raises:
        CancelledError: When the user cancelled.
    """

    async def watched() -> T:
        task = asyncio.ensure_future(work)
        while not (await asyncio.wait([task], timeout=_POLL))[0]:
            if context.is_cancelled():
                task.cancel()
        if task.cancelled():
            raise CancelledError
        return task.result()

    # Unlike asyncio.run, this does not wait for a host name lookup that hangs.
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(watched())
    finally:
        loop.close()


@contextlib.asynccontextmanager
async def request_file(
    address: Address, headers: Mapping[str, str], settings: TransferSettings
) -> AsyncIterator[FileResponse]:
    """Request a file and yield the response; the connection is closed afterwards.

    The user's token is sent to Hugging Face only, never to where it redirects.

    Raises:
        InterruptionError: For what may pass.
        JobError: ``MODEL_MISSING`` for an address, certificate or proxy that cannot be used.
    """
    token = get_token() if address.on_hub else None
    sent = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
    try:
        client = httpx2.AsyncClient(
            timeout=settings.silence_timeout,
            headers={"User-Agent": f"geoseg/{PLUGIN_VERSION}", "Accept-Encoding": "identity"},
        )
    except (ImportError, ValueError) as error:
        raise proxy_refused(str(error)) from error
    host = address.url
    try:
        async with client:
            request = client.build_request("GET", address.url, headers=sent)
            host = request.url.host
            following = _follow_redirects(client, request)
            response, *stated = await asyncio.wait_for(following, settings.response_timeout)
            sha256, commit = stated if address.on_hub else (None, None)
            yield FileResponse(response, sha256, commit, bool(token))
    except asyncio.TimeoutError:
        raise InterruptionError(f"{host} sends nothing") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise broken(error, host) from error


async def _follow_redirects(
    client: httpx2.AsyncClient, request: httpx2.Request
) -> tuple[httpx2.Response, str | None, str | None]:
    """Return the final response, and the SHA-256 and the commit that the first server states."""
    first, stated, commit = request.url.origin, None, None
    for _ in range(_MOST_REDIRECTS):
        host = request.url.host
        if request.url.scheme != "https":
            raise unavailable(
                f"{host} was not contacted, because the connection would not be encrypted.",
                f"Correct the model's card, or {ADOPT_HINT}.",
            )
        # The bodies of redirects are not read, as they might never end.
        response = await client.send(request, stream=True)
        if request.url.origin == first:
            stated = _sha256_of(response) or stated
            commit = _commit_of(response) or commit
        if response.next_request is None:
            return response, stated, commit
        await response.aclose()
        # It has no Authorization header any more if it goes to another server.
        request = response.next_request
    raise unavailable(f"{host} redirects endlessly.", f"Try again later, or {ADOPT_HINT}.")


def _sha256_of(response: httpx2.Response) -> str | None:
    """Return the SHA-256 of a file in Git LFS, which Hugging Face states as its linked ETag."""
    digest: str = response.headers.get("x-linked-etag", "").strip('"')
    return digest if _is_hexadecimal(digest, 64) else None


def _commit_of(response: httpx2.Response) -> str | None:
    """Return the commit that Hugging Face resolved the address to."""
    commit: str = response.headers.get("x-repo-commit", "")
    return commit if _is_hexadecimal(commit, 40) else None


def _is_hexadecimal(text: str, count: int) -> bool:
    return len(text) == count and set(text) <= set("0123456789abcdef")
