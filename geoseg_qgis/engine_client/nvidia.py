"""Finds the driver of an NVIDIA card without loading any library of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Optional, Tuple

from .child_process import clean_environment, start_options

VERSION_VARIABLE = "UV_CUDA_DRIVER_VERSION"
"""uv's variable for the version of the driver, for computers that hide it; empty for no card."""

_FACTS = (Path("/sys/module/nvidia/version"), Path("/proc/driver/nvidia/version"))
# A driver that hangs must not hold the set-up for ever.
_LONGEST = 20.0
_VERSION = re.compile(r"\b(\d{2,4}(?:\.\d+){0,3})\b")


@dataclass(frozen=True)
class NvidiaDriver:
    """A driver and the card it serves.

    Attributes:
        version: Numbers of the driver's version, such as ``(580, 95, 5)``.
        card: Name of the first card; empty if unknown.
        capability: Compute capability of the oldest card; None if unknown.
    """

    version: Tuple[int, ...]
    card: str = ""
    capability: Optional[Tuple[int, int]] = None

    @property
    def title(self) -> str:
        """Card and driver, for a sentence."""
        return f"{self.card or 'NVIDIA card'} with driver {'.'.join(map(str, self.version))}"


def find_driver(variables: Optional[Mapping[str, str]] = None) -> Optional[NvidiaDriver]:
    """Return the driver of this computer, None where no NVIDIA card works.

    ``nvidia-smi`` of the driver is asked first, for up to 20 seconds. If it cannot be run, the
    version that the kernel states counts.
    """
    given = os.environ if variables is None else variables
    if VERSION_VARIABLE in given:
        version = parse_version(given[VERSION_VARIABLE])
        return NvidiaDriver(version) if version else None
    if sys.platform == "darwin":
        return None
    tool = _find_tool(given)
    if tool is not None:
        query = [tool, "--query-gpu=driver_version,compute_cap,name", "--format=csv,noheader"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            answer = subprocess.run(  # noqa: S603  the driver's own tool, no shell
                query,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=clean_environment(given),
                timeout=_LONGEST,
                check=True,
                **start_options(),
            )
            driver = parse_cards(answer.stdout.decode("utf-8", "replace"))
            if driver is not None:
                return driver
    for path in _FACTS:
        with contextlib.suppress(OSError):
            version = parse_version(path.read_text(encoding="utf-8"))
            if version:
                return NvidiaDriver(version)
    return None


def parse_cards(text: str) -> Optional[NvidiaDriver]:
    """Return the driver from ``nvidia-smi``'s lines of version, compute capability and name.

    All cards of a computer share one driver; the oldest card decides what PyTorch has to support.
    """
    rows = [[part.strip() for part in line.split(",", 2)] for line in text.splitlines()]
    rows = [row for row in rows if len(row) == 3 and parse_version(row[0])]
    if not rows:
        return None
    found = [re.fullmatch(r"(\d+)\.(\d+)", row[1]) for row in rows]
    capabilities = [(int(each[1]), int(each[2])) for each in found if each is not None]
    oldest = min(capabilities) if capabilities else None
    return NvidiaDriver(parse_version(rows[0][0]), rows[0][2], oldest)


def parse_version(text: str) -> Tuple[int, ...]:
    """Return the numbers of the first version in a text, none if there is none."""
    found = _VERSION.search(text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def _find_tool(variables: Mapping[str, str]) -> Optional[str]:
    usual = ["/usr/lib/wsl/lib/nvidia-smi"]
    if sys.platform == "win32":
        usual = [str(Path(variables.get("SYSTEMROOT", "C:/Windows")) / "System32/nvidia-smi.exe")]
    found = shutil.which("nvidia-smi", path=variables.get("PATH"))
    return next((place for place in (found, *usual) if place and Path(place).is_file()), None)
