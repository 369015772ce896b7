"""What is there of a preset: its state, its files verified, its files removed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from filelock import FileLock, Timeout

from geoseg_qgis.engine.files import unwritable
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .card import WeightsFile
from .receipts import converted_path, read_receipt, receipt_path, write_receipt
from .registry import Origin, Preset
from .transfer_progress import TransferProgress

# Bytes that are read and hashed at once: few enough to be cancelled at any time.
_BLOCK = 1 << 20
_LOCK_POLL = 0.2


class PresetState(str, Enum):
    """What is there of a preset, or of one of its files."""

    BUILT_IN = "built-in"
    INSTALLED = "installed"
    PARTIAL = "partial"
    MISSING = "missing"
    DAMAGED = "damaged"


def file_state(path: Path, weights: WeightsFile) -> PresetState:
    """Return whether a file is installed, missing or damaged, from its size and receipt alone.

    Args:
        path: Where it should lie.
        weights: What its card says.
    """
    if not path.is_file():
        return PresetState.MISSING
    if weights.size is not None and path.stat().st_size != weights.size:
        return PresetState.DAMAGED
    receipt = read_receipt(path)
    measured = receipt.sha256 if receipt is not None and receipt.fits(path) else None
    if measured is not None and weights.sha256 is not None and measured != weights.sha256:
        return PresetState.DAMAGED
    return PresetState.INSTALLED


def preset_state(preset: Preset) -> PresetState:
    """Return the state of a preset without reading its files."""
    files = preset.card.files
    states = {file_state(preset.path(weights.file), weights) for weights in files}
    if PresetState.DAMAGED in states:
        return PresetState.DAMAGED
    if PresetState.MISSING not in states:
        built_in = preset.origin is Origin.BUILT_IN
        return PresetState.BUILT_IN if built_in else PresetState.INSTALLED
    begun = any(part_path(preset.path(weights.file)).is_file() for weights in files)
    return PresetState.PARTIAL if PresetState.INSTALLED in states or begun else PresetState.MISSING


def preset_size(preset: Preset) -> int:
    """Return the bytes of all files, from the card or else from the disk; 0 when unknown."""
    sizes = []
    for weights in preset.card.files:
        path = preset.path(weights.file)
        sizes.append(weights.size or (path.stat().st_size if path.is_file() else 0))
    return sum(sizes) if all(sizes) else 0


def part_path(path: Path) -> Path:
    """Return where the bytes of an unfinished download of ``path`` lie."""
    return path.with_name(f"{path.name}.part")


def adopted_path(path: Path) -> Path:
    """Return where a link or copy lies that becomes ``path`` once it is checked."""
    return path.with_name(f"{path.name}.adopted.part")


def digest_of(
    path: Path, label: str, context: JobContext, copy_to: Path | None = None
) -> hashlib._Hash:
    """Return the SHA-256 of a file, to which more can be added; copy the file on the way if asked.

    Raises:
        CancelledError: When the user cancelled.
        OSError: When a file cannot be read or written.
    """
    progress = TransferProgress(context, label, path.stat().st_size)
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as stream, contextlib.ExitStack() as stack:
        target = stack.enter_context(copy_to.open("wb")) if copy_to is not None else None
        while block := stream.read(_BLOCK):
            digest.update(block)
            if target is not None:
                target.write(block)
            done += len(block)
            progress.moved(done)
    return digest


def verify_preset(preset: Preset, context: JobContext) -> Iterator[tuple[WeightsFile, str]]:
    """Hash every file that is there; yield those that are damaged with what is wrong.

    Without a digest in the card, a file is compared with what was measured when it was installed.
    """
    present = [weights for weights in preset.card.files if preset.path(weights.file).is_file()]
    for number, weights in enumerate(present):
        path = preset.path(weights.file)
        before = read_receipt(path)
        span = context.span(number / len(present), (number + 1) / len(present))
        digest = digest_of(path, f"Verifying {weights.file}", span).hexdigest()
        size = path.stat().st_size
        expected = weights.sha256 or (before.sha256 if before is not None else None)
        if weights.size is not None and size != weights.size:
            yield weights, f"has {size} bytes instead of {weights.size}"
        elif expected is not None and digest != expected:
            yield weights, "does not have the SHA-256 that it should have"
        own = preset.origin is not Origin.BUILT_IN
        if own and (weights.sha256 is not None or before is None):
            write_receipt(path, digest)


@contextlib.contextmanager
def alone_with(folder: Path, file: str, context: JobContext) -> Iterator[None]:
    """Keep other programs from installing or removing a file; ends with the process at the latest.

    Args:
        folder: Folder of the preset.
        file: The file, relative to the folder.
        context: Informed when another program holds the lock; a cancel ends the waiting.

    Raises:
        CancelledError: When the user cancelled while waiting.
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL`` when there can be no lock.
    """
    name = hashlib.sha256(file.encode("utf-8")).hexdigest()[:16]
    lock = FileLock(folder / ".locks" / f"{name}.lock")
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            context.info(f"Another program is busy with {file}; waiting for it.")
            lock.acquire(poll_interval=_LOCK_POLL, cancel_check=context.is_cancelled)
    except Timeout:
        context.check_cancelled()
        raise
    except OSError as error:
        raise unwritable(folder / file, error) from error
    try:
        yield
    finally:
        lock.release()


@dataclass
class Removal:
    """What a removal did.

    Attributes:
        freed: Bytes of the files that were deleted.
        deleted: Those files.
        kept: A sentence for each file that was not deleted.
    """

    freed: int = 0
    deleted: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def remove_preset(preset: Preset, others: Iterable[Preset], context: JobContext) -> Removal:
    """Delete the files of a preset that GeoSeg installed; the user's own files are kept.

    Args:
        preset: Which one.
        others: All presets; the files of those that are installed are kept.
        context: A cancel ends the waiting for another program that uses a file.

    Raises:
        JobError: ``INVALID_JOB`` for a built-in preset, ``OUTPUT_UNWRITABLE`` when a file cannot be
            deleted.
    """
    if preset.origin is Origin.BUILT_IN:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"{preset.card.name} is part of GeoSeg and cannot be removed.",
            "Remove a model that was downloaded.",
        )
    shared = _needed_elsewhere(preset, others)
    removal = Removal()
    for weights in preset.card.files:
        path = preset.path(weights.file)
        if path.resolve() in shared:
            removal.kept.append(f"{path} was kept, because {shared[path.resolve()]} needs it too.")
            continue
        if not path.parent.is_dir():
            continue
        with alone_with(preset.folder, weights.file, context):
            _remove_file(path, removal)
        _remove_empty_folders(path.parent, preset.folder)
    return removal


def _needed_elsewhere(preset: Preset, others: Iterable[Preset]) -> dict[Path, str]:
    """Return the files of other installed presets, and which they belong to."""
    needed: dict[Path, str] = {}
    for other in others:
        if other.card.name != preset.card.name and preset_state(other) is PresetState.INSTALLED:
            for weights in other.card.files:
                needed.setdefault(other.path(weights.file).resolve(), other.card.name)
    return needed


def _remove_file(path: Path, removal: Removal) -> None:
    part = part_path(path)
    for draft in (part, part.with_name(f"{part.name}.json"), adopted_path(path)):
        with contextlib.suppress(OSError):
            draft.unlink()
    if not path.is_file():
        return
    receipt = read_receipt(path)
    if receipt is None or not receipt.source:
        removal.kept.append(f"{path} was kept, because GeoSeg did not put it there.")
        return
    for each in (converted_path(path), path):
        if not each.is_file():
            continue
        size = each.stat().st_size
        try:
            each.unlink()
        except OSError as error:
            raise unwritable(each, error) from error
        removal.freed += size
    with contextlib.suppress(OSError):
        receipt_path(path).unlink()
    removal.deleted.append(path.name)


def _remove_empty_folders(folder: Path, top: Path) -> None:
    with contextlib.suppress(OSError):
        while folder != top and top in folder.parents:
            folder.rmdir()
            folder = folder.parent
