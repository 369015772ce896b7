"""A file that is being fetched: its bytes so far, their digest, and what they are part of.

It lies beside its final name as ``<name>.part``, with ``<name>.part.json`` to tell later whether
the rest can be asked for. Only what was checked gets the final name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from geoseg_qgis.engine.files import is_disk_full, unwritable
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .pace import Pace, Watch

BLOCK = 1 << 20


class PartialFile:
    """The bytes of a file so far.

    Args:
        final: Where the file will lie.
        identity: What the bytes are part of; bytes of something else are dropped.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``, from every method that writes.
    """

    def __init__(self, final: Path, identity: str) -> None:
        self.final = final
        self.path = final.with_name(f"{final.name}.part")
        self._facts_path = final.with_name(f"{final.name}.part.json")
        self._identity = identity
        self._digest = hashlib.sha256()
        self.validator = ""
        self.size = 0

    def resume(self, watch: Watch) -> None:
        """Take up what an earlier call left behind, reading it once for its digest."""
        facts = self._read_facts()
        if facts.get("identity") != self._identity or not self.path.is_file():
            self.discard()
            return
        self.validator = str(facts.get("validator", ""))
        total = self.path.stat().st_size
        pace = Pace(watch, f"Checking what is there of {self.final.name}", total)
        with self.path.open("rb") as stream:
            while block := stream.read(BLOCK):
                self._digest.update(block)
                self.size += len(block)
                pace.moved(self.size)

    def note(self, validator: str) -> None:
        """Remember the validator (ETag or date) of the answer that the bytes come from."""
        self.validator = validator
        facts = {"identity": self._identity, "validator": validator}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._facts_path.write_text(json.dumps(facts), encoding="utf-8")
        except OSError as error:
            raise _unwritable(self._facts_path, error) from error

    def append(self, block: bytes) -> None:
        """Add bytes at the end."""
        try:
            with self.path.open("ab") as stream:
                stream.write(block)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._digest.update(block)
        self.size += len(block)

    def discard(self) -> None:
        """Drop all bytes."""
        for path in (self.path, self._facts_path):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        self._digest = hashlib.sha256()
        self.validator = ""
        self.size = 0

    def sha256(self) -> str:
        """Return the hexadecimal digest of the bytes so far."""
        return self._digest.hexdigest()

    def finish(self) -> None:
        """Give the file its final name.

        Raises:
            JobError: ``OUTPUT_UNWRITABLE``, also when somebody else changed it meanwhile.
        """
        try:
            if self.path.stat().st_size != self.size:
                raise OSError(0, "another program changed it")
            self.path.replace(self.final)
        except OSError as error:
            raise _unwritable(self.final, error) from error
        with contextlib.suppress(OSError):
            self._facts_path.unlink()

    def _read_facts(self) -> dict[str, Any]:
        try:
            facts = json.loads(self._facts_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}


def _unwritable(path: Path, error: OSError) -> JobError:
    if not is_disk_full(error):
        return unwritable(path, error)
    return JobError(
        ErrorCode.DISK_FULL,
        f"The disk of {path.parent} is full.",
        "Free some space and run again; what came so far is kept.",
        str(error),
    )
