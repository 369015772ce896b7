"""Building large networks without values, for tensors of a file to take their place.

On the meta device buffers that constructors compute would be lost with the parameters. Here only
the memory of parameters is left out: buffers such as rotary frequencies come out real.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Module = TypeVar("Module", bound=nn.Module)

_FILLING = (
    nn.init.constant_,
    nn.init.kaiming_uniform_,
    nn.init.normal_,
    nn.init.uniform_,
)


class _NoMemory(TorchFunctionMode):
    """Takes memory that is to be filled later from the meta device, and fills none."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace the functions that layers make their parameters with, pass on the rest."""
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        elif func in _FILLING:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def build_unfilled(build: Callable[[], Module]) -> Module:
    """Return what ``build`` makes, its parameters mostly on the meta device, in evaluation mode.

    Args:
        build: Makes a network of transformers or torch layers from its configuration.
    """
    from transformers import initialization  # noqa: PLC0415 - takes half a second

    with initialization.no_init_weights(), _NoMemory(), torch.no_grad():
        module = build()
    return module.eval()
