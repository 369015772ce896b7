"""A copy of the package with one more kind of job: the three files of ``toy_kind``."""

from __future__ import annotations

import shutil
from pathlib import Path

from places import PACKAGE

KIND = "brightness"
_TOY = Path(__file__).parent / "toy_kind"
_PLACES = {"task.py": "protocol/tasks", "job.py": "engine/jobs", "algorithm.py": "processing"}


def copy_package(folder: Path) -> Path:
    """Copy the package without its weights, add the new kind, and return the copy's parent."""
    ignored = shutil.ignore_patterns("__pycache__", "builtin")
    copy = shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=ignored)
    for file, place in _PLACES.items():
        shutil.copy(_TOY / file, copy / place / f"{KIND}.py")
    return folder
