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

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = [_cuda_device(index) for index in range(count)]
    if torch.backends.mps.is_available():
        devices.append(_entry("mps", "Apple GPU", None, None, _try_device("mps")))
    total, free = _system_memory()
    devices.append(_entry("cpu", f"CPU, {os.cpu_count()} threads", total, free, ""))
    return devices


def resident_memory() -> int | None:
    """Return the bytes of memory this process holds; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cuda_device(index: int) -> dict[str, Any]:
    import torch  # noqa: PLC0415

    device, name = f"cuda:{index}", torch.cuda.get_device_name(index)
    problem = _try_device(device)
    free, total = (None, None) if problem else torch.cuda.mem_get_info(index)
    return _entry(device, name, total, free, problem)


def _try_device(device: str) -> str:
    """Return why a multiplication on ``device`` fails; empty when it is right."""
    import torch  # noqa: PLC0415

    try:
        product = torch.full((8, 8), 2.0, device=device) @ torch.full((8, 8), 3.0, device=device)
        return "" if product.sum().item() == 8 * 8 * 48.0 else "it computes wrong numbers"
    except RuntimeError as error:
        return str(error).splitlines()[0]


def _entry(
    device: str, name: str, total: int | None, free: int | None, problem: str
) -> dict[str, Any]:
    return {"device": device, "name": name, "total": total, "free": free, "problem": problem}


def _system_memory() -> tuple[int | None, int | None]:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, ValueError, IndexError, KeyError):
        return None, None
