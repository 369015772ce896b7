"""What keeps two installations apart, and an installation off a full disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import IO, Callable, Iterator

from ..protocol.errors import CancelledError, ErrorCode, JobError

_GIB = 2**30
_POLL = 0.2


@contextlib.contextmanager
def only_one(
    lock_file: Path, on_wait: Callable[[], None], is_cancelled: Callable[[], bool]
) -> Iterator[None]:
    """Hold an operating-system lock on ``lock_file``: it ends with the process, however that ends.

    Args:
        lock_file: File that stands for what is protected; it stays behind, empty.
        on_wait: Called once when another process holds it.
        is_cancelled: Polled while waiting.

    Raises:
        CancelledError: When the user cancelled while waiting.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("a+b") as handle:
        waiting = False
        while not _try_lock(handle):
            if not waiting:
                on_wait()
                waiting = True
            if is_cancelled():
                raise CancelledError
            time.sleep(_POLL)
        try:
            yield
        finally:
            _unlock(handle)


def check_space(folder: Path, needed: int) -> None:
    """Refuse when less than ``needed`` bytes are free where ``folder`` will lie.

    Raises:
        JobError: ``DISK_FULL``. A reading of 0 bytes counts as unknown and passes.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(str(place)).free
    except OSError:
        return
    if 0 < free < needed:
        raise JobError(
            ErrorCode.DISK_FULL,
            f"The engine needs {needed / _GIB:.0f} GB in {place}, and {free / _GIB:.1f} GB are "
            "free.",
            "Free some space there, then run the set-up again.",
        )


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE``.
    """
    probe = folder / f".geoseg-probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            f"The engine cannot be installed in {folder}, which may not be written.",
            "Choose another folder, or change the permissions of this one.",
            str(error),
        ) from error


def space_needed() -> int:
    """Return the bytes that an environment takes on this platform, with room to unpack."""
    return (9 if sys.platform == "linux" else 3) * _GIB


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: IO[bytes]) -> bool:
        try:
            handle.seek(0)
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(handle: IO[bytes]) -> None:
        handle.seek(0)
        msvcrt.locking(handle.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(handle: IO[bytes]) -> bool:
        try:
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _unlock(handle: IO[bytes]) -> None:
        fcntl.flock(handle.fileno(), fcntl.LOCK_UN)
