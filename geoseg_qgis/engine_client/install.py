"""Creates, updates and repairs the engine's environment, for QGIS and the command line alike.

First the wheels are installed, each checked against the hashes of the lock file. Then the packages
that are published as source only are built without build isolation, which would download a second
PyTorch unchecked. A marker file shows that an installation is not finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..protocol.errors import ErrorCode, JobError
from .child_process import clean_environment
from .commands import CommandError, CommandRunner
from .disk_checks import check_space, check_writable, space_needed
from .file_lock import exclusive_lock
from .install_errors import explain_failure
from .interpreter import choose_python
from .locate import (
    CRASH_MARKER,
    LOCKS,
    STAMP,
    EngineLocation,
    data_folder,
    default_destination,
    environment_python,
    lock_hash,
    read_stamp,
)
from .package_index import index_environment, trust_environment
from .uv import find_or_fetch_uv
from .verify import verify_environment

ReportCallback = Callable[[float, str], None]
_SIZE = re.compile(r"Downloading (\S+) \(([\d.]+)([KMG])iB\)")
# Megabytes that a Linux computer downloads: PyTorch with CUDA makes up most of them.
_USUAL_DOWNLOAD = 3100.0
_UNITS = {"K": 1 / 1024, "M": 1.0, "G": 1024.0}


def install_engine(
    destination: Path,
    report: ReportCallback,
    is_cancelled: Callable[[], bool],
    extra_locks: Sequence[Path] = (),
    variables: Optional[Mapping[str, str]] = None,
) -> EngineLocation:
    """Bring the environment in ``destination`` up to date with the lock files and check it.

    An environment that is up to date is only checked; a broken one is created again.

    Args:
        destination: Folder of the environment; see `locate.default_destination`.
        report: Called with the finished fraction in 0..1 and the current step.
        is_cancelled: Polled ten times a second; once true, the running command is killed.
        extra_locks: Further requirement files with hashes, for developers.
        variables: Environment variables besides the system's, such as QGIS's proxy.

    Raises:
        CancelledError: When the user cancelled; downloads are kept for the next call.
        JobError: What went wrong and what to do; the installer's output is in ``detail``.
    """
    destination = Path(os.path.abspath(str(destination)))  # noqa: PTH100  keeps symbolic links
    check_writable(destination.parent)
    log_file = _new_log()
    given = {**os.environ, **(variables or {})}
    environment = {
        **trust_environment(), **clean_environment(given), **index_environment(given),
    }  # fmt: skip
    # The largest package has almost 1 GB: uv's default of 30 seconds is too short on a slow line.
    environment.setdefault("UV_HTTP_TIMEOUT", "120")
    runner = CommandRunner(environment, destination.parent, log_file, is_cancelled)
    name = hashlib.sha256(str(destination).encode("utf-8")).hexdigest()[:16]
    lock_file = data_folder() / "locks" / f"{name}.lock"

    def report_waiting() -> None:
        report(0.0, "Waiting for another installation")

    try:
        with exclusive_lock(lock_file, report_waiting, is_cancelled):
            _Installation(
                destination, runner, report, tuple(path.resolve() for path in extra_locks)
            ).bring_up_to_date()
    except CommandError as error:
        raise explain_failure(error, str(log_file)) from error
    report(1.0, "The engine is ready")
    return EngineLocation(str(environment_python(destination)), _origin(destination))


def remove_superseded() -> List[str]:
    """Delete the per-user environments of other lock files; return their names."""
    removed = []
    for folder in sorted(data_folder().glob("engine-*")):
        if folder.is_dir() and folder != default_destination():
            shutil.rmtree(str(folder), ignore_errors=True)
            removed.append(folder.name)
    return removed


def _origin(destination: Path) -> str:
    return "user" if destination == default_destination() else "checkout"


def _new_log() -> Path:
    path = data_folder() / "logs" / "setup.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            os.replace(str(path), str(path.with_suffix(".log.1")))  # noqa: PTH105
    except OSError as error:
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            f"The folder {path.parent} is not writable.",
            "Set the variable GEOSEG_DATA to a folder that is.",
            str(error),
        ) from error
    return path


@dataclass
class _Installation:
    destination: Path
    runner: CommandRunner
    report: ReportCallback
    extra_locks: Tuple[Path, ...]
    uv: str = ""
    sizes: Dict[str, float] = field(default_factory=dict)
    fetched: float = 0.0
    reached: float = 0.1

    @property
    def python(self) -> Path:
        return environment_python(self.destination)

    @property
    def marker(self) -> Path:
        return self.destination / CRASH_MARKER

    def bring_up_to_date(self) -> None:
        """Check, update or create the environment, whichever is enough."""
        self._check_folder()
        stamp = read_stamp(self.destination)
        extra = [_digest(path) for path in self.extra_locks]
        installed = stamp.get("extra", [])
        intact = self.python.exists() and not self.marker.exists()
        current = stamp.get("lock") == lock_hash() and set(extra) <= set(installed)
        if intact and current and self._check() is not None:
            return
        self.report(0.02, "Getting the installer")
        self.uv = find_or_fetch_uv(self.runner)
        versions = self._update() if intact and not current and self._python_runs() else None
        if versions is None:
            installed = []
            self._create()
            self._install_packages()
            versions = self._verify()
        made = {"lock": lock_hash(), "extra": sorted({*installed, *extra}), "uv": self.uv}
        self._finish({**made, **versions, "made": time.strftime("%Y-%m-%d")})

    def _check_folder(self) -> None:
        folder = self.destination
        if not folder.exists() or (folder / "pyvenv.cfg").exists() or self.marker.exists():
            return
        if not folder.is_dir() or any(folder.iterdir()):
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                f"{folder} is not empty and holds no engine, so nothing was installed there.",
                "Choose an empty or new folder.",
            )

    def _verify(self) -> Dict[str, Any]:
        self.report(0.9, "Checking that every package works")
        return verify_environment(self.python, self.runner)

    def _update(self) -> Optional[Dict[str, Any]]:
        """Update an environment of other lock files; return None if it does not work afterwards."""
        self._install_packages()
        return self._check()

    def _check(self) -> Optional[Dict[str, Any]]:
        try:
            return self._verify()
        except CommandError:
            return None

    def _create(self) -> None:
        check_space(self.destination, space_needed())
        self.report(0.06, "Creating the environment")
        python = choose_python(self.runner)
        options = ["--clear"] if self.destination.exists() else []
        self.runner.run([self.uv, "venv", "--python", python, *options, str(self.destination)])
        self.sizes, self.fetched, self.reached = {}, 0.0, 0.1

    def _python_runs(self) -> bool:
        try:
            self.runner.run([str(self.python), "-I", "-c", "import sys"], timeout=60.0)
        except CommandError:
            return False
        return True

    def _install_packages(self) -> None:
        self.marker.write_text("An installation is running or was interrupted.\n", encoding="utf-8")
        checked = ["--require-hashes", "--no-deps"]
        wheels = [*checked, "--only-binary", ":all:", "--compile-bytecode"]
        for lock in (LOCKS / "engine.txt", *self.extra_locks):
            self.report(0.1, f"Installing the packages in {lock.name}")
            self._pip([*wheels, "-r", str(lock)])
        self.report(0.85, "Building the packages that are published as source only")
        sources = [*checked, "--no-build-isolation", "-r", str(LOCKS / "sources.txt")]
        self._pip([*sources, "--compile-bytecode"], {"SAM2_BUILD_CUDA": "0"})

    def _pip(self, options: Sequence[str], extra: Optional[Dict[str, str]] = None) -> None:
        command = [self.uv, "pip", "install", "--python", str(self.python), *options]
        self.runner.run(command, timeout=7200.0, on_line=self._follow_downloads, extra=extra)

    def _follow_downloads(self, line: str) -> None:
        """Report progress from uv's lines about the larger packages, most of the download."""
        started = _SIZE.search(line)
        if started:
            self.sizes[started.group(1)] = float(started.group(2)) * _UNITS[started.group(3)]
        elif line.strip().startswith("Downloaded "):
            self.fetched += self.sizes.get(line.rsplit(maxsplit=1)[-1], 0.0)
        else:
            return
        total = sum(self.sizes.values())
        share = min(self.fetched / max(total, _USUAL_DOWNLOAD), 1.0)
        self.reached = max(self.reached, 0.1 + 0.7 * share)
        text = f"Downloading packages, {self.fetched:.0f} of at least {total:.0f} MB"
        self.report(self.reached, text)

    def _finish(self, stamp: Dict[str, object]) -> None:
        path = self.destination / STAMP
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
        os.replace(str(draft), str(path))  # noqa: PTH105
        self.marker.unlink()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
