"""Files that appear only when they are complete, and the errors of disks.

Example:
    >>> with draft(Path("scores.csv")) as unfinished:  # doctest: +SKIP
    ...     unfinished.write_text(table, encoding="utf-8")
"""

from __future__ import annotations

import errno
import importlib
import os
import platform
import re
import shutil
import stat
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from geoseg_qgis.protocol.errors import ErrorCode, JobError

Sidecar = Callable[[Path], Path]
"""Gives the name of a file that belongs to another one."""

# File systems allow 255 bytes; what a library appends to a draft (.aux.xml, -journal) must fit too.
_LONGEST_DRAFT = 230
_LONGEST_SUFFIX = 16
_DRAFT = re.compile(r"\.([0-9a-f]{4})-(\d+)-[0-9a-f]{8}\.part")
# Bytes; a GeoPackage without a feature has about 100 kB.
_NO_SPACE = 1 << 17
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_WORDS = ("no space left", "disk full", "not enough space", "file too large", "disk quota")


def appended(suffix: str) -> Sidecar:
    """Return the sidecar whose name is that of its file with ``suffix`` behind it."""
    return lambda path: path.with_name(path.name + suffix)


class Draft:
    """A file under another name in the same folder until it is complete.

    Args:
        final: Name that it gets in the end.
        sidecars: Files that are moved with it. Those that the draft does not have are deleted, as
            they would belong to the file before.

    Attributes:
        path: Where to write; the suffix is that of ``final``.
    """

    def __init__(self, final: Path, sidecars: tuple[Sidecar, ...] = ()) -> None:
        # A symbolic link stays; the file that it names is replaced.
        self._target = Path(os.path.realpath(final))
        self.path = _draft_path(self._target)
        self._final = final
        self._sidecars = sidecars

    def commit(self) -> None:
        """Move the draft and its sidecars to their final names.

        Raises:
            OSError: The draft could not be moved.
        """
        self.path.replace(self._target)
        for sidecar in self._sidecars:
            if sidecar(self.path).exists():
                shutil.move(sidecar(self.path), sidecar(self._final))
            else:
                sidecar(self._final).unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete whatever was not moved."""
        for path in (self.path, *(sidecar(self.path) for sidecar in self._sidecars)):
            with suppress(OSError):
                path.unlink(missing_ok=True)


@contextmanager
def draft(
    final: Path, *errors: type[Exception], sidecars: tuple[Sidecar, ...] = ()
) -> Iterator[Path]:
    """Yield the name to write a file under; it gets its final name when the block is done.

    After an error the draft is deleted and what was there before is left alone.

    Args:
        final: Final name.
        errors: Errors of the library that writes, which mean the same as an ``OSError``.
        sidecars: See `Draft`.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    unfinished = Draft(final, sidecars)
    meant: tuple[type[Exception], ...] = (OSError, *errors)
    try:
        yield unfinished.path
        unfinished.commit()
    except meant as error:
        raise unwritable(final, error) from error
    finally:
        unfinished.discard()


def _draft_path(final: Path) -> Path:
    """Return a name of its own beside ``final`` that is short enough for any file system."""
    suffix = final.suffix if len(os.fsencode(final.suffix)) <= _LONGEST_SUFFIX else ""
    ending = f".{_computer()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part{suffix}"
    stem = os.fsencode(final.name.removesuffix(suffix))[: _LONGEST_DRAFT - len(ending)]
    return final.with_name(f".{stem.decode('utf-8', 'ignore')}{ending}")


def _computer() -> str:
    """Return four digits for this computer: process numbers mean nothing on another one."""
    return f"{zlib.crc32(platform.node().encode()) & 0xFFFF:04x}"


def sweep_drafts(folder: Path) -> None:
    """Delete the drafts in a folder that processes of this computer left behind when they died."""
    for path in folder.glob(".*.part*"):
        owner = _DRAFT.search(path.name)
        if owner and owner[1] == _computer() and not _is_alive(int(owner[2])):
            with suppress(OSError):
                path.unlink()


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        # Windows refuses to delete what a living process has open.
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def claim(file: Any) -> bool:
    """Lock an open file for this process; return whether no other process has locked it."""
    try:
        if os.name == "posix":
            import fcntl  # noqa: PLC0415  not on Windows

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            windows: Any = importlib.import_module("msvcrt")
            file.seek(0)
            windows.locking(file.fileno(), windows.LK_NBLCK, 1)
    except OSError:
        return False
    return True


def refuse_endless(path: str, name: str = "") -> None:
    """Refuse a pipe, a socket or a device as an input: reading it may never end.

    Args:
        path: What is to be opened; anything but a path is passed.
        name: How messages name it.

    Raises:
        JobError: ``SOURCE_UNREADABLE``.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"{name or path} is a pipe, a socket or a device, not a file.",
            "Save its content as a file, then choose that.",
        )


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or its cause, is that the disk is full."""
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
        detail: Message of the library.
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


def _has_no_space(folder: Path) -> bool:
    """Return whether nothing fits on a disk: libraries then report what they could not do next."""
    try:
        return shutil.disk_usage(folder).free < _NO_SPACE
    except OSError:
        return False


def unwritable(path: Path, error: BaseException) -> JobError:
    """Return the error for a file or folder that cannot be written to."""
    cause = error.__cause__ or error
    reason = getattr(cause, "strerror", None) or " ".join(str(cause).split())
    folder = path if path.is_dir() else path.parent
    if is_disk_full(error) or _has_no_space(folder):
        return disk_full(folder, detail=str(cause))
    return JobError(
        ErrorCode.OUTPUT_UNWRITABLE,
        f"{path} cannot be written: {reason}.",
        "Choose a folder that exists and that you may write to, and close the file elsewhere.",
        f"{type(error).__name__}: {error}",
    )
