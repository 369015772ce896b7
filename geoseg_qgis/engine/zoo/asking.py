"""Asking a server for a file: TLS, proxy and account of the user, redirects followed with care."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx2
from huggingface_hub import get_token

from geoseg_qgis.protocol import PLUGIN_VERSION
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .addresses import ADOPT_HINT, Address
from .refusals import broken, proxy_refused

_MOST_REDIRECTS = 8
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class TransferSettings:
    """How patient transfers are.

    Attributes:
        attempts: Tries in a row that may end without a megabyte of new bytes.
        first_wait: Seconds before the second try; doubled for each further one.
        timeout: Seconds without a byte after which the line counts as broken.
        allow_plain_http: Whether this computer itself may be asked without TLS.
    """

    attempts: int = 5
    first_wait: float = 1.0
    timeout: float = 20.0
    allow_plain_http: bool = False


@dataclass(frozen=True)
class Answer:
    """What a server answers.

    Attributes:
        response: The last answer, its body unread.
        stated_sha256: SHA-256 that the Hugging Face server states for the file, or None.
        account_named: Whether the user's account was named.
    """

    response: httpx2.Response
    stated_sha256: str | None
    account_named: bool


def open_client(settings: TransferSettings) -> httpx2.Client:
    """Return a client that heeds HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.

    Raises:
        JobError: ``MODEL_MISSING`` for a proxy of a kind that cannot be used.
    """
    try:
        return httpx2.Client(
            timeout=httpx2.Timeout(settings.timeout),
            headers={"User-Agent": f"geoseg/{PLUGIN_VERSION}", "Accept-Encoding": "identity"},
            follow_redirects=False,
        )
    except (ImportError, ValueError) as error:
        raise proxy_refused(str(error)) from error


@contextlib.contextmanager
def asked(
    client: httpx2.Client,
    address: Address,
    headers: Mapping[str, str],
    settings: TransferSettings,
) -> Iterator[Answer]:
    """Ask for a file and give the answer; it is closed afterwards.

    The account is named to the Hugging Face server alone, never to where it redirects.

    Raises:
        InterruptionError: For what may pass.
        JobError: ``MODEL_MISSING`` for an address, certificate or proxy that cannot be used.
    """
    url = httpx2.URL(address.url)
    try:
        response, stated, named = _follow(client, url, address, headers, settings)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise broken(error, url.host) from error
    try:
        yield Answer(response, stated, named)
    finally:
        response.close()


def _follow(
    client: httpx2.Client,
    url: httpx2.URL,
    address: Address,
    headers: Mapping[str, str],
    settings: TransferSettings,
) -> tuple[httpx2.Response, str | None, bool]:
    home = _origin(url)
    bearer = get_token() if address.on_hub else None
    stated: str | None = None
    for _ in range(_MOST_REDIRECTS):
        _require_safe(url, settings)
        sent = dict(headers)
        if bearer and _origin(url) == home:
            sent["Authorization"] = f"Bearer {bearer}"
        response = client.send(client.build_request("GET", url, headers=sent), stream=True)
        if address.on_hub and _origin(url) == home:
            stated = _sha256(response.headers.get("x-linked-etag", "")) or stated
        if not response.has_redirect_location:
            return response, stated, bool(bearer)
        url = url.join(response.headers["location"])
        response.close()
    raise JobError(
        ErrorCode.MODEL_MISSING,
        f"{url.host} redirects in circles.",
        f"Try again later, or {ADOPT_HINT}.",
    )


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _require_safe(url: httpx2.URL, settings: TransferSettings) -> None:
    loopback = settings.allow_plain_http and url.scheme == "http" and url.host in _LOOPBACK
    if url.scheme != "https" and not loopback:
        raise JobError(
            ErrorCode.MODEL_MISSING,
            f"{url.host} is not asked, because it would answer without encryption.",
            f"Correct the model's card, or {ADOPT_HINT}.",
        )


def _sha256(value: str) -> str | None:
    digest = value.strip('"')
    fits = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    return digest if fits else None
