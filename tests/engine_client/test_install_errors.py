"""Real output of failed installations becomes the right error."""

from __future__ import annotations

import pytest

from geoseg_qgis.engine_client.commands import CommandError
from geoseg_qgis.engine_client.install_errors import explain_failure
from geoseg_qgis.protocol.errors import ErrorCode

OUTPUTS = [
    ("error: Failed to write: No space left on device (os error 28)", "disk", ErrorCode.DISK_FULL),
    (
        "error: Failed to fetch: `https://index.example/simple/torch/`\n"
        "  Caused by: error sending request for url\n"
        "  Caused by: client error (Connect)\n  Caused by: dns error: failed to lookup address",
        "could not be reached",
        ErrorCode.ENGINE_MISSING,
    ),
    (
        "error: Failed to fetch: `https://index.example/simple/torch/`\n"
        "  Caused by: invalid peer certificate: UnknownIssuer",
        "certificate",
        ErrorCode.ENGINE_MISSING,
    ),
    (
        "  Caused by: proxy tunnel error: 407 Proxy Authentication Required",
        "asks for a user name",
        ErrorCode.ENGINE_MISSING,
    ),
    (
        "error: Hash mismatch for `tqdm==4.67.1`\n\nExpected:\n  sha256:00",
        "does not match its recorded hash",
        ErrorCode.ENGINE_MISSING,
    ),
    (
        "  cause: Because torch==2.15.0 has no wheels with a matching platform tag (e.g., "
        "`macosx_13_0_x86_64`) and you require torch==2.15.0, your requirements are "
        "unsatisfiable.\n\nhint: Wheels are available for `torch` (v2.15.0) on the following "
        "platforms: `manylinux_2_28_aarch64`, `manylinux_2_28_x86_64`, `macosx_14_0_arm64`",
        "not available for this system",
        ErrorCode.ENGINE_MISSING,
    ),
    (
        "torch==2.15.0 has no wheels with a matching platform tag (e.g., `manylinux_2_17_x86_64`)",
        "C library",
        ErrorCode.ENGINE_MISSING,
    ),
    (
        "error: Failed to fetch: https://index.example/simple/tqdm/\n"
        "  cause: client error (Connect)\n"
        "  cause: tunnel error: failed to create underlying connection\n"
        "  cause: Connection refused (os error 111)",
        "through the proxy",
        ErrorCode.ENGINE_MISSING,
    ),
    (
        "error: Request failed after 3 retries in 8.3s\n"
        "  cause: Failed to download `https://github.com/astral-sh/python-build-standalone/x`\n"
        "  cause: failed to lookup address information: Name or service not known",
        "none could be downloaded",
        ErrorCode.ENGINE_MISSING,
    ),
    (
        "error: No interpreter found for Python 3.12 in managed installations or search path",
        "No Python from 3.10",
        ErrorCode.ENGINE_MISSING,
    ),
    (
        "The virtual environment was not created successfully because ensurepip is not\navailable.",
        "venv module",
        ErrorCode.ENGINE_MISSING,
    ),
    (
        "torch does not work: OSError: [WinError 1114] Error loading c10.dll",
        "system library of Windows",
        ErrorCode.ENGINE_MISSING,
    ),
    (
        "error: failed to remove file `torch_cpu.dll`: Access is denied. (os error 5)",
        "locked",
        ErrorCode.OUTPUT_UNWRITABLE,
    ),
    (
        "error: failed to create directory: Permission denied (os error 13)",
        "not writable",
        ErrorCode.OUTPUT_UNWRITABLE,
    ),
    (
        "timm does not work: ImportError: x\nsam2 does not work: ImportError: y",
        "these packages do not work: timm, sam2",
        ErrorCode.ENGINE_MISSING,
    ),
    ("something never seen", "could not be installed", ErrorCode.ENGINE_MISSING),
]


@pytest.mark.parametrize(("output", "words", "code"), OUTPUTS)
def test_failure_becomes_one_sentence_and_one_action(
    output: str, words: str, code: ErrorCode
) -> None:
    error = explain_failure(CommandError(["uv"], 2, output), "/data/setup.log")
    assert words in error.message
    assert error.code is code
    assert error.message.count(".") - error.message.count("3.1") - error.message.count("2.28") == 1
    assert "/data/setup.log" in error.hint
    assert output.splitlines()[-1] in error.detail
