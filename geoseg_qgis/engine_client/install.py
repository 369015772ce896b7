"""Creates, updates and repairs the engine's environment, for QGIS and the command line alike.

First comes PyTorch, which depends on the computer (`torch_choice`), then the other wheels, each
checked against the hashes of the lock file. Then the packages that are published as source only are
built without build isolation, which would download a second PyTorch unchecked. A marker file shows
that an installation is not finished.
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
from .child_process import clean_environment, without_certificates_of_qgis
from .commands import CommandError, CommandRunner
from .disk_checks import check_space, check_writable
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
from .nvidia import find_driver
from .package_index import index_environment, trust_environment
from .setup_plan import ADD_GPU, installed_kind, planned_action
from .torch_choice import (
    CUDA,
    PROCESSOR,
    Computer,
    TorchChoice,
    choose_torch,
    locked_choice,
    this_computer,
)
from .torch_index import (
    Installer,
    TorchSource,
    left_over,
    read_receipt,
    resolve_torch,
    split_lock,
    stated_facts,
    write_parts,
)
from .uv import find_or_fetch_uv
from .verify import verify_environment

ReportCallback = Callable[[float, str], None]
_SIZE = re.compile(r"Downloading (\S+) \(([\d.]+)([KMG])iB\)")
_UNITS = {"K": 1 / 1024, "M": 1.0, "G": 1024.0}
_MIB = 2**20
# Room to unpack, in parts of what is on the disk afterwards.
_ROOM = 1.4


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
    given = without_certificates_of_qgis({**os.environ, **(variables or {})})
    environment = {
        **trust_environment(), **clean_environment(given), **index_environment(given),
    }  # fmt: skip
    # The largest package has almost 1 GB: uv's default of 30 seconds is too short on a slow line.
    environment.setdefault("UV_HTTP_TIMEOUT", "120")
    runner = CommandRunner(environment, destination.parent, log_file, is_cancelled)
    computer = this_computer(find_driver(given), given)
    name = hashlib.sha256(str(destination).encode("utf-8")).hexdigest()[:16]
    lock_file = data_folder() / "locks" / f"{name}.lock"

    def report_waiting() -> None:
        report(0.0, "Waiting for another installation")

    try:
        with exclusive_lock(lock_file, report_waiting, is_cancelled):
            _Installation(
                destination,
                runner,
                report,
                tuple(path.resolve() for path in extra_locks),
                computer,
                choose_torch(computer),
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
    computer: Computer
    choice: TorchChoice
    uv: str = ""
    source: TorchSource = field(default_factory=TorchSource)
    sizes: Dict[str, float] = field(default_factory=dict)
    fetched: float = 0.0
    reached: float = 0.1

    @property
    def python(self) -> Path:
        return environment_python(self.destination)

    @property
    def marker(self) -> Path:
        return self.destination / CRASH_MARKER

    @property
    def lock(self) -> Path:
        return LOCKS / "engine.txt"

    def bring_up_to_date(self) -> None:
        """Check, update or create the environment, whichever is enough."""
        self._check_folder()
        stamp = read_stamp(self.destination)
        extra = [_digest(path) for path in self.extra_locks]
        installed = stamp.get("extra", [])
        intact = self.python.exists() and not self.marker.exists()
        current = stamp.get("lock") == lock_hash() and set(extra) <= set(installed)
        versions: Optional[Dict[str, Any]] = None
        if intact and current and self._check() is not None:
            if planned_action(self.destination, self.choice) != ADD_GPU:
                return
            self._get_uv()
            versions = self._add_gpu()
            if versions is None:
                return
        else:
            self._get_uv()
            if intact and not current and self._python_runs():
                versions = self._update(stamp)
            if versions is None:
                installed = []
                self._create()
                self._install_packages()
                versions = self._verify()
        self._report_device(versions)
        made = {"lock": lock_hash(), "extra": sorted({*installed, *extra}), "uv": self.uv}
        torch = stated_facts(self.source)
        self._finish({**made, **versions, "torch": torch, "made": time.strftime("%Y-%m-%d")})

    def _get_uv(self) -> None:
        self.report(0.02, "Getting the installer")
        self.uv = find_or_fetch_uv(self.runner)

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

    def _check(self) -> Optional[Dict[str, Any]]:
        try:
            return self._verify()
        except CommandError:
            return None

    def _update(self, stamp: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """Update an environment of other lock files; return None if it does not work afterwards."""
        self._find_torch(read_receipt(self.destination))
        before = (stamp.get("torch") or {}).get("build", "")
        self._install_packages(replace_torch=before != self.source.build)
        return self._check()

    def _add_gpu(self) -> Optional[Dict[str, Any]]:
        """Replace the PyTorch of an environment that works on the processor only.

        Returns None where that cannot be had; the environment stays as it is then.
        """
        self._find_torch(read_receipt(self.destination))
        if self.choice.kind != CUDA:
            return None
        check_space(self.destination, int(_ROOM * self.choice.disk_bytes))
        self.report(0.08, "Replacing the PyTorch for the processor by the one for the NVIDIA card")
        try:
            # uv downloads everything before it touches the environment.
            self._install_packages(replace_torch=True)
            return self._verify()
        except CommandError as error:
            if installed_kind(self._check() or {}) != PROCESSOR:
                raise
            self.marker.unlink()
            reason = explain_failure(error, str(self.runner.log_file)).message
            self.report(0.95, f"{reason} The engine still works on the processor.")
            return None

    def _create(self) -> None:
        space = int(_ROOM * self.choice.disk_bytes)
        check_space(self.destination, space)
        receipt = read_receipt(self.destination)
        self.report(0.06, "Creating the environment")
        python = choose_python(self.runner)
        options = ["--clear"] if self.destination.exists() else []
        self.runner.run([self.uv, "venv", "--python", python, *options, str(self.destination)])
        self.sizes, self.fetched, self.reached = {}, 0.0, 0.1
        self._find_torch(receipt)
        if int(_ROOM * self.choice.disk_bytes) > space:
            check_space(self.destination, int(_ROOM * self.choice.disk_bytes))

    def _find_torch(self, receipt: str) -> None:
        """Find out where the chosen PyTorch can be had, and tell the user."""
        if not split_lock(self.lock.read_text(encoding="utf-8"))[0].strip():
            return
        tool = Installer(self.uv, self.python, self.runner)
        self.source = resolve_torch(self.choice, self.lock, receipt, tool)
        if self.source.problem:
            self.choice = locked_choice(self.choice, self.computer, self.source.problem)
        self.report(0.08, self.choice.reason)

    def _python_runs(self) -> bool:
        try:
            self.runner.run([str(self.python), "-I", "-c", "import sys"], timeout=60.0)
        except CommandError:
            return False
        return True

    def _install_packages(self, replace_torch: bool = False) -> None:
        self.marker.write_text("An installation is running or was interrupted.\n", encoding="utf-8")
        checked = ["--require-hashes", "--no-deps"]
        wheels = [*checked, "--only-binary", ":all:", "--compile-bytecode"]
        again = ["--reinstall-package", "torch", "--reinstall-package", "torchvision"]
        again = again if replace_torch else []
        torch, rest = write_parts(self.source, self.lock, self.destination)
        if torch:
            self.report(0.1, "Installing PyTorch")
            place = ["--index", self.source.index, "--index-strategy", "first-index"]
            self._pip([*wheels, *again, *place, "-r", str(torch[0])])
            unused = left_over(self.source, self.lock) if again else []
            if unused:
                self.runner.run(self._uv_pip("uninstall", *unused))
            again = []
        for lock in (rest, *self.extra_locks):
            self.report(0.1, f"Installing the packages in {lock.name}")
            self._pip([*wheels, *(again if lock == rest else []), "-r", str(lock)])
        self.report(0.85, "Building the packages that are published as source only")
        sources = [*checked, "--no-build-isolation", "-r", str(LOCKS / "sources.txt")]
        self._pip([*sources, "--compile-bytecode"], {"SAM2_BUILD_CUDA": "0"})

    def _uv_pip(self, verb: str, *options: str) -> List[str]:
        return [self.uv, "pip", verb, "--python", str(self.python), *options]

    def _pip(self, options: Sequence[str], extra: Optional[Dict[str, str]] = None) -> None:
        command = self._uv_pip("install", *options)
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
        share = min(self.fetched / max(total, self.choice.download_bytes / _MIB), 1.0)
        self.reached = max(self.reached, 0.1 + 0.7 * share)
        text = f"Downloading packages, {self.fetched:.0f} of at least {total:.0f} MB"
        self.report(self.reached, text)

    def _report_device(self, versions: Dict[str, Any]) -> None:
        """Tell which device computed, and why not the NVIDIA card that PyTorch was chosen for."""
        device = versions.get("device") or {}
        if device.get("problem") or (self.choice.kind == CUDA and self.computer.driver):
            text = device_sentence(device)
            self.report(0.95, text)

    def _finish(self, stamp: Dict[str, object]) -> None:
        path = self.destination / STAMP
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
        os.replace(str(draft), str(path))  # noqa: PTH105
        self.marker.unlink()


def device_sentence(device: Dict[str, Any]) -> str:
    """Return what a check of the graphics card found, see `verify.verify_environment`."""
    name, problem = device.get("name") or "The graphics card", device.get("problem")
    if problem:
        return f"{name} did not compute ({problem}), so the engine uses the processor."
    if device.get("name"):
        return f"{name} computed a first result and is used."
    return "PyTorch finds no graphics card, so the engine uses the processor."


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
