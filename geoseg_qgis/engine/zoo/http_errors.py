"""From what a server or the network said to one sentence on what happened and one on what to do."""

from __future__ import annotations

import ssl

import httpx2

from geoseg_qgis.protocol.errors import JobError

from .addresses import ADOPT_HINT, Address, unavailable

_LOGIN = (
    "enter an access token of your account in the GeoSeg options, or set the variable HF_TOKEN, "
    "and start again"
)


class InterruptionError(Exception):
    """A transfer ended early in a way that may pass: another attempt can continue from there.

    Args:
        reason: What happened, in words that follow "because".
        wait: Seconds that the server asks to wait, if it does.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


def refused(response: httpx2.Response, address: Address, file: str, with_token: bool) -> Exception:
    """Return what to raise for a status other than success.

    Args:
        response: The response, its body unread.
        address: What was asked for.
        file: How messages name the file.
        with_token: Whether the user's access token was sent.
    """
    status, host = response.status_code, response.url.host
    if status in (408, 429) or status >= 500:
        value = response.headers.get("retry-after", "")
        wait = float(value) if value.isdecimal() else None
        return InterruptionError(f"{host} responds with status {status}", wait)
    if status == 407:
        return proxy_refused(f"status {status}")
    if status in (401, 403):
        return _no_access(response, address, file, with_token)
    if status in (404, 410):
        return unavailable(f"{host} has no {file} (status {status}).", _moved(address))
    return unavailable(
        f"{host} does not send {file} (status {status}).", f"Try again later, or {ADOPT_HINT}."
    )


def _moved(address: Address) -> str:
    return f"It may have moved: look at {address.page}. If it is there, {ADOPT_HINT}."


def _no_access(
    response: httpx2.Response, address: Address, file: str, with_token: bool
) -> JobError:
    status, host = response.status_code, response.url.host
    reason = response.headers.get("x-error-code", "")
    if not address.on_hub:
        return unavailable(
            f"{host} gives you no access to {file} (status {status}).",
            f"See {address.page} for what access requires, or {ADOPT_HINT}.",
        )
    if reason == "RepoNotFound":
        message = f"{host} has no {file}, or keeps it private (status {status})."
        return unavailable(message, _moved(address))
    if with_token and status == 401 and reason != "GatedRepo":
        return unavailable(
            f"{host} does not accept the access token that was sent.",
            f"Make a new one: {_LOGIN}.",
        )
    step = "and make sure that your token may read it" if with_token else f"then {_LOGIN}"
    return unavailable(
        f"{file} is available only after access was granted (status {status}).",
        f"Visit {address.page} and ask for access or accept the terms, {step}; or {ADOPT_HINT}.",
    )


def broken(error: Exception, host: str) -> Exception:
    """Return what to raise for an error of the connection, the proxy or the certificate."""
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return unavailable(
            f"{host} names an address that cannot be used: {error}.",
            f"Correct the model's card, or {ADOPT_HINT}.",
        )
    if isinstance(error, httpx2.ProxyError):
        return proxy_refused(str(error))
    if _is_certificate(error):
        return unavailable(
            f"{host} was refused because its certificate is not trusted.",
            "Point SSL_CERT_FILE to the certificate of your organisation, and check the date of "
            "this computer.",
            str(error),
        )
    if not isinstance(error, httpx2.HTTPError):
        return error
    reason = f"the connection to {host} broke"
    if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError):
        reason = f"{host} cannot be reached"
    elif isinstance(error, httpx2.TimeoutException):
        reason = f"{host} sends nothing"
    return InterruptionError(reason)


def proxy_refused(detail: str) -> JobError:
    """Return the error for a proxy that cannot be used."""
    return unavailable(
        "The proxy could not be used to reach the server of the model.",
        "Check the proxy in QGIS under Settings, Options, Network, or HTTPS_PROXY with its user "
        "name and password.",
        detail,
    )


def given_up(reason: str, file: str, kept: int) -> JobError:
    """Return the error after the last attempt.

    Args:
        reason: Why it ended, in words that follow "because".
        file: What was downloaded.
        kept: Bytes that are kept for the next call.
    """
    rest = "What arrived so far is kept: run again to continue" if kept else "Run again later"
    return unavailable(
        f"{file} could not be downloaded, because {reason}.",
        f"Check the network connection and the proxy. {rest}, or {ADOPT_HINT}.",
    )


def _is_certificate(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
