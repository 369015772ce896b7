"""Checks of a folder before anything is installed into it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..protocol.errors import ErrorCode, JobError

_GIB = 2**30


def check_space(folder: Path, needed: int) -> None:
    """Check that ``needed`` bytes are free on the disk of ``folder``, which need not exist yet.

    Some network drives report 0 free bytes; that counts as unknown and passes.

    Raises:
        JobError: ``DISK_FULL``.
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
            f"The engine needs {needed / _GIB:.1f} GB in {place}, but only {free / _GIB:.1f} GB "
            "are free.",
            "Free some disk space, then run the set-up again.",
        )


def check_writable(folder: Path) -> None:
    """Check that a file can be created in ``folder``.

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
            f"The engine cannot be installed in {folder} because that folder is not writable.",
            "Choose another folder or change its permissions.",
            str(error),
        ) from error
