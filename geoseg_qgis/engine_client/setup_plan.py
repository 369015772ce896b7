"""What a set-up would do on this computer, before anything is downloaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .locate import (
    CRASH_MARKER,
    LOCKS,
    checkout_environment,
    default_destination,
    environment_python,
    lock_hash,
    read_stamp,
)
from .nvidia import find_driver
from .torch_choice import CUDA, PROCESSOR, Computer, TorchChoice, choose_torch, this_computer

INSTALL = "install"
UPDATE = "update"
ADD_GPU = "add-gpu"
CHECK = "check"


@dataclass(frozen=True)
class SetupPlan:
    """What `install.install_engine` would do.

    Attributes:
        kind: PyTorch that suits this computer: ``cpu`` for the processor, ``cuda`` for NVIDIA
            cards, ``apple`` for Apple computers.
        reason: Why, in one sentence.
        download_bytes: Bytes to download, about; 0 when the environment is only checked.
        disk_bytes: Bytes on the disk afterwards, about.
        packages: The packages whose build depends on the computer, with versions.
        action: ``install`` for a new environment, ``update`` for one of other lock files,
            ``add-gpu`` for one that works on the processor only although there is an NVIDIA card,
            ``check`` for one that is up to date.
    """

    kind: str
    reason: str
    download_bytes: int
    disk_bytes: int
    packages: Tuple[str, ...]
    action: str = INSTALL


def plan_setup(
    destination: Optional[Path] = None, variables: Optional[Mapping[str, str]] = None
) -> SetupPlan:
    """Return what a set-up would do; nothing is changed and no network is used.

    The driver of an NVIDIA card is asked for its version, which may take a second, so call this
    outside the main thread.

    Args:
        destination: Folder of the environment; None for `usual_destination`.
        variables: Environment variables; those of this process if None.
    """
    computer = this_computer(find_driver(variables), variables)
    return plan_for(computer, destination or usual_destination())


def usual_destination() -> Path:
    """Return ``.venv`` of a checkout that has one, else the folder of this user account."""
    checkout = checkout_environment()
    return checkout if checkout.is_dir() else default_destination()


def plan_for(computer: Computer, destination: Path) -> SetupPlan:
    """Return what a set-up in ``destination`` would do on ``computer``."""
    choice = choose_torch(computer)
    action = planned_action(destination, choice)
    download = 0 if action == CHECK else choice.download_bytes
    if action == ADD_GPU:
        reason = (
            f"{choice.reason} The engine works on the processor only so far; the set-up replaces "
            "its PyTorch."
        )
    else:
        reason = choice.reason
    packages = tuple(f"{name} {version}" for name, version in torch_pins().items())
    return SetupPlan(choice.kind, reason, download, choice.disk_bytes, packages, action)


def planned_action(destination: Path, choice: TorchChoice) -> str:
    """Return what has to be done with the environment in ``destination``."""
    python = environment_python(destination)
    if not python.exists() or (destination / CRASH_MARKER).exists():
        return INSTALL
    stamp = read_stamp(destination)
    if not stamp:
        return INSTALL
    if stamp.get("lock") != lock_hash():
        return UPDATE
    return ADD_GPU if choice.kind == CUDA and installed_kind(stamp) == PROCESSOR else CHECK


def installed_kind(stamp: Mapping[str, Any]) -> str:
    """Return the kind of PyTorch in an environment by its stamp; empty if unknown.

    Every build but that for Apple computers names its kind in its version, such as ``2.15.0+cpu``.
    """
    versions: Dict[str, Any] = stamp.get("versions") or {}
    local = str(versions.get("torch", "")).partition("+")[2]
    if local.startswith("cu"):
        return CUDA
    return PROCESSOR if local == PROCESSOR else ""


def torch_pins() -> Dict[str, str]:
    """Return the newest versions of torch and torchvision in the lock file, by name."""
    text = (LOCKS / "engine.txt").read_text(encoding="utf-8")
    found: List[Tuple[str, str]] = re.findall(
        r"^(torch|torchvision)==([^\s;\\]+)", text, re.MULTILINE
    )
    newest = dict(sorted(found, key=lambda pin: [int(part) for part in pin[1].split(".")]))
    return {name: newest[name] for name in ("torch", "torchvision") if name in newest}
