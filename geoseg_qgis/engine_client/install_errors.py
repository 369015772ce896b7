"""Turns the output of a failed installation into an error with a next step."""

from __future__ import annotations

import re
from typing import Tuple

from ..protocol.errors import ErrorCode, JobError
from .commands import CommandError

_Pattern = Tuple[str, ErrorCode, str, str]

_PATTERNS: Tuple[_Pattern, ...] = (
    (
        r"no space left|disk (is )?full|os error 28\b|not enough space|os error 112",
        ErrorCode.DISK_FULL,
        "The disk became full while the engine was installed.",
        "Free some disk space, then run the set-up again; downloads are kept.",
    ),
    (
        r"no interpreter found|no download found|no available release|python-build-standalone"
        r"|managed python",
        ErrorCode.ENGINE_MISSING,
        "No Python from 3.10 to 3.14 was found, and none could be downloaded.",
        "Install Python 3.12, then run the set-up again.",
    ),
    (
        r"hash mismatch|hashes? do not match|THESE PACKAGES DO NOT MATCH THE HASHES",
        ErrorCode.ENGINE_MISSING,
        "A downloaded package does not match its recorded hash, so it was not installed.",
        "Run the set-up again. If that fails too, a mirror or proxy is changing the files.",
    ),
    (
        r"\b407\b|proxy authentication",
        ErrorCode.ENGINE_MISSING,
        "The proxy asks for a user name and password.",
        "Enter them in QGIS under Settings, Options, Network, then run the set-up again.",
    ),
    (
        r"certificate|UnknownIssuer|SSL:|SSLError|invalid peer|tls handshake",
        ErrorCode.ENGINE_MISSING,
        "The certificate of the package index is not trusted.",
        "Set SSL_CERT_FILE to your organisation's certificate file, then run the set-up again.",
    ),
    (
        r"\b(401|403)\b.*(unauthorized|forbidden|client error)|(unauthorized|forbidden)",
        ErrorCode.ENGINE_MISSING,
        "The package index denied access.",
        "Check its address and login in pip's configuration, then run the set-up again.",
    ),
    (
        r"proxy|tunnel",
        ErrorCode.ENGINE_MISSING,
        "The package index could not be reached through the proxy.",
        "Check the proxy in QGIS under Settings, Options, Network, then run the set-up again.",
    ),
    (
        r"dns error|failed to lookup|name resolution|getaddrinfo|name or service not known"
        r"|network is unreachable|connection refused|connection reset|connect error"
        r"|error sending request|timed out|operation timed out|failed to fetch|newconnectionerror"
        r"|failed to download|network is disabled|connection was not found|offline",
        ErrorCode.ENGINE_MISSING,
        "The package index could not be reached.",
        "Check the network connection or proxy, then run the set-up again.",
    ),
    (
        r"glibc|matching platform tag \(e\.g\., `manylinux",
        ErrorCode.ENGINE_MISSING,
        "This system's C library is too old for the engine's packages (glibc 2.28 is needed).",
        "Use a newer system, or choose a Python that has PyTorch in the GeoSeg options.",
    ),
    (
        r"no wheels? (for|with|are)|no matching distribution|not compatible with the current"
        r"|no solution found|has no usable wheels|no compatible (wheel|version)|no `cp\d+",
        ErrorCode.ENGINE_MISSING,
        "A package of the engine is not available for this system and Python version.",
        "Choose a Python that has the engine's packages in the GeoSeg options.",
    ),
    (
        r"ensurepip is not\s+available|no module named '?(venv|ensurepip|pip)\b",
        ErrorCode.ENGINE_MISSING,
        "This Python cannot create environments because its venv module is missing.",
        "Install python3-venv (Debian, Ubuntu) or uv, then run the set-up again.",
    ),
    (
        r"c10\.dll|WinError 1114|WinError 126|vcruntime|DLL load failed",
        ErrorCode.ENGINE_MISSING,
        "PyTorch cannot load a system library of Windows.",
        "Install the Microsoft Visual C++ Redistributable (x64), then run the set-up again.",
    ),
    (
        r"access is denied|os error 5\b|WinError 5\b|os error 32\b|virus|being used by another",
        ErrorCode.OUTPUT_UNWRITABLE,
        "A file of the engine is locked, probably by an antivirus program or another QGIS.",
        "Close other QGIS windows, add the folder to the antivirus exceptions, then run again.",
    ),
    (
        r"permission denied|read-only file system|os error 13\b|os error 30\b",
        ErrorCode.OUTPUT_UNWRITABLE,
        "The folder of the engine is not writable.",
        "Choose another folder or change its permissions, then run the set-up again.",
    ),
    (
        r"out of memory|memory allocation|MemoryError",
        ErrorCode.OUT_OF_MEMORY,
        "There was not enough memory to install the engine.",
        "Close other programs, then run the set-up again.",
    ),
)


def explain_failure(error: CommandError, log_file: str) -> JobError:
    """Return the error of the first pattern that the installer's output matches."""
    detail = "\n".join(error.output.splitlines()[-60:])
    for pattern, code, message, hint in _PATTERNS:
        if re.search(pattern, error.output, re.IGNORECASE):
            return JobError(code, message, f"{hint} The log is {log_file}.", detail)
    broken = re.findall(r"^(\S+) does not work:", error.output, re.MULTILINE)
    if broken:
        return JobError(
            ErrorCode.ENGINE_MISSING,
            f"The engine was installed, but these packages do not work: {', '.join(broken)}.",
            f"Add its folder to your antivirus exceptions and run the set-up again, or report the "
            f"problem with the log {log_file}.",
            detail,
        )
    if error.status is None and "timed out" not in error.output:
        message = f"The program {error.command[0]} could not be started."
    else:
        message = "The engine could not be installed."
    hint = f"Run the set-up again. If that fails too, report the problem with the log {log_file}."
    return JobError(ErrorCode.ENGINE_MISSING, message, hint, detail)
