"""From what a server or the network said to one sentence, and one on what to do."""

from __future__ import annotations

import ssl

import httpx2

from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .addresses import ADOPT_HINT, Address

_MISSING = ErrorCode.MODEL_MISSING
_LOGIN = (
    "set the variable HF_TOKEN to an access token of your account, or run 'hf auth login', and "
    "start again"
)


class InterruptionError(Exception):
    """A transfer ended early in a way that may pass: another try can go on from there.

    Args:
        reason: What happened, in words that follow "because".
        wait: Seconds that the server asks to wait, if it does.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


def refused(response: httpx2.Response, address: Address, file: str, known: bool) -> Exception:
    """Return what to raise for a status that is no answer.

    Args:
        response: The answer, its body unread.
        address: What was asked for.
        file: How messages name it.
        known: Whether the user's account was named.
    """
    status, host = response.status_code, response.url.host
    if status in (408, 429) or status >= 500:
        return InterruptionError(f"{host} answers with status {status}", _wanted_wait(response))
    if status == 407:
        return proxy_refused(f"status {status}")
    if status in (401, 403):
        return _no_access(response, address, file, known)
    if status in (404, 410):
        return JobError(
            _MISSING,
            f"{host} has no {file} (status {status}).",
            f"It may have been moved: look at {address.page}, and if it is there, {ADOPT_HINT}.",
        )
    return JobError(
        _MISSING,
        f"{host} answers the request for {file} with status {status}.",
        f"Try again later, or {ADOPT_HINT}.",
    )


def _no_access(response: httpx2.Response, address: Address, file: str, known: bool) -> JobError:
    host, status = response.url.host, response.status_code
    if not address.on_hub:
        return JobError(
            _MISSING,
            f"{host} does not let you have {file} (status {status}).",
            f"Look at {address.page} for what it takes, {ADOPT_HINT}.",
        )
    reason = response.headers.get("x-error-code", "")
    if reason == "RepoNotFound":
        return JobError(
            _MISSING,
            f"{host} has no {file}, or shows it to others only (status {status}).",
            f"It may have been moved: look at {address.page}, and if it is there, {ADOPT_HINT}.",
        )
    if known and status == 401 and reason != "GatedRepo":
        return JobError(
            _MISSING,
            f"{host} does not know the account that HF_TOKEN or 'hf auth login' names.",
            f"Renew it: {_LOGIN}.",
        )
    step = "and that your token may read it" if known else f"then {_LOGIN}"
    return JobError(
        _MISSING,
        f"{file} is given only to those who were granted access (status {status}).",
        f"Visit {address.page} and ask for access or accept the terms, {step}; or {ADOPT_HINT}.",
    )


def _wanted_wait(response: httpx2.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None


def broken(error: httpx2.HTTPError | httpx2.InvalidURL, host: str) -> Exception:
    """Return what to raise for an error of the line, the proxy or the certificate."""
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return JobError(
            _MISSING,
            f"{host} names an address that cannot be used: {error}.",
            f"Correct the model's card, or {ADOPT_HINT}.",
        )
    if isinstance(error, httpx2.ProxyError):
        return proxy_refused(str(error))
    if _is_certificate(error):
        return JobError(
            _MISSING,
            f"{host} was refused because its certificate is not trusted.",
            "Point SSL_CERT_FILE to the certificate of your organisation, and check the date of "
            "this computer.",
            str(error),
        )
    if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError):
        return InterruptionError(f"{host} cannot be reached")
    if isinstance(error, httpx2.TimeoutException):
        return InterruptionError(f"{host} sends nothing")
    return InterruptionError(f"the connection to {host} broke")


def proxy_refused(detail: str) -> JobError:
    """Return the error for a proxy that does not do as it should."""
    return JobError(
        _MISSING,
        "The proxy could not be used to reach the server of the model.",
        "Check the proxy in QGIS under Settings, Options, Network, or HTTPS_PROXY and its login.",
        detail,
    )


def given_up(reason: str, file: str, kept: int) -> JobError:
    """Return the error after the last try.

    Args:
        reason: Why the last one ended.
        file: What was fetched.
        kept: Bytes that are kept for the next call.
    """
    rest = "What came so far is kept: run again to go on" if kept else "Run again later"
    return JobError(
        _MISSING,
        f"{file} could not be fetched, because {reason}.",
        f"Check the network connection and the proxy. {rest}, or {ADOPT_HINT}.",
    )


def _is_certificate(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
