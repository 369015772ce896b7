"""Paths as pyogrio takes them."""

from __future__ import annotations


def readable(path: str) -> str:
    """Return a path under which pyogrio reads a local file.

    pyogrio takes an exclamation mark for the border between an archive and a file inside of it.
    """
    return f"/vsisubfile/0,{path}" if "!" in path and not path.startswith("/vsi") else path
