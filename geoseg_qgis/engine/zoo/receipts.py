"""What is known of a file of weights: its measured digest, and where it came from.

``<name>.receipt.json`` lies beside the file. It saves hashing gigabytes again, shows that a file
was damaged, and distinguishes the files that GeoSeg put there, which it may delete, from the
user's own.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path

from pydantic.dataclasses import dataclass

from geoseg_qgis.engine.files import draft
from geoseg_qgis.engine.json_reader import STRICT, parse, read_bytes
from geoseg_qgis.protocol.errors import JobError

# A receipt has about 300 bytes; the address of the file may be long.
_LARGEST = 10_000


@dataclass(frozen=True, config=STRICT)
class Receipt:
    """What is known of one file.

    Attributes:
        sha256: Measured digest.
        size: Bytes when it was measured.
        modified: Modification time then, in nanoseconds.
        source: Address or folder it came from; empty when GeoSeg found it there.
    """

    sha256: str
    size: int
    modified: int
    source: str = ""

    def fits(self, path: Path) -> bool:
        """Return whether the file is still the one that was measured."""
        facts = path.stat()
        return (facts.st_size, facts.st_mtime_ns) == (self.size, self.modified)


def receipt_path(path: Path) -> Path:
    """Return where the receipt of the file ``path`` lies."""
    return path.with_name(f"{path.name}.receipt.json")


def converted_path(path: Path) -> Path:
    """Return where the safetensors lie that a pickled file ``path`` was converted to."""
    return path.with_name(f"{path.name}.safetensors")


def read_receipt(path: Path) -> Receipt | None:
    """Return the receipt of the file ``path``; one that cannot be read counts as none."""
    place = receipt_path(path)
    with contextlib.suppress(JobError, OSError):
        return parse(Receipt, read_bytes(place, _LARGEST), place.name)
    return None


def write_receipt(path: Path, sha256: str, source: str = "") -> None:
    """Keep the digest of ``path`` that was measured just now, and a source stated earlier.

    In a folder that may not be written, no receipt is kept.
    """
    before = read_receipt(path)
    if before is not None and not source:
        source = before.source
    facts = path.stat()
    receipt = Receipt(sha256, facts.st_size, facts.st_mtime_ns, source)
    with contextlib.suppress(JobError), draft(receipt_path(path)) as unfinished:
        unfinished.write_text(json.dumps(asdict(receipt), indent=1), encoding="utf-8")
