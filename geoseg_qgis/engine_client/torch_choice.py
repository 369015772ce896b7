"""Which PyTorch suits a computer: for the processor, or for NVIDIA cards by their driver.

PyPI has one build of each version and system: with CUDA on Linux, without it on Windows. The other
builds are on PyTorch's own index, one folder for each, called like uv's ``--torch-backend``.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Tuple

from .locate import LOCKS
from .nvidia import NvidiaDriver

BACKEND_VARIABLE = "UV_TORCH_BACKEND"
"""uv's variable that chooses a build: ``auto``, ``cpu`` or, for example, ``cu126``."""

PROCESSOR = "cpu"
CUDA = "cuda"
APPLE = "apple"

_Version = Tuple[int, ...]
_MB = 10**6


@dataclass(frozen=True)
class _Build:
    """A build with CUDA: the oldest driver for it by system, and the cards it has code for.

    The drivers are those of table 2 of the release notes of CUDA 13, 12 and 11.8, the compute
    capabilities those of PyTorch's build scripts.
    """

    name: str
    linux: _Version
    windows: _Version
    cards: Tuple[Tuple[int, int], Tuple[int, int]]


_BUILDS = (
    _Build("cu132", (580,), (580,), ((7, 5), (99, 0))),
    _Build("cu130", (580,), (580,), ((7, 5), (99, 0))),
    _Build("cu129", (525, 60, 13), (528, 33), ((7, 0), (12, 9))),
    _Build("cu128", (525, 60, 13), (528, 33), ((7, 0), (12, 9))),
    _Build("cu126", (525, 60, 13), (528, 33), ((5, 0), (9, 9))),
    _Build("cu118", (450, 80, 2), (452, 39), ((3, 7), (9, 9))),
)

# Bytes to download and on the disk afterwards. Those of the lock file are the sizes of its wheels
# and of the installed files; those of builds from PyTorch's index are close to them.
_SIZES: Dict[Tuple[str, str], Tuple[int, int]] = {
    ("linux", CUDA): (3_250 * _MB, 6_300 * _MB),
    ("linux", PROCESSOR): (410 * _MB, 1_800 * _MB),
    ("win32", CUDA): (2_600 * _MB, 5_500 * _MB),
    ("win32", PROCESSOR): (310 * _MB, 1_300 * _MB),
    ("darwin", APPLE): (280 * _MB, 1_300 * _MB),
}


@dataclass(frozen=True)
class Computer:
    """What decides the choice.

    Attributes:
        system: ``sys.platform``.
        machine: Architecture of the processor, as `platform.machine` says.
        driver: Driver of the NVIDIA card, None where there is none.
        wish: Build that the user asks for, see `BACKEND_VARIABLE`; empty for none.
    """

    system: str
    machine: str
    driver: Optional[NvidiaDriver] = None
    wish: str = ""


@dataclass(frozen=True)
class TorchChoice:
    """What is to be installed.

    Attributes:
        kind: ``cpu``, ``cuda`` or ``apple``.
        reason: One sentence for the user.
        builds: Folders of PyTorch's index to try in this order; none for the lock file's build.
        download_bytes: Bytes of all packages of the engine, about.
        disk_bytes: Bytes on the disk afterwards, about.
    """

    kind: str
    reason: str
    builds: Tuple[str, ...] = ()
    download_bytes: int = field(default=0)
    disk_bytes: int = field(default=0)


def this_computer(
    driver: Optional[NvidiaDriver], variables: Optional[Mapping[str, str]] = None
) -> Computer:
    """Return this computer, with a driver found by `nvidia.find_driver`."""
    given = os.environ if variables is None else variables
    return Computer(sys.platform, platform.machine(), driver, given.get(BACKEND_VARIABLE, ""))


def choose_torch(computer: Computer, cuda_of_lock: int = 0) -> TorchChoice:
    """Return the PyTorch for a computer.

    Args:
        computer: System and driver.
        cuda_of_lock: Major version of CUDA that the lock file installs on Linux; 0 reads it.
    """
    if computer.system == "darwin":
        return _sized(computer, APPLE, "PyTorch for Apple computers uses the Apple chip.")
    wish = computer.wish.strip().lower()
    if wish == PROCESSOR or re.fullmatch(r"cu\d{2,3}", wish):
        kind = PROCESSOR if wish == PROCESSOR else CUDA
        reason = f"The variable {BACKEND_VARIABLE} asks for PyTorch {wish}."
        locked = wish == PROCESSOR and computer.system == "win32"
        return _sized(computer, kind, reason, () if locked else (wish,))
    driver = computer.driver
    if driver is None:
        reason = "No NVIDIA card was found, so PyTorch for the processor is chosen."
        return _processor(computer, reason)
    builds = builds_for(computer)
    if not builds:
        return _processor(computer, _unsuitable(driver))
    reason = f"PyTorch for NVIDIA cards is chosen for the {driver.title}."
    major = cuda_of_lock or locked_cuda()
    if computer.system == "linux" and builds[0].startswith(f"cu{major}"):
        builds = ()
    return _sized(computer, CUDA, reason, builds)


def builds_for(computer: Computer) -> Tuple[str, ...]:
    """Return the builds with CUDA that driver and cards support, newest first."""
    driver = computer.driver
    if driver is None:
        return ()
    found: List[str] = []
    for build in _BUILDS:
        oldest = build.windows if computer.system == "win32" else build.linux
        low, high = build.cards
        suits = driver.capability is None or low <= driver.capability <= high
        if driver.version >= oldest and suits:
            found.append(build.name)
    return tuple(found)


def locked_cuda() -> int:
    """Return the major version of CUDA that the lock file installs on Linux; 0 without any."""
    text = (LOCKS / "engine.txt").read_text(encoding="utf-8")
    majors = re.findall(r"^nvidia-cuda-runtime==(\d+)\.", text, re.MULTILINE)
    return min(map(int, majors), default=0)


def locked_choice(choice: TorchChoice, computer: Computer, reason: str) -> TorchChoice:
    """Return the choice that remains when PyTorch's index cannot give what was chosen."""
    kind = CUDA if computer.system == "linux" else PROCESSOR
    return _sized(computer, kind, f"{choice.reason} {reason}")


def _processor(computer: Computer, reason: str) -> TorchChoice:
    return _sized(computer, PROCESSOR, reason, () if computer.system == "win32" else (PROCESSOR,))


def _unsuitable(driver: NvidiaDriver) -> str:
    needed = _BUILDS[0].linux
    remedy = f"; install driver {needed[0]} or newer and run the set-up again"
    return (
        f"PyTorch does not support the {driver.title}, so PyTorch for the processor is chosen"
        f"{remedy if driver.version < needed else ''}."
    )


def _sized(computer: Computer, kind: str, reason: str, builds: Tuple[str, ...] = ()) -> TorchChoice:
    system = computer.system if computer.system in ("win32", "darwin") else "linux"
    download, disk = _SIZES[system, kind]
    return TorchChoice(kind, reason, builds, download, disk)
