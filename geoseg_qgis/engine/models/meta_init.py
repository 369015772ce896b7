"""Build large networks without memory for their parameters; a checkpoint's tensors replace them.

``torch.device("meta")`` would also drop the values of buffers that constructors compute, such as
rotary frequencies. Here only the parameters of layers go to the meta device; buffers are real.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Module = TypeVar("Module", bound=nn.Module)

# On the meta device random initialisers would import torch's compiler, which takes seconds.
_INITIALISERS = (
    nn.init.constant_,
    nn.init.kaiming_uniform_,
    nn.init.normal_,
    nn.init.uniform_,
)


class ParametersOnMeta(TorchFunctionMode):
    """Context in which ``torch.empty`` allocates on the meta device and initialisers do nothing.

    The layers of torch allocate their parameters with ``torch.empty``.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace ``torch.empty`` and the initialisers; pass on every other function."""
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        elif func in _INITIALISERS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def build_empty(build: Callable[[], Module]) -> Module:
    """Return what ``build`` makes, its parameters mostly on the meta device, in evaluation mode.

    Args:
        build: Makes a network of transformers or torch layers from its configuration.
    """
    from transformers import initialization  # noqa: PLC0415 - takes half a second

    with initialization.no_init_weights(), ParametersOnMeta(), torch.no_grad():
        module = build()
    return module.eval()
