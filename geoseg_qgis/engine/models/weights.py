"""Weights files: verified, read without running code in them, and loaded strictly.

Two formats are read: safetensors, and PyTorch pickles restricted to tensors; a pickle that a card
names is converted to safetensors once, see `conversion`. Tensors may be stored smaller than they
are used: floating-point tensors of any width become float32, and an int8 tensor ``name`` with a
tensor ``name::scale`` of one value for each row means ``name[row] * scale[row]`` (rows are the
first dimension).
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from geoseg_qgis.engine.zoo.card import WeightsFile
from geoseg_qgis.engine.zoo.receipts import read_receipt
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .conversion import current_copy, write_copy
from .file_checks import (
    is_torchscript,
    refuse_cut_archive,
    refuse_placeholder,
    refuse_text,
    refuse_unsafe_torch,
    torchscript_error,
)

SCALE_SUFFIX = "::scale"
_WRAPPERS = ("model", "state_dict", "model_state_dict")
_BLOCK = 1 << 22
_INT8_LIMIT = 127

# Raised by torch when a checkpoint holds anything but tensors.
_RefusedContent: type[Exception] = torch.serialization.pickle.UnpicklingError  # type: ignore[attr-defined]

State = dict[str, Tensor]

_digests: dict[tuple[str, int, int], str] = {}


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in blocks.

    The digest is cached while size and modification time stay the same; that of a downloaded file
    comes from its receipt.
    """
    facts = path.stat()
    key = (str(path.resolve()), facts.st_mtime_ns, facts.st_size)
    receipt = read_receipt(path)
    if receipt is not None and receipt.fits(path):
        return receipt.sha256
    if key not in _digests:
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        _digests[key] = digest.hexdigest()
    return _digests[key]


def verify_file(path: Path, weights: WeightsFile | None = None) -> None:
    """Check that ``path`` is the file its card describes, as far as there is a card and it says.

    Raises:
        JobError: ``MODEL_MISSING`` when absent, ``MODEL_INVALID`` when size or digest differ.
    """
    if not path.is_file():
        raise JobError(
            ErrorCode.MODEL_MISSING,
            f"There is no file {weights.file if weights is not None else path.name}.",
            f"Download the model again, or save the file as {path}.",
        )
    refuse_placeholder(path)
    if weights is None:
        return
    size = path.stat().st_size
    if weights.size is not None and size != weights.size:
        raise _damaged(path, f"has {size} bytes instead of {weights.size}")
    if weights.sha256 is not None and file_sha256(path) != weights.sha256:
        raise _damaged(path, "is not the file its card describes (its SHA-256 differs)")


def _damaged(path: Path, what: str, detail: str = "") -> JobError:
    return JobError(
        ErrorCode.MODEL_INVALID,
        f"The file {path.name} {what}.",
        f"Delete {path} and download the model again.",
        detail,
    )


def read_state(path: Path, weights: WeightsFile | None = None) -> State:
    """Return the tensors of a file, on the CPU, floating-point ones as float32.

    Args:
        path: A safetensors file or a PyTorch checkpoint, told apart by content.
        weights: What the card says about it; checked first when given.

    Returns:
        Tensors by name, without the wrappers ``model``, ``state_dict`` and ``module.``.

    Raises:
        JobError: ``MODEL_MISSING``; ``MODEL_INVALID``, also for weights that are not finite.
    """
    verify_file(path, weights)
    if _is_safetensors(path):
        state = _unwrap(_read_safetensors(path), path)
    else:
        state = _read_pickle(path, keep_copy=weights is not None)
    state = {name: _widened(tensor) for name, tensor in dequantise(state).items()}
    _refuse_not_finite(state, path)
    return state


