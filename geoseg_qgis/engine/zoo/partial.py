"""A file that is being downloaded: its bytes so far, their digest, and what they belong to.

It lies beside its final name as ``<name>.part``, with ``<name>.part.json``, from which a later call
sees whether it can request the rest. Only what was checked gets the final name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from pathlib import Path
from typing import IO

from geoseg_qgis.engine import files
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .installed import digest_of, part_path
from .transfer_progress import megabytes

# What a download leaves free, so that QGIS and the system can go on working.
_FREE_FLOOR = 200_000_000


class PartialFile:
    """The bytes of a file so far.

    Args:
        final: Where the file will lie.
        identity: What the bytes belong to; bytes of something else are dropped.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``, from every method that writes.
    """

    def __init__(self, final: Path, identity: str) -> None:
        self.final = final
        self.path = part_path(final)
        self._facts_path = self.path.with_name(f"{self.path.name}.json")
        self._identity = identity
        self._stream: IO[bytes] | None = None
        self._begin("")

    def _begin(self, validator: str) -> None:
        self.validator = validator
        self.size = 0
        self._digest = hashlib.sha256()

    def resume(self, context: JobContext) -> None:
        """Take up what an earlier call left, reading it once for its digest."""
        try:
            facts = json.loads(self._facts_path.read_text(encoding="utf-8"))
            same = facts["identity"] == self._identity and self.path.is_file()
            self._begin(str(facts.get("validator", "")))
        except (OSError, ValueError, TypeError, KeyError):
            same = False
        if not same:
            self.discard()
            return
        label = f"Checking what is there of {self.final.name}"
        self._digest = digest_of(self.path, label, context)
        self.size = self.path.stat().st_size

    def begin_anew(self, validator: str) -> None:
        """Drop all bytes, and remember the validator (ETag or date) of those that follow."""
        self.discard()
        self._begin(validator)
        facts = {"identity": self._identity, "validator": validator}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._facts_path.write_text(json.dumps(facts), encoding="utf-8")
        except OSError as error:
            raise unwritable(self._facts_path, error) from error

    def append(self, block: bytes) -> None:
        """Add bytes at the end."""
        try:
            if self._stream is None:
                self._stream = self.path.open("ab")
            self._stream.write(block)
            self._stream.flush()
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._digest.update(block)
        self.size += len(block)

    def close(self) -> None:
        """Close the file; more can be added later."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None

    def discard(self) -> None:
        """Drop all bytes."""
        self.close()
        for path in (self.path, self._facts_path):
            path.unlink(missing_ok=True)
        self._begin("")

    def sha256(self) -> str:
        """Return the hexadecimal digest of the bytes so far."""
        return self._digest.hexdigest()

    def finish(self) -> None:
        """Give the file its final name.

        Raises:
            JobError: ``OUTPUT_UNWRITABLE``, also when somebody else changed it meanwhile.
        """
        self.close()
        try:
            if self.path.stat().st_size != self.size:
                raise OSError(0, "another program changed it")
            self.path.replace(self.final)
        except OSError as error:
            raise unwritable(self.final, error) from error
        with contextlib.suppress(OSError):
            self._facts_path.unlink()


def require_space(folder: Path, needed: int, what: str) -> None:
    """Refuse when a disk would have less than 200 MB left.

    Args:
        folder: Where something is to be written; it need not exist yet.
        needed: Bytes that are still to come.
        what: What needs them, for the message.

    Raises:
        JobError: ``DISK_FULL``. A reading of 0 bytes counts as unknown and passes.
    """
    place = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        return
    if 0 < free < needed + _FREE_FLOOR:
        raise JobError(
            ErrorCode.DISK_FULL,
            f"{what} needs {megabytes(needed)} more in {folder}, where {megabytes(free)} are free "
            f"and {megabytes(_FREE_FLOOR)} must stay free.",
            "Free some space, or choose a model folder on another disk.",
        )


def unwritable(path: Path, error: OSError) -> JobError:
    """Return the error for a file of a model that cannot be written."""
    if not files.is_disk_full(error):
        return files.unwritable(path, error)
    return JobError(
        ErrorCode.DISK_FULL,
        f"The disk of {path.parent} is full.",
        "Free some space, or choose a model folder on another disk, and run again; what arrived so "
        "far is kept.",
        str(error),
    )
