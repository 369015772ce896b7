"""What this computer has to compute with, and giving memory back."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_releasers: list[Callable[[], None]] = []


def on_release(release: Callable[[], None]) -> None:
    """Have ``release`` called when the engine gives its memory back: drop warm models there."""
    if release not in _releasers:
        _releasers.append(release)


def release_memory() -> None:
    """Drop warm models and hand freed memory back to the system and the GPU."""
    for release in _releasers:
        release()
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def list_devices() -> list[dict[str, Any]]:
    """Return the devices that completed a tensor operation, the best first, the CPU last.

    Each has ``device`` (what a job names), ``name``, ``total`` and ``free`` (bytes, None where
    unknown) and ``problem`` (empty, or why it cannot be used).
    """
    import torch  # noqa: PLC0415  costs seconds

    from .models.device import available_devices, device_problem, processor_name  # noqa: PLC0415

    devices = []
    for device in available_devices():
        name, total, free = processor_name(), *_system_memory()
        problem = device_problem(torch.device(device))
        if device.startswith("cuda"):
            name = torch.cuda.get_device_name(device)
            free, total = (None, None) if problem else torch.cuda.mem_get_info(device)
        elif device == "mps":
            name = "Apple graphics"
        entry = {"device": device, "name": name, "total": total, "free": free, "problem": problem}
        devices.append(entry)
    return devices


def resident_memory() -> int | None:
    """Return the bytes of memory this process holds; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _system_memory() -> tuple[int | None, int | None]:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, ValueError, IndexError, KeyError):
        return None, None
