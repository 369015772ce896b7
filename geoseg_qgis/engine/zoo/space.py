"""Room on the disk, asked for before gigabytes are fetched."""

from __future__ import annotations

import shutil
from pathlib import Path

from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .pace import megabytes


def require_space(folder: Path, needed: int, what: str) -> None:
    """Refuse when fewer than ``needed`` bytes are free where ``folder`` lies or will lie.

    Args:
        folder: Where something is to be written.
        needed: Bytes of it that are still to come.
        what: What needs them, for the message.

    Raises:
        JobError: ``DISK_FULL``. A reading of 0 bytes counts as unknown and passes.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        return
    if 0 < free < needed:
        raise JobError(
            ErrorCode.DISK_FULL,
            f"{what} needs {megabytes(needed)} more in {folder}, where {megabytes(free)} are free.",
            "Free some space, or choose a model folder on another disk.",
        )
