"""Errors for files that were saved under the name of a weights file but hold no weights."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from geoseg_qgis.protocol.errors import ErrorCode, JobError

# Before, files made for it run code in torch.load(weights_only=True): CVE-2025-32434 below 2.6,
# CVE-2026-24747 below 2.10.
SAFE_TORCH = (2, 10)
_HEAD = 512
_SHOWN = 60
_POINTER = b"version https://git-lfs.github.com/"
_PAGE = re.compile(rb"\s*(?:<\?xml|<!doctype html|<html|<head|<body)", re.IGNORECASE)
_ZIP = b"PK\x03\x04"


def refuse_placeholder(path: Path) -> None:
    """Check that a file is neither a web page nor a Git LFS pointer.

    Raises:
        JobError: ``MODEL_INVALID`` saying which of them it is.
    """
    head = _head(path)
    if head.startswith(_POINTER):
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The file {path.name} is a Git LFS pointer and not the file itself.",
            f"Run 'git lfs pull' or download it from the model's page, and save it as {path}.",
        )
    if _PAGE.match(head):
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The file {path.name} is a web page that a server sent in place of the file.",
            f"Delete {path}, log in or request access on the model's page, and download it again.",
        )


def refuse_unsafe_torch(path: Path, version: str) -> None:
    """Check that a PyTorch is new enough to open pickles of others.

    Args:
        path: The pickle.
        version: Of PyTorch, for example ``2.15.0+cpu``.

    Raises:
        JobError: ``MODEL_INVALID`` when it is not.
    """
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) >= SAFE_TORCH:
        return
    least = ".".join(map(str, SAFE_TORCH))
    raise JobError(
        ErrorCode.MODEL_INVALID,
        f"The file {path.name} is a pickle, which could run code in PyTorch {version}.",
        f"Update PyTorch to {least} or newer, leave the Python to geoseg:setup, or use the model "
        "as safetensors.",
    )


def refuse_text(path: Path) -> None:
    """Check that a weights file is not plain text, such as an error message of a server.

    Raises:
        JobError: ``MODEL_INVALID`` with the beginning of the text.
    """
    head = _head(path)
    if not head:
        raise _delete(path, "is empty")
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head):
        text = " ".join(head.decode("ascii").split())
        shown = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
        raise _delete(path, f"is text and not weights: it begins with {shown!r}")


def refuse_cut_archive(path: Path) -> None:
    """Check that a zip archive is complete: its table of contents is at its end.

    Raises:
        JobError: ``MODEL_INVALID`` when the end is missing.
    """
    if _head(path).startswith(_ZIP) and not zipfile.is_zipfile(path):
        raise _delete(path, "is incomplete: its end is missing")


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript program, as OpenAI published CLIP."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def torchscript_error(path: Path) -> JobError:
    """Return the error for a TorchScript program."""
    return JobError(
        ErrorCode.MODEL_INVALID,
        f"The file {path.name} is a TorchScript program, which is not opened because it could run "
        "any code.",
        "Use the weights file that the model's card names.",
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_HEAD)


def _delete(path: Path, what: str) -> JobError:
    return JobError(
        ErrorCode.MODEL_INVALID,
        f"The file {path.name} {what}.",
        f"Delete {path} and download the model again.",
    )
