"""Finds the engine's Python.

The order is: the variable ``GEOSEG_PYTHON``, the plugin's setting, ``.venv`` beside the package,
and the per-user environment, whose folder is named after the hash of the lock files.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from ..protocol.errors import ErrorCode, JobError

PYTHON_VARIABLE = "GEOSEG_PYTHON"
DATA_VARIABLE = "GEOSEG_DATA"
LOCKS = Path(__file__).parent / "locks"
PACKAGE = Path(__file__).resolve().parents[1]
STAMP = "geoseg-engine.json"
CRASH_MARKER = "geoseg-installing"
SETUP_HINT = "Run the algorithm 'Set up the engine' (geoseg:setup), or 'make setup' in a checkout."


@dataclass(frozen=True)
class EngineLocation:
    """A Python that can run the engine.

    Attributes:
        python: Path of the interpreter.
        origin: Where it was found: ``variable``, ``setting``, ``checkout`` or ``user``.
    """

    python: str
    origin: str


def data_folder() -> Path:
    """Return the folder of the per-user environment, its logs and its copy of uv."""
    chosen = os.environ.get(DATA_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData/Local"))) / "geoseg"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/geoseg"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "geoseg"


def lock_hash() -> str:
    """Return the SHA-256 of the lock files of the engine's environment."""
    digest = hashlib.sha256()
    for name in ("engine.txt", "sources.txt"):
        digest.update((LOCKS / name).read_bytes())
    return digest.hexdigest()


def default_destination() -> Path:
    """Return the folder of the per-user environment for the current lock files."""
    return data_folder() / f"engine-{lock_hash()[:12]}"


def checkout_environment() -> Path:
    """Return ``.venv`` beside the package; it need not exist."""
    return PACKAGE.parent / ".venv"


def environment_python(environment: Path) -> Path:
    """Return the path of the interpreter of a virtual environment."""
    if sys.platform == "win32":
        return environment / "Scripts" / "python.exe"
    return environment / "bin" / "python"


def read_stamp(environment: Path) -> Dict[str, Any]:
    """Return the record of the last complete installation in ``environment``, or {}."""
    try:
        stamp = json.loads((environment / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def locate_engine(setting: str = "") -> EngineLocation:
    """Return the Python that runs the engine; it is not started.

    Args:
        setting: Interpreter or environment folder from the plugin's options.

    Raises:
        JobError: ``ENGINE_MISSING`` when there is none.
    """
    for chosen, origin in ((os.environ.get(PYTHON_VARIABLE, ""), "variable"), (setting, "setting")):
        if chosen.strip():
            return _chosen_location(chosen.strip(), origin)
    for environment, origin in (
        (checkout_environment(), "checkout"),
        (default_destination(), "user"),
    ):
        location = _usable(environment, origin)
        if location is not None:
            return location
    raise JobError(ErrorCode.ENGINE_MISSING, "The engine is not installed yet.", SETUP_HINT)


def engine_ready(setting: str = "") -> Tuple[bool, str]:
    """Return whether there is an engine and, if not, what is wrong and what to do."""
    try:
        locate_engine(setting)
    except JobError as error:
        return False, str(error)
    return True, ""


def _chosen_location(chosen: str, origin: str) -> EngineLocation:
    path = Path(chosen).expanduser()
    if path.is_dir():
        path = environment_python(path)
    if path.is_file() and os.access(str(path), os.X_OK):
        return EngineLocation(str(path), origin)
    source = f"the variable {PYTHON_VARIABLE}" if origin == "variable" else "the GeoSeg options"
    raise JobError(
        ErrorCode.ENGINE_MISSING,
        f"There is no Python interpreter at {chosen}, the path in {source}.",
        "Correct the path, or clear it to use the engine that GeoSeg installs.",
    )


def _usable(environment: Path, origin: str) -> Optional[EngineLocation]:
    python = environment_python(environment)
    if not python.is_file() or (environment / CRASH_MARKER).exists():
        return None
    if origin == "user" and read_stamp(environment).get("lock") != lock_hash():
        return None
    return EngineLocation(str(python), origin)
