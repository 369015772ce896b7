"""Paths for pyogrio."""

from __future__ import annotations


def readable(path: str) -> str:
    """Return a path under which pyogrio reads a local file.

    To pyogrio an exclamation mark separates an archive from a file inside of it.
    """
    return f"/vsisubfile/0,{path}" if "!" in path and not path.startswith("/vsi") else path
