"""Pickled checkpoints converted to safetensors once, in the same folder.

safetensors are mapped into memory and can hold nothing but tensors, and the pickle is opened only
once. The copy stores size, modification time and SHA-256 of the original; when they no longer
match, it is written again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoseg_qgis.engine.files import draft
from geoseg_qgis.engine.zoo.receipts import converted_path
from geoseg_qgis.protocol.errors import JobError

_DIGEST = "original_sha256"
_SIZE = "original_size"
_CHANGED = "original_modified_ns"


def current_copy(path: Path, digest: Callable[[Path], str]) -> Path | None:
    """Return the copy of a pickled checkpoint, None without one of this very file.

    Args:
        path: The original.
        digest: Returns its SHA-256; called only when the modification time differs.
    """
    copy = converted_path(path)
    facts = _facts(copy)
    stat = path.stat()
    if facts.get(_SIZE) != str(stat.st_size):
        return None
    if facts.get(_CHANGED) != str(stat.st_mtime_ns) and facts.get(_DIGEST) != digest(path):
        return None
    return copy


def write_copy(path: Path, state: Mapping[str, Tensor], digest: str) -> bool:
    """Write the copy of a pickled checkpoint, whole or not at all.

    Args:
        path: The original.
        state: All of its tensors.
        digest: Its SHA-256.

    Returns:
        Whether it could be written; a full disk or a folder that may not be written to is no
        reason to stop, for the original serves as well.
    """
    stat = path.stat()
    facts = {_DIGEST: digest, _SIZE: str(stat.st_size), _CHANGED: str(stat.st_mtime_ns)}
    try:
        with draft(converted_path(path), SafetensorError) as unfinished:
            save_file(_separate(state), unfinished, metadata=facts)
    except JobError:
        return False
    return True


def _facts(copy: Path) -> dict[str, str]:
    try:
        with safe_open(copy, framework="pt", device="cpu") as stored:
            return dict(stored.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors that share memory memory of their own; safetensors hold no such tensors."""
    seen: set[int] = set()
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        place = tensor.untyped_storage().data_ptr()
        whole = tensor.contiguous()
        shared = place in seen or tensor.untyped_storage().nbytes() != whole.nbytes
        result[name] = torch.clone(whole) if shared else whole
        seen.add(place)
    return result
