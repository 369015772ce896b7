"""A lock between processes, so that only one of them installs into a folder."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import IO, Callable, Iterator

from ..protocol.errors import CancelledError

_POLL = 0.2


@contextlib.contextmanager
def exclusive_lock(
    lock_file: Path, on_wait: Callable[[], None], is_cancelled: Callable[[], bool]
) -> Iterator[None]:
    """Hold an operating-system lock on ``lock_file``, which a process that dies releases.

    Args:
        lock_file: Empty file that is locked; it is not deleted afterwards.
        on_wait: Called once if another process holds the lock.
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
