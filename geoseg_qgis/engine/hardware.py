"""Memory of this computer and of this process."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

_releasers: list[Callable[[], None]] = []


def on_release(release: Callable[[], None]) -> None:
    """Register a function that unloads models; `release_memory` calls it."""
    if release not in _releasers:
        _releasers.append(release)


def release_memory() -> None:
    """Unload all models and return freed memory to the system and the GPU."""
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


def resident_memory() -> int | None:
    """Return the bytes of memory this process holds; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def system_memory() -> tuple[int | None, int | None]:
    """Return the bytes of memory of this computer, in all and free; None where unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, ValueError, IndexError, KeyError):
        return None, None
