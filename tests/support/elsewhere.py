"""A device that this machine need not have: its tensors are computed on the processor.

They say that they lie elsewhere, and refuse to be mixed with those that lie here, as a card's do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# A name of torch's own for which it has neither kernels nor a queue for gradients.
ELSEWHERE = torch.device("lazy", 0)
# Cards take indices and values to copy from the processor as well.
MIXING = ("index", "index_put", "index_put_", "_index_put_impl_", "copy_", "_to_copy")


class There(Tensor):
    """A tensor elsewhere."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> There:
        made: There = Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=ELSEWHERE,
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return compute(function, args, kwargs or {})


class Sending(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sends tensors elsewhere where this is asked for."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return compute(function, args, kwargs or {})


def compute(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run one operation where its tensors say they lie."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    away = {id(tensor.here): tensor for tensor in tensors if isinstance(tensor, There)}
    name = function._schema.name.split("::")[1]
    mixed = any(tensor.dim() > 0 and not isinstance(tensor, There) for tensor in tensors)
    if away and mixed and name not in MIXING:
        raise RuntimeError(f"{function} was given tensors of two devices.")
    if name == "index" and away and not isinstance(args[0], There):
        raise RuntimeError(f"{function} was given indices that lie elsewhere.")
    target = bool(away) if name != "copy_" else isinstance(args[0], There)
    if kwargs.get("device") is not None:
        target = torch.device(kwargs["device"]).type == ELSEWHERE.type
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = function(*tree_map(brought, args), **tree_map(brought, kwargs))
    if not target:
        return result
    return tree_map(
        lambda leaf: away.get(id(leaf), There(leaf)) if isinstance(leaf, Tensor) else leaf, result
    )


def brought(leaf: Any) -> Any:
    return leaf.here if isinstance(leaf, There) else leaf


@contextlib.contextmanager
def sending() -> Iterator[torch.device]:
    """Let tensors be sent elsewhere; yields where that is.

    What torch knows only of real devices is done here and sent: tensors from numbers. Products are
    computed in full precision, here as well.
    """
    tensor, enabled = torch.tensor, torch.is_autocast_enabled

    def made(data: Any, *, device: Any = None, **kwargs: Any) -> Tensor:
        return tensor(data, **kwargs).to(device or "cpu")

    def alike(self: Tensor, data: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
        return tensor(data, dtype=dtype or self.dtype).to(device or self.device)

    with pytest.MonkeyPatch.context() as patch, Sending():  # type: ignore[no-untyped-call]
        patch.setattr(torch, "tensor", made)
        patch.setattr(Tensor, "new_tensor", alike)
        patch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
        patch.setattr(
            torch, "is_autocast_enabled", lambda *kind: kind != (ELSEWHERE.type,) and enabled(*kind)
        )
        yield ELSEWHERE