def read_tensors(path: Path, weights: WeightsFile, dtype: torch.dtype) -> State:
    """Return the tensors of a safetensors file under their own names.

    Args:
        path: The file.
        weights: What the card says about it; checked first.
        dtype: Number format of the floating-point tensors returned.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    verify_file(path, weights)
    if not _is_safetensors(path):
        refuse_text(path)
        raise _damaged(path, "holds no safetensors")
    state = dequantise(_read_safetensors(path))
    _refuse_not_finite(state, path)
    return {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }


def _refuse_not_finite(state: State, path: Path) -> None:
    """Check that all weights are finite: one that is not spoils every result without a word.

    Raises:
        JobError: ``MODEL_INVALID`` naming the first tensor that is not.
    """
    for name, tensor in state.items():
        # Masks of attention are minus infinity where nothing may be seen.
        if not tensor.is_floating_point() or "mask" in name:
            continue
        # The sum is faster; it may overflow where all weights are finite.
        if not tensor.sum(dtype=torch.float32).isfinite() and not tensor.isfinite().all():
            raise _damaged(path, f"holds weights that are no finite numbers, in {name}")


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(9)[8:9] == b"{"


def _read_safetensors(path: Path) -> State:
    try:
        state: State = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        if "InvalidHeaderDeserialization" in str(error):
            raise _damaged(path, "is damaged or not a weights file", str(error)) from error
        raise _damaged(path, "is incomplete or damaged", str(error)) from error
    except (OSError, ValueError) as error:
        raise _damaged(path, "is damaged or not a weights file", str(error)) from error
    return state


def _read_pickle(path: Path, keep_copy: bool) -> State:
    copy = current_copy(path, file_sha256) if keep_copy else None
    if copy is not None:
        return _read_safetensors(copy)
    refuse_text(path)
    refuse_cut_archive(path)
    if is_torchscript(path):
        raise torchscript_error(path)
    state = _unwrap(_unpickled(path), path)
    if keep_copy:
        write_copy(path, state, file_sha256(path))
    return state


def _unpickled(path: Path) -> Any:
    refuse_unsafe_torch(path, torch.__version__)
    try:
        return torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except _RefusedContent as error:
        raise _damaged(path, "holds more than tensors and was not opened", str(error)) from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        struct.error,
    ) as error:
        raise _damaged(path, "is damaged or not a weights file", str(error)) from error


def _unwrap(content: Any, path: Path) -> State:
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if _is_mapping(content, key)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        raise _damaged(path, "holds no tensors by name")
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if len(state) != len(content):
        raise _damaged(path, "holds other objects among its tensors")
    prefix = "module."
    if all(name.startswith(prefix) for name in state):
        state = {name[len(prefix) :]: tensor for name, tensor in state.items()}
    return state


def _is_mapping(content: Mapping[Any, Any], key: str) -> bool:
    return isinstance(content.get(key), Mapping)


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def quantise_rows(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``tensor`` as int8 with one float16 scale for each row of its first dimension.

    Args:
        tensor: Floating-point tensor of at least one dimension.

    Returns:
        The int8 tensor of the same shape, and the scales, shape (rows,). The largest error of a
        row is half its scale.
    """
    rows = tensor.float().flatten(1) if tensor.ndim > 1 else tensor.float()[:, None]
    scale = rows.abs().amax(dim=1) / _INT8_LIMIT
    smallest = torch.finfo(torch.float16).tiny
    half = scale.clamp(min=smallest).half()
    # A scale rounded down would push the row's largest value above the int8 limit.
    half = torch.where(half.float() < scale, torch.nextafter(half, half.new_tensor(65504.0)), half)
    whole = torch.round(rows / half.float()[:, None]).clamp(-_INT8_LIMIT, _INT8_LIMIT)
    return whole.to(torch.int8).reshape(tensor.shape), half


def dequantise(state: State) -> State:
    """Return the tensors with every int8 tensor multiplied by its scale, as float32.

    Raises:
        JobError: ``MODEL_INVALID`` for a scale without its tensor or of another length.
    """
    result = {name: tensor for name, tensor in state.items() if not name.endswith(SCALE_SUFFIX)}
    for name, scale in state.items():
        if not name.endswith(SCALE_SUFFIX):
            continue
        base = name[: -len(SCALE_SUFFIX)]
        whole = result.get(base)
        if whole is None or whole.dtype != torch.int8 or scale.shape != whole.shape[:1]:
            raise JobError(
                ErrorCode.MODEL_INVALID,
                f"The quantised tensor {base} does not fit its scale.",
                "Download the model again, or ask its author.",
            )
        result[base] = whole.float() * scale.float().reshape(-1, *[1] * (whole.ndim - 1))
    return result


def load_strictly(module: nn.Module, state: State, file: str) -> None:
    """Load tensors into a module; all must be there, and no others.

    The tensors become the module's parameters without a copy, also those on the meta device. The
    module is in evaluation mode afterwards, without gradients.

    Args:
        module: The architecture.
        state: Tensors by the module's own names.
        file: Name of the source in messages.

    Raises:
        JobError: ``MODEL_INVALID`` naming tensors that do not fit.
    """
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    reshaped = [
        f"{name} {list(state[name].shape)} for {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    findings = [
        _counted(missing, "missing"),
        _counted(unexpected, "unexpected"),
        _counted(reshaped, "of another shape"),
    ]
    if any(findings):
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The tensors in {file} do not fit this architecture: "
            f"{'; '.join(finding for finding in findings if finding)}.",
            "Check that the card's architecture and layout are those of the file.",
        )
    module.load_state_dict(state, strict=True, assign=True)
    module.eval().requires_grad_(requires_grad=False)


def _counted(names: Sequence[str], what: str) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {what} ({shown})"


def refuse_meta_tensors(module: nn.Module, what: str) -> None:
    """Check that no tensor of a module is on the meta device.

    Raises:
        JobError: ``INTERNAL`` naming the first such tensor.
    """
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_meta:
            raise JobError(
                ErrorCode.INTERNAL,
                f"The tensor {name} of {what} has no values.",
                "Report this with the model's card.",
            )
