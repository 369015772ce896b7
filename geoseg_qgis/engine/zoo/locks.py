"""Keeps two programs from bringing, or taking away, the same file at once."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import portalocker

from geoseg_qgis.engine.files import unwritable

from .pace import Watch

_POLL = 0.2


@contextlib.contextmanager
def alone_with(folder: Path, file: str, watch: Watch) -> Iterator[None]:
    """Hold the lock of one file of a folder; it ends with the process, however that ends.

    Args:
        folder: Folder of the preset.
        file: The file, relative to the folder.
        watch: Told when another program holds the lock, and asked whether to go on waiting.

    Raises:
        CancelledError: When the user cancelled while waiting.
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL`` when there can be no lock.
    """
    name = hashlib.sha256(file.encode("utf-8")).hexdigest()[:16]
    # These files stay: deleting one that somebody waits for would let two in.
    path = folder / ".locks" / f"{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+b")
    except OSError as error:
        raise unwritable(folder / file, error) from error
    with handle:
        told = False
        while not _try_lock(handle):
            if not told:
                watch.info(f"Another program is busy with {file}; waiting for it.")
                told = True
            watch.check_cancelled()
            time.sleep(_POLL)
        try:
            yield
        finally:
            portalocker.unlock(handle)


def _try_lock(handle: IO[bytes]) -> bool:
    try:
        portalocker.lock(handle, portalocker.LOCK_EX | portalocker.LOCK_NB)
    except portalocker.LockException:
        return False
    return True
