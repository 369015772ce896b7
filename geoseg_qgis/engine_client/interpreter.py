"""Chooses the Python that the engine's environment is created with."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import List, Optional, Tuple

from .commands import CommandError, CommandRunner

OLDEST = (3, 10)
NEWEST = (3, 14)
MANAGED_VERSION = "3.12"
_PROBE = (
    "import ssl, struct, sys; "
    "print('python', sys.implementation.name, *sys.version_info[:2], struct.calcsize('P') * 8)"
)


def running_python() -> Optional[str]:
    """Return the interpreter of this process; in QGIS ``sys.executable`` may be QGIS itself."""
    if Path(sys.executable or "").name.lower().startswith("python"):
        return sys.executable
    for prefix in (sys.exec_prefix, sys.base_exec_prefix):
        if sys.platform == "win32":
            candidates = [Path(prefix) / "python.exe", Path(prefix) / "python3.exe"]
        else:
            version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
            candidates = [Path(prefix) / "bin" / version, Path(prefix) / "bin" / "python3"]
        for candidate in candidates:
            if candidate.is_file():
                return str(candidate)
    return None


def choose_python(runner: CommandRunner) -> str:
    """Return the value for ``uv venv --python``: a path, or a version that uv downloads.

    On Linux the running Python is preferred. On other systems QGIS brings an incomplete Python,
    which is never used.
    """
    candidates: List[Optional[str]] = []
    bundled = sys.platform != "linux" and "python" not in Path(sys.executable or "").name.lower()
    if not bundled:
        candidates.append(running_python())
    candidates += [shutil.which(name) for name in ("python3", "python3.12", "python3.11", "python")]
    for candidate in candidates:
        if candidate and suits_engine(candidate, runner):
            return candidate
    return MANAGED_VERSION


def suits_engine(python: str, runner: CommandRunner) -> bool:
    """Return whether ``python`` is a 64-bit CPython with ssl of a supported version."""
    if "WindowsApps" in python:
        return False
    try:
        output = runner.run([python, "-I", "-c", _PROBE], timeout=60.0).split()
        start = output.index("python")
        name, major, minor, bits = output[start + 1 : start + 5]
        version: Tuple[int, int] = (int(major), int(minor))
    except (CommandError, ValueError):
        return False
    return name == "cpython" and bits == "64" and OLDEST <= version <= NEWEST
