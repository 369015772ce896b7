"""PyTorch from its own index: pinned by the lock file's versions, by the digests that it states.

The lock file has the digests of PyPI's wheels only. For another build, the digests that PyTorch's
index states at the first installation are written to a receipt in the environment, as requirements
with hashes. The installer checks the wheels against it, then and whenever the environment is made
again.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple

from ..protocol.redaction import redact
from .commands import CommandError, CommandRunner
from .torch_choice import PROCESSOR, TorchChoice

INDEX_VARIABLE = "GEOSEG_TORCH_INDEX"
"""Address of a copy of PyTorch's index, which has a folder for each build."""

RECEIPT = "geoseg-torch.txt"
LOCKED_PART = "geoseg-packages.txt"
_INDEX = "https://download.pytorch.org/whl"
_FAMILY = re.compile(r"(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")
_NAMED = ("torch==", "torchvision==")
_INDEX_VARIABLES = (
    "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY",
)  # fmt: skip
_UNREACHABLE = re.compile(
    r"failed to fetch|error sending request|dns error|timed out|connect|offline|network"
    r"|network is disabled|certificate|\b407\b|\b403\b",
    re.IGNORECASE,
)

_LACKING = re.compile(r"no solution found|not found in the (package )?registry", re.IGNORECASE)


@dataclass(frozen=True)
class Installer:
    """uv, the interpreter of an environment, and what runs commands."""

    uv: str
    python: Path
    runner: CommandRunner


@dataclass(frozen=True)
class TorchSource:
    """Where PyTorch comes from.

    Attributes:
        build: Folder of PyTorch's index; empty for the build of the lock file.
        index: Address of that folder; empty for the lock file.
        requirements: Requirements with hashes, the content of the receipt.
        problem: Why it is not the build that was chosen, one sentence; empty if it is.
    """

    build: str = ""
    index: str = ""
    requirements: str = field(default="", repr=False)
    problem: str = ""


def split_lock(text: str) -> Tuple[str, str]:
    """Return what depends on the build of PyTorch in a lock file, and the rest of it."""
    blocks = re.split(r"\n(?=[^\s#])", text.strip("\n"))
    torch = [block for block in blocks if _FAMILY.match(block)]
    others = [block for block in blocks if block and not _FAMILY.match(block)]
    return "\n".join([*torch, ""]), "\n".join([*others, ""])


def left_over(source: TorchSource, lock: Path) -> List[str]:
    """Return the CUDA packages of a lock file that another build of PyTorch does not need."""
    pattern = r"^((?:triton|nvidia-|cuda-)[a-z0-9-]*)=="
    needed = set(re.findall(pattern, source.requirements, re.MULTILINE))
    return sorted(set(re.findall(pattern, _read(lock), re.MULTILINE)) - needed)


def index_of(build: str, variables: Optional[Mapping[str, str]] = None) -> str:
    """Return the address of a build in PyTorch's index or the user's copy of it."""
    given = os.environ if variables is None else variables
    return f"{(given.get(INDEX_VARIABLE) or _INDEX).rstrip('/')}/{build}"


def resolve_torch(choice: TorchChoice, lock: Path, receipt: str, tool: Installer) -> TorchSource:
    """Return where the chosen PyTorch comes from; the lock file's build where it cannot be had.

    Args:
        choice: What suits the computer.
        lock: Lock file with torch and torchvision.
        receipt: Text of the receipt of an earlier installation, whose digests stay in force.
        tool: What asks the index.
    """
    if not choice.builds:
        return TorchSource()
    pins = _pins(lock)
    problem = ""
    for build in choice.builds:
        index = index_of(build, tool.runner.environment)
        if _fits(receipt, redact(index), pins):
            return TorchSource(build, index, receipt)
        try:
            stated = _ask(build, index, pins, tool)
        except CommandError as error:
            if _UNREACHABLE.search(error.output) or error.status is None:
                problem = f"The index of PyTorch at {_host(index)} could not be reached"
                break
            lacks = _LACKING.search(error.output) is not None
            fault = "lacks the version of the lock file" if lacks else "could not be used"
            problem = f"The index of PyTorch at {_host(index)} {fault}"
            continue
        requirements = split_lock(stated)[0]
        # Where an index lacks a package, uv takes it from the next index: another build.
        if not all(re.search(rf"^{name}\S+\+{build}\b", stated, re.MULTILINE) for name in _NAMED):
            problem = f"The index of PyTorch at {_host(index)} lacks the version of the lock file"
            continue
        if all(re.search(rf"^{name}.*\\$", requirements, re.MULTILINE) for name in _NAMED):
            title = f"# {redact(index)} stated these digests on {time.strftime('%Y-%m-%d')}.\n"
            return TorchSource(build, index, title + requirements)
        problem = f"The index of PyTorch at {_host(index)} states no digests"
    return TorchSource(problem=f"{problem}, so the PyTorch of the lock file is installed.")


