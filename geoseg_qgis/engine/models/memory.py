"""How much memory a preset needs on a device, told from its card before anything is loaded.

The numbers come from the real architectures run on shapes alone (`memory_probes`), so they hold for
presets that were never downloaded. They are the upper end of what a job of usual size takes.

Example:
    >>> estimate = estimate_memory(card, torch.device("cuda"), method="gumix")
    >>> fits(estimate, torch.device("cuda"))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from geoseg_qgis.engine.hardware import resident_memory, system_memory
from geoseg_qgis.engine.zoo.card import NEEDS, ModelCard
from geoseg_qgis.engine.zoo.registry import Preset

from .memory_probes import METHODS_WITH_MASKS, CardNetworks

MEBIBYTE = 1 << 20

# What Python and the libraries take in a processor's memory, and a CUDA context on a card.
BASE = {"cpu": 900 * MEBIBYTE, "cuda": 500 * MEBIBYTE}

# Kernels have work space of their own, and allocators keep pages between tensors.
ALLOCATOR_SHARE = 0.25
WORKSPACE = 64 * MEBIBYTE

# Of networks that other libraries build only the files are known; this share of them comes on top.
FOREIGN_SHARE = 0.25

# More than any batch takes beside the weights, with room to spare.
AMPLE = 6 * 1024 * MEBIBYTE


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory of one preset on one device, in bytes.

    Attributes:
        weights: All networks of the method, which stay in memory.
        activations: The most that comes and goes beside them.
        base: The program itself, before any model.
    """

    weights: int
    activations: int
    base: int = 0

    @property
    def total(self) -> int:
        """Everything together."""
        return self.weights + self.activations + self.base


def estimate_memory(
    card: ModelCard,
    device: torch.device,
    *,
    method: str = "",
    folder: Path | None = None,
) -> MemoryEstimate:
    """Return what a preset needs.

    Args:
        card: The preset's card.
        device: Where it would run; it need not be there.
        method: Static method name; empty for the most demanding of the card's methods.
        folder: Where the preset's files lie, if they do: tells sizes that no card holds.

    Raises:
        JobError: ``MODEL_INVALID`` when the card describes no network.
    """
    networks = CardNetworks(card, device, folder)
    methods = (method,) if method else card.methods
    names = sorted({name for one in methods for name in needed_components(card, one)})
    weights = {name: _weight_bytes(networks, name) for name in names}
    activations = max((networks.activations(one) for one in methods), default=0)
    foreign = sum(weights[name] for name in names if networks.module(name) is None)
    activations = max(activations, round(FOREIGN_SHARE * foreign))
    loading = 0
    if device.type == "cpu":
        loading = max((_loading_bytes(card, name, weights[name]) for name in names), default=0)
    return MemoryEstimate(
        sum(weights.values()),
        max(round(activations * (1 + ALLOCATOR_SHARE)) + WORKSPACE, loading),
        BASE.get(device.type, 0),
    )


def needed_components(card: ModelCard, method: str) -> tuple[str, ...]:
    """Return the components that a run of a method loads, those that it can do without included."""
    parts = NEEDS.get(method, ())
    if method in METHODS_WITH_MASKS and card.sam2 is not None and "sam2" not in parts:
        parts = (*parts, "sam2")
    return parts


def fits(estimate: MemoryEstimate, device: torch.device, free: int | None = None) -> bool:
    """Tell whether a device has room for a preset; True when nobody knows.

    Args:
        estimate: What the preset needs there.
        device: The device.
        free: Its free bytes; asked for when None.
    """
    if free is None:
        free = free_memory(device)
    return free is None or estimate.total <= free


def free_memory(device: torch.device) -> int | None:
    """Return the bytes a device has for this process and its models, None where nobody knows.

    What the process already holds of its base counts as free, and so does what PyTorch keeps for
    tensors to come.
    """
    if device.type == "cpu":
        free = system_memory()[1]
        return None if free is None else free + min(resident_memory() or 0, BASE["cpu"])
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept + BASE["cuda"]


def surely_fits(card: ModelCard, free: int) -> bool:
    """Tell from the sizes of its files alone whether a preset fits without doubt.

    Weights grow at most fourfold from int8 to float32, and no batch has taken more than `AMPLE`.
    """
    files = [weights for name in card.components for weights in card.weights_of(name)]
    known = [weights.size for weights in files if weights.size is not None]
    return len(known) == len(files) and AMPLE + 4 * sum(known) <= free


def largest_fitting(
    presets: Iterable[Preset], device: torch.device, method: str, free: int | None = None
) -> Preset | None:
    """Return the preset with the largest files that serves a method and fits, None without one.

    Presets whose files are on this machine go before those that must be downloaded.

    Args:
        presets: What to choose from.
        device: Where it would run.
        method: Static method name.
        free: Free bytes of the device; asked for when None.
    """
    serving = [preset for preset in presets if method in preset.card.methods]

    def rank(preset: Preset) -> tuple[bool, int]:
        return preset.is_ready(method), _stored(preset.card, method)

    for preset in sorted(serving, key=rank, reverse=True):
        estimate = estimate_memory(preset.card, device, method=method, folder=preset.folder)
        if fits(estimate, device, free):
            return preset
    return None


def _stored(card: ModelCard, method: str) -> int:
    return sum(_file_bytes(card, name) for name in needed_components(card, method))


def _weight_bytes(networks: CardNetworks, component: str) -> int:
    module = networks.module(component)
    if module is None:
        # Language models are published in two bytes a number, and processors take four.
        doubled = component == "language" and networks.device.type == "cpu"
        return _file_bytes(networks.card, component) * (2 if doubled else 1)
    return module_bytes(module)


def module_bytes(module: nn.Module) -> int:
    """Return the bytes of a module's parameters and buffers, on whatever device it is."""
    tensors = (*module.parameters(), *module.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _file_bytes(card: ModelCard, component: str) -> int:
    return sum(weights.size or 0 for weights in card.weights_of(component))


def _loading_bytes(card: ModelCard, component: str, weights: int) -> int:
    """Files of narrower numbers lie beside their widened copies until the last one is made."""
    stored = _file_bytes(card, component)
    return stored if stored < 0.9 * weights else 0
