"""Paths for pyogrio."""

from __future__ import annotations

from geoseg_qgis.engine.files import refuse_endless


def readable(path: str) -> str:
    """Return a path under which pyogrio reads a local file.

    To pyogrio an exclamation mark separates an archive from a file inside of it.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` for a pipe, a socket or a device.
    """
    refuse_endless(path)
    return f"/vsisubfile/0,{path}" if "!" in path and not path.startswith("/vsi") else path
