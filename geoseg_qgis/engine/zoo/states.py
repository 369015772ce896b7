"""What is there of a preset, told from sizes and receipts, and told for certain by hashing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from .card import WeightsFile
from .pace import Pace, Watch
from .partial import BLOCK
from .receipts import read_receipt, write_receipt
from .registry import Origin, Preset


class PresetState(str, Enum):
    """What is there of a preset."""

    BUILT_IN = "built-in"
    INSTALLED = "installed"
    PARTIAL = "partial"
    MISSING = "missing"
    DAMAGED = "damaged"


class FileState(str, Enum):
    """What is there of one file."""

    PRESENT = "present"
    MISSING = "missing"
    DAMAGED = "damaged"


def file_state(path: Path, weights: WeightsFile) -> FileState:
    """Return the state of a file without reading it.

    Args:
        path: Where it should lie.
        weights: What its card says.
    """
    if not path.is_file():
        return FileState.MISSING
    if weights.size is not None and path.stat().st_size != weights.size:
        return FileState.DAMAGED
    receipt = read_receipt(path)
    measured = receipt.sha256 if receipt is not None and receipt.fits(path) else None
    if measured is not None and weights.sha256 is not None and measured != weights.sha256:
        return FileState.DAMAGED
    return FileState.PRESENT


def preset_state(preset: Preset) -> PresetState:
    """Return the state of a preset without reading its files."""
    files = preset.card.files
    states = {file_state(preset.path(weights.file), weights) for weights in files}
    if FileState.DAMAGED in states:
        return PresetState.DAMAGED
    if FileState.MISSING not in states:
        built_in = preset.origin is Origin.BUILT_IN
        return PresetState.BUILT_IN if built_in else PresetState.INSTALLED
    begun = any(_part(preset, weights).is_file() for weights in files)
    return PresetState.PARTIAL if FileState.PRESENT in states or begun else PresetState.MISSING


def preset_size(preset: Preset) -> int:
    """Return the bytes of all files, by the card or else as they lie there; 0 when unknown."""
    sizes = []
    for weights in preset.card.files:
        path = preset.path(weights.file)
        sizes.append(weights.size or (path.stat().st_size if path.is_file() else 0))
    return sum(sizes) if all(sizes) else 0


def _part(preset: Preset, weights: WeightsFile) -> Path:
    path = preset.path(weights.file)
    return path.with_name(f"{path.name}.part")


def hash_file(path: Path, label: str, watch: Watch) -> str:
    """Return the hexadecimal SHA-256 of a file.

    Raises:
        CancelledError: When the user cancelled.
        OSError: When the file cannot be read.
    """
    pace = Pace(watch, label, path.stat().st_size)
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            done += len(block)
            pace.moved(done)
    return digest.hexdigest()


def verify_preset(preset: Preset, watch: Watch) -> Iterator[tuple[WeightsFile, str]]:
    """Hash every file that is there; yield those that are spoilt with what is wrong.

    Without a digest in the card, a file is compared with what was measured when it came.
    """
    present = [weights for weights in preset.card.files if preset.path(weights.file).is_file()]
    for number, weights in enumerate(present):
        path = preset.path(weights.file)
        before = read_receipt(path)
        part = watch.span(number / len(present), (number + 1) / len(present))
        digest = hash_file(path, f"Verifying {weights.file}", part)
        size = path.stat().st_size
        expected = weights.sha256 or (before.sha256 if before is not None else None)
        if weights.size is not None and size != weights.size:
            yield weights, f"has {size} bytes in place of {weights.size}"
        elif expected is not None and digest != expected:
            yield weights, "has another SHA-256 than it should have"
        own = preset.origin is not Origin.BUILT_IN
        if own and (weights.sha256 is not None or before is None):
            write_receipt(path, digest)
