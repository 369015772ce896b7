"""One file from a server to the disk: resumed, checked while it streams, tried again.

Every answer that goes on where bytes end must prove that it is of the same file: by the validator
of the first answer (``If-Range``), or in the end by the SHA-256 that the card names.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import httpx2

from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .addresses import ADOPT_HINT, Address
from .asking import Answer, TransferSettings, asked
from .card import WeightsFile
from .pace import Pace, Watch
from .partial import PartialFile
from .refusals import InterruptionError, broken, given_up, refused
from .space import require_space

# Fewer new bytes than this count as no progress, or a server could keep a transfer alive for ever.
_PROGRESS = 1_000_000
_LONGEST_WAIT = 60.0
_POLL = 0.1
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass
class Transfer:
    """Fetches one file.

    Attributes:
        client: From `asking.open_client`.
        address: Where the file comes from.
        weights: What the card says of it.
        partial: Where its bytes go.
        watch: Told of the progress.
        settings: How patient to be.
        stated: SHA-256 that the server states, once it was asked.
        received: Bytes that came over the network.
    """

    client: httpx2.Client
    address: Address
    weights: WeightsFile
    partial: PartialFile
    watch: Watch
    settings: TransferSettings
    stated: str | None = None
    received: int = 0

    def run(self) -> str:
        """Fetch the file, check it, and return its SHA-256; the partial file is then complete.

        Raises:
            CancelledError: When the user cancelled; the bytes so far are kept.
            JobError: ``MODEL_MISSING`` when it cannot be had, ``MODEL_INVALID`` when it is another
                file than the card's (it is deleted), ``DISK_FULL``, ``OUTPUT_UNWRITABLE``.
        """
        # Of this the bar is silent, or it would fill and empty again.
        self.partial.resume(self.watch.span(0.0, 0.0))
        failures = 0
        while not self._is_whole():
            before = self.partial.size
            try:
                self._attempt()
                break
            except InterruptionError as error:
                failures = 0 if self.partial.size - before >= _PROGRESS else failures + 1
                if failures >= self.settings.attempts:
                    raise given_up(error.reason, self.weights.file, self.partial.size) from error
                self._wait(failures, error.wait)
        return self._check()

    def _is_whole(self) -> bool:
        # Without a digest of its own the file's server has to be asked for one.
        size = self.weights.size
        return size is not None and self.partial.size == size and bool(self.weights.sha256)

    def _attempt(self) -> None:
        headers = self._range_headers()
        with asked(self.client, self.address, headers, self.settings) as answer:
            self.stated = answer.stated_sha256 or self.stated
            status = answer.response.status_code
            if status == 416 and self.partial.size:
                self.partial.discard()
                raise InterruptionError("the server does not go on where the file ends")
            if status not in (200, 206):
                raise refused(
                    answer.response, self.address, self.weights.file, answer.account_named
                )
            total = self._begin(answer)
            try:
                self._receive(answer.response, total)
            except httpx2.HTTPError as error:
                raise broken(error, answer.response.url.host) from error
        if total is not None and self.partial.size < total:
            raise InterruptionError("the connection ended early")

    def _range_headers(self) -> dict[str, str]:
        if not self.partial.size:
            return {}
        if not self.partial.validator and self.weights.sha256 is None:
            self.partial.discard()
            return {}
        headers = {"Range": f"bytes={self.partial.size}-"}
        if self.partial.validator:
            headers["If-Range"] = self.partial.validator
        return headers

    def _begin(self, answer: Answer) -> int | None:
        """Make the partial file fit the answer and return the size of the whole file, if told."""
        response, partial = answer.response, self.partial
        if response.status_code == 206:
            found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            if found is None or int(found[1]) != partial.size:
                partial.discard()
                raise InterruptionError("the server sent another part than was asked for")
            total = int(found[2]) if found[2] != "*" else None
        else:
            if partial.size:
                partial.discard()
            length = response.headers.get("content-length", "")
            total = int(length) if length.isdigit() else None
            partial.note(_validator(response))
        size = self.weights.size
        if total is not None and size is not None and total != size:
            partial.discard()
            raise self._another_file(f"has {total} bytes in place of {size}")
        if total is not None:
            require_space(partial.path.parent, total - partial.size, self.weights.file)
        return total if total is not None else size

    def _receive(self, response: httpx2.Response, total: int | None) -> None:
        label = f"Downloading {self.weights.file}"
        pace = Pace(self.watch, label, total, self.partial.size)
        for block in response.iter_raw():
            if total is not None and self.partial.size + len(block) > total:
                self.partial.discard()
                raise self._another_file(f"goes on after its {total} bytes")
            self.partial.append(block)
            self.received += len(block)
            pace.moved(self.partial.size)
        self.watch.progress(1.0, label)

    def _check(self) -> str:
        digest, size = self.partial.sha256(), self.weights.size
        if size is not None and self.partial.size != size:
            self.partial.discard()
            raise self._another_file(f"does not have its {size} bytes")
        expected = self.weights.sha256 or self.stated
        if expected is not None and digest != expected:
            self.partial.discard()
            raise self._another_file("has another SHA-256")
        if expected is None:
            self.watch.info(
                f"The server states no SHA-256 of {self.weights.file}: the encrypted connection "
                "alone vouches for it."
            )
        return digest

    def _another_file(self, what: str) -> JobError:
        host = httpx2.URL(self.address.url).host
        return JobError(
            ErrorCode.MODEL_INVALID,
            f"What {host} sent as {self.weights.file} is not the file that the card describes, "
            f"and was deleted: it {what}.",
            f"Try again; if it happens again, something on the way changes files: {ADOPT_HINT}.",
        )

    def _wait(self, failures: int, wanted: float | None) -> None:
        usual = self.settings.first_wait * 2.0 ** max(failures - 1, 0)
        left = min(usual if wanted is None else max(wanted, usual), _LONGEST_WAIT)
        until = time.monotonic() + left
        while (left := until - time.monotonic()) > 0:
            self.watch.check_cancelled()
            time.sleep(min(left, _POLL))
        self.watch.check_cancelled()


def _validator(response: httpx2.Response) -> str:
    """Return the strong validator of an answer; weak ones prove nothing about bytes."""
    tag: str = response.headers.get("etag", "")
    if tag and not tag.startswith("W/"):
        return tag
    date: str = response.headers.get("last-modified", "")
    return date
