"""One file from a server to the disk: resumed, checked while it arrives, tried again.

huggingface_hub names the address, the token and the files it has cached, but it does not move the
bytes here. ``hf_hub_download`` deletes what it has when it is interrupted or cancelled, so that a
model of many gigabytes would start from zero; the ``http_get`` below it reads blocks of 10 MB and
loses the one that a broken connection cuts, appends whatever range the server sends, and counts
each byte as progress, so that a server can keep it for ever. It does not compare the SHA-256
either. What follows is what it takes to do without these faults.

Every response that continues where the bytes end must prove that it belongs to the same file: by
the validator of the first response (``If-Range``), or in the end by the SHA-256.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

import httpx2

from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .addresses import ADOPT_HINT, Address, unavailable
from .card import WeightsFile
from .http_client import TransferSettings, request_file, run_cancellable
from .http_errors import InterruptionError, given_up, refused
from .partial import PartialFile, require_space
from .transfer_progress import TransferProgress
from .trust import may_be_trusted

_LONGEST_WAIT = 60.0
_POLL = 0.1
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
# Bytes of a file of unknown size between two checks of the free space.
_CHECK_EVERY = 16_000_000


@dataclass
class Transfer:
    """Downloads one file.

    Attributes:
        address: Where the file comes from.
        weights: What the card says of it.
        partial: Where its bytes go.
        context: Receives the progress, and says whether the user cancelled.
        settings: Limits.
        received: Bytes that came over the network.
        commit: Commit that the server stated, of a repository of Hugging Face.
    """

    address: Address
    weights: WeightsFile
    partial: PartialFile
    context: JobContext
    settings: TransferSettings
    received: int = 0
    commit: str = ""
    _stated: str | None = field(default=None, init=False)
    _until: float = field(default=0.0, init=False)

    def run(self) -> str:
        """Download the file, check it, and return its SHA-256; the partial file is then complete.

        Raises:
            CancelledError: When the user cancelled; the bytes so far are kept.
            JobError: ``MODEL_MISSING`` when it cannot be had, ``MODEL_INVALID`` when it is another
                file than the card's (it is deleted), ``DISK_FULL``, ``OUTPUT_UNWRITABLE``.
        """
        # The bar stays still meanwhile, as it would fill and empty again.
        self.partial.resume(self.context.span(0.0, 0.0))
        self._until = time.monotonic() + self.settings.total_timeout
        failures, furthest = 0, self.partial.size
        while not self._is_whole():
            try:
                run_cancellable(self._attempt(), self.context)
                break
            except InterruptionError as error:
                progressed = self.partial.size - furthest >= self.settings.minimum_progress
                failures = 0 if progressed else failures + 1
                furthest = self.partial.size if progressed else furthest
                if failures >= self.settings.attempts or time.monotonic() > self._until:
                    raise given_up(error.reason, self.weights.file, self.partial.size) from error
                self._wait(failures, error.wait)
        return self._checked_digest()

    def _is_whole(self) -> bool:
        # Without a digest in the card the server has to be asked for one.
        size = self.weights.size
        return size is not None and self.partial.size == size and bool(self.weights.sha256)

    async def _attempt(self) -> None:
        headers = self._range_headers()
        async with request_file(self.address, headers, self.settings) as file:
            self._stated = file.stated_sha256 or self._stated
            status = file.response.status_code
            if status == 416 and self.partial.size:
                self.partial.discard()
                raise InterruptionError("the server cannot continue where the file ends")
            if status not in (200, 206):
                raise refused(file.response, self.address, self.weights.file, file.with_token)
            self._note_commit(file.commit)
            total = self._begin(file.response)
            try:
                await self._receive(file.response, total)
            finally:
                self.partial.close()
        if total is not None and self.partial.size < total:
            raise InterruptionError("the connection ended early")

    def _note_commit(self, commit: str | None) -> None:
        """Remember the commit; a file that is to be trusted on first use must have one."""
        if may_be_trusted(self.weights) and commit is None:
            host = httpx2.URL(self.address.url).host
            raise unavailable(
                f"{self.weights.file} was not downloaded, because its card states neither a "
                f"SHA-256 nor a commit, and {host} does not state its commit either.",
                f"If you trust {self.address.page}, {ADOPT_HINT}.",
            )
        if self.commit and commit and commit != self.commit:
            self.partial.discard()
            self.commit = ""
            raise InterruptionError("its repository changed meanwhile")
        self.commit = commit or self.commit

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

    def _begin(self, response: httpx2.Response) -> int | None:
        """Make the partial file fit the response; return the size of the whole file, if known."""
        partial, size = self.partial, self.weights.size
        if response.status_code == 206 and partial.size:
            found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            if found is None or int(found[1]) != partial.size:
                partial.discard()
                raise InterruptionError("the server sent another range than was asked for")
            total = int(found[2]) if found[2] != "*" else None
        else:
            length = response.headers.get("content-length", "")
            total = int(length) if length.isdecimal() else None
            partial.begin_anew(_validator(response))
        if total is not None and size is not None and total != size:
            raise self._another_file(f"has {total} bytes instead of {size}")
        total = total if total is not None else size
        if total is not None:
            require_space(partial.path.parent, total - partial.size, self.weights.file)
        return total

    async def _receive(self, response: httpx2.Response, total: int | None) -> None:
        settings, partial = self.settings, self.partial
        label = f"Downloading {self.weights.file}"
        progress = TransferProgress(self.context, label, total, partial.size)
        most = settings.maximum_size if total is None else total
        next_check = partial.size + _CHECK_EVERY
        window_start, window_bytes = time.monotonic(), 0
        async for block in response.aiter_raw():
            if partial.size + len(block) > most:
                raise self._another_file(f"goes on after {most} bytes")
            partial.append(block)
            self.received += len(block)
            window_bytes += len(block)
            progress.moved(partial.size)
            if total is None and partial.size >= next_check:
                next_check += _CHECK_EVERY
                self._require_room()
            now = time.monotonic()
            if now > self._until:
                hours = settings.total_timeout / 3600
                raise InterruptionError(f"it took more than {hours:g} hours")
            if now - window_start >= settings.rate_window:
                if window_bytes < settings.minimum_rate * settings.rate_window:
                    rate = f"less than {settings.minimum_rate} bytes a second"
                    raise InterruptionError(f"{response.url.host} sends {rate}")
                window_start, window_bytes = now, 0
        self.context.progress(1.0, label)

    def _require_room(self) -> None:
        """Drop a file of unknown size, which may never end, before it fills the disk."""
        try:
            require_space(self.partial.path.parent, 0, self.weights.file)
        except JobError:
            self.partial.discard()
            raise

    def _checked_digest(self) -> str:
        digest, size = self.partial.sha256(), self.weights.size
        if size is not None and self.partial.size != size:
            raise self._another_file(f"does not have its {size} bytes")
        expected = self.weights.sha256 or self._stated
        if expected is not None and digest != expected:
            raise self._another_file("has another SHA-256")
        if expected is None and not may_be_trusted(self.weights):
            self.context.info(
                f"The server states no SHA-256 of {self.weights.file}: only the encrypted "
                "connection vouches for it."
            )
        return digest

    def _another_file(self, what: str) -> JobError:
        self.partial.discard()
        host = httpx2.URL(self.address.url).host
        return JobError(
            ErrorCode.MODEL_INVALID,
            f"What {host} sent as {self.weights.file} was deleted, because it is not the file that "
            f"the card describes: it {what}.",
            "Try again. If it happens again, something between you and the server changes files: "
            f"{ADOPT_HINT}.",
        )

    def _wait(self, failures: int, wanted: float | None) -> None:
        usual = self.settings.first_wait * 2.0 ** max(failures - 1, 0)
        left = min(usual if wanted is None else max(wanted, usual), _LONGEST_WAIT)
        until = time.monotonic() + left
        while (left := until - time.monotonic()) > 0:
            self.context.check_cancelled()
            time.sleep(min(left, _POLL))
        self.context.check_cancelled()


def _validator(response: httpx2.Response) -> str:
    """Return the strong validator of a response; weak ones prove nothing about bytes."""
    tag: str = response.headers.get("etag", "")
    if tag and not tag.startswith("W/"):
        return tag
    date: str = response.headers.get("last-modified", "")
    return date