def _ask(build: str, index: str, pins: str, tool: Installer) -> str:
    """Return the requirements with hashes that the index states for a build.

    On Linux a build with CUDA needs libraries as further packages; some of them are on PyPI.
    """
    environment = dict(tool.runner.environment)
    alone = build == PROCESSOR or sys.platform == "win32"
    if alone:
        for name in _INDEX_VARIABLES:
            environment.pop(name, None)
        places = ["--default-index", index, "--no-deps"]
    else:
        places = ["--index", index, "--index-strategy", "first-index"]
    environment.update({"UV_HTTP_TIMEOUT": "30", "UV_HTTP_RETRIES": "1"})
    folder = tool.python.parent.parent
    wanted, stated = folder / "geoseg-torch.in", folder / "geoseg-torch.out"
    wanted.write_text(pins, encoding="utf-8")
    command = [tool.uv, "pip", "compile", "--quiet", "--generate-hashes"]
    command += ["--no-header", "--no-annotate", "--only-binary", ":all:"]
    command += ["--python", str(tool.python), *places]
    try:
        replace(tool.runner, environment=environment).run(
            [*command, str(wanted), "--output-file", str(stated)], timeout=300.0
        )
        return _read(stated)
    finally:
        for path in (wanted, stated):
            if path.exists():
                path.unlink()


def write_parts(source: TorchSource, lock: Path, destination: Path) -> Tuple[List[Path], Path]:
    """Return the requirement files of PyTorch, at most one, and that of all other packages.

    For the build of the lock file that is the lock file itself, and an earlier receipt is removed.
    """
    receipt, rest = destination / RECEIPT, destination / LOCKED_PART
    if not source.build:
        for path in (receipt, rest):
            if path.exists():
                path.unlink()
        return [], lock
    receipt.write_text(source.requirements, encoding="utf-8")
    rest.write_text(split_lock(_read(lock))[1], encoding="utf-8")
    return [receipt], rest


def read_receipt(destination: Path) -> str:
    """Return the text of the receipt in an environment, empty if there is none."""
    path = destination / RECEIPT
    return _read(path) if path.is_file() else ""


def stated_facts(source: TorchSource) -> Dict[str, str]:
    """Return what the environment's stamp says of PyTorch."""
    return {"build": source.build, "index": redact(source.index), "problem": source.problem}


def _pins(lock: Path) -> str:
    """Return the requirements of torch and torchvision in a lock file without their hashes."""
    lines = _read(lock).splitlines()
    named = [line for line in lines if line.startswith(_NAMED)]
    return "\n".join([*(line.rstrip(" \\") for line in named), ""])


def _fits(receipt: str, index: str, pins: str) -> bool:
    """Return whether a receipt is of this index and of versions that the lock file pins."""
    if not receipt.startswith(f"# {index} "):
        return False
    found = re.findall(r"^(torch|torchvision)==([^\s+;]+)", receipt, re.MULTILINE)
    wanted = re.findall(r"^(torch|torchvision)==([^\s+;]+)", pins, re.MULTILINE)
    return {name for name, _ in found} == {name for name, _ in wanted} and set(found) <= set(wanted)


def _host(address: str) -> str:
    found = re.match(r"[a-z]+://(?:[^/@]*@)?([^/]+)", address)
    return found.group(1) if found else address


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
