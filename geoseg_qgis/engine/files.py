"""Errors of disks: full ones, and folders that cannot be written to."""

from __future__ import annotations

import errno
from pathlib import Path

from geoseg_qgis.protocol.errors import ErrorCode, JobError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_WORDS = ("no space left", "disk full", "not enough space", "file too large", "disk quota")


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or what caused it, says that the disk is full."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        if any(words in str(seen).lower() for words in _FULL_WORDS):
            return True
        seen = seen.__cause__
    return False


def disk_full(
    folder: Path, needed: int | None = None, free: int | None = None, detail: str = ""
) -> JobError:
    """Return the error for a folder whose disk has no room.

    Args:
        folder: Where it was written to.
        needed: Bytes that are needed, if known.
        free: Bytes that are free, if known.
        detail: What the library said.
    """
    message = f"The disk of {folder} is full."
    if needed is not None and free is not None:
        message = (
            f"The run needs {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free."
        )
    return JobError(
        ErrorCode.DISK_FULL,
        message,
        "Free some space, choose an output folder on another disk, or name a folder for "
        "temporary files in GEOSEG_SCRATCH.",
        detail,
    )


def unwritable(path: Path, error: BaseException) -> JobError:
    """Return the error for a file or folder that cannot be written to."""
    cause = error.__cause__ or error
    reason = getattr(cause, "strerror", None) or " ".join(str(cause).split())
    if is_disk_full(error):
        return disk_full(path if path.is_dir() else path.parent, detail=str(cause))
    return JobError(
        ErrorCode.OUTPUT_UNWRITABLE,
        f"{path} cannot be written: {reason}.",
        "Choose a folder that exists and that you may write to, and close the file elsewhere.",
        f"{type(error).__name__}: {error}",
    )
