"""What is known of a file of weights: the digest that was measured, and who brought it.

``<name>.receipt.json`` lies beside the file. It spares hashing gigabytes again, tells that a file
is spoilt, and tells files that GeoSeg put there, which it may delete, from the user's own.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
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
        """Tell whether the file is still the one that was measured."""
        facts = path.stat()
        return (facts.st_size, facts.st_mtime_ns) == (self.size, self.modified)


def receipt_path(path: Path) -> Path:
    """Return where the receipt of the file ``path`` lies."""
    return path.with_name(f"{path.name}.receipt.json")


def converted_path(path: Path) -> Path:
    """Return where the safetensors lie that a pickled file ``path`` was turned into."""
    return path.with_name(f"{path.name}.safetensors")


def read_receipt(path: Path) -> Receipt | None:
    """Return the receipt of the file ``path``; one that cannot be read counts as none."""
    try:
        receipt = Receipt(**json.loads(receipt_path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    numbers = isinstance(receipt.size, int) and isinstance(receipt.modified, int)
    texts = isinstance(receipt.sha256, str) and isinstance(receipt.source, str)
    return receipt if numbers and texts else None


def write_receipt(path: Path, sha256: str, source: str = "") -> None:
    """Keep the digest of ``path`` that was measured just now; who brought it is not forgotten.

    A folder that may not be written keeps none.
    """
    before = read_receipt(path)
    if before is not None and not source:
        source = before.source
    facts = path.stat()
    receipt = Receipt(sha256, facts.st_size, facts.st_mtime_ns, source)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    with contextlib.suppress(OSError):
        try:
            draft.write_text(json.dumps(asdict(receipt), indent=1), encoding="utf-8")
            draft.replace(receipt_path(path))
        finally:
            draft.unlink(missing_ok=True)
