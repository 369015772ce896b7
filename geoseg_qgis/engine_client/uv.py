"""Finds uv, which creates the engine's environment, or installs a copy of it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from ..protocol.errors import ErrorCode, JobError
from .commands import CommandError, CommandRunner
from .interpreter import running_python
from .locate import LOCKS, data_folder, environment_python
from .package_index import pip_environment

MINIMUM_UV = (0, 6, 0)


def find_or_fetch_uv(runner: CommandRunner) -> str:
    """Return the path of a uv that is new enough.

    Raises:
        CommandError: When it could not be installed.
        JobError: ``ENGINE_MISSING`` when there is no Python to install it with.
    """
    for candidate in _candidates():
        if _version(candidate, runner) >= MINIMUM_UV:
            return candidate
    return _install(runner)


def _candidates() -> List[str]:
    name = "uv.exe" if sys.platform == "win32" else "uv"
    own = environment_python(_own_folder()).with_name(name)
    places = [shutil.which("uv"), str(Path.home() / ".local/bin" / name)]
    places += [str(Path.home() / ".cargo/bin" / name), str(own), str(_own_folder() / "bin" / name)]
    return [place for place in places if place and Path(place).is_file()]


def _version(uv: str, runner: CommandRunner) -> Tuple[int, ...]:
    try:
        output = runner.run([uv, "--version"], timeout=30.0)
    except CommandError:
        return ()
    found = re.search(r"uv (\d+)\.(\d+)\.(\d+)", output)
    return tuple(int(part) for part in found.groups()) if found else ()


def _own_folder() -> Path:
    return data_folder() / "installer"


def _install(runner: CommandRunner) -> str:
    """Install uv with pip into its own folder, checked against the hashes of its lock file."""
    python = running_python() or shutil.which("python3") or shutil.which("python")
    if python is None:
        raise JobError(
            ErrorCode.ENGINE_MISSING,
            "No Python was found that could install uv.",
            "Install uv or Python 3.10 or newer, then run the set-up again.",
        )
    folder = _own_folder()
    shutil.rmtree(str(folder), ignore_errors=True)
    folder.mkdir(parents=True)
    requirements = ["--require-hashes", "--only-binary", ":all:", "-r", str(LOCKS / "uv.txt")]
    quiet = ["--disable-pip-version-check", "--no-input"]
    variables: Dict[str, str] = pip_environment()
    problem: Optional[CommandError] = None
    for attempt in (_into_environment, _into_folder):
        try:
            attempt(runner, python, folder, [*quiet, *requirements], variables)
            found = [place for place in _candidates() if place.startswith(str(folder) + os.sep)]
            if found and _version(found[0], runner) >= MINIMUM_UV:
                return found[0]
        except CommandError as error:
            problem = problem or error
    if problem is not None:
        raise problem
    raise CommandError([python], None, "uv could not be run after its installation")


def _into_environment(
    runner: CommandRunner, python: str, folder: Path, options: List[str], variables: Dict[str, str]
) -> None:
    runner.run([python, "-I", "-m", "venv", "--clear", str(folder)], timeout=300.0)
    own = str(environment_python(folder))
    runner.run([own, "-I", "-m", "pip", "install", *options], timeout=900.0, extra=variables)


def _into_folder(
    runner: CommandRunner, python: str, folder: Path, options: List[str], variables: Dict[str, str]
) -> None:
    target = ["--target", str(folder)]
    runner.run(
        [python, "-I", "-m", "pip", "install", *target, *options], timeout=900.0, extra=variables
    )
