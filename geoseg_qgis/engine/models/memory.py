"""How much memory one run of a preset needs, and how much of it a device has free.

A card's ``memory`` holds the peak of the engine's process for one run of each method, measured on
a processor in float32 by ``python -m benchmarks.model_speed --write-memory``. The numbers decide
on a warning and on what is recommended, never on whether a job runs: see `oom_fallback`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from geoseg_qgis.engine.hardware import resident_memory, system_memory
from geoseg_qgis.engine.zoo.registry import Preset

MEBIBYTE = 1 << 20

# What Python and the libraries take in main memory (measured: 870 MB), and a CUDA context on a
# graphics card.
PROGRAM = {"cpu": 900 * MEBIBYTE, "cuda": 500 * MEBIBYTE}

# Methods whose networks lie in bfloat16 on a graphics card.
_TWO_BYTE_METHODS = ("unigeoseg", "clicks")

# Activations of a batch take 0.1 to 0.9 GB with the package's own presets.
_TYPICAL_ACTIVATIONS = 500 * MEBIBYTE


def required_memory(preset: Preset, method: str, device_type: str = "cpu") -> int:
    """Return the bytes that one run of a method needs on a device.

    On a graphics card the program counts for its CUDA context alone. The rest stays as on the
    processor: batches of 16 windows in place of 4 make up for half precision. The networks of
    ``unigeoseg`` and ``clicks`` run in small batches there, so half of the rest is left.

    Args:
        preset: The preset; a card without numbers is estimated from the sizes of its files.
        method: Static method name.
        device_type: ``cpu``, ``cuda`` or ``mps``.
    """
    needed = preset.card.memory.get(method) or estimate_from_files(preset)
    if device_type != "cuda":
        return needed
    rest = max(needed - PROGRAM["cpu"], 0)
    return PROGRAM["cuda"] + (rest // 2 if method in _TWO_BYTE_METHODS else rest)


def estimate_from_files(preset: Preset) -> int:
    """Return about what a run takes, from the sizes of the preset's files.

    All files count twice: numbers of two bytes become float32, and float32 files lie in memory
    twice for a moment when a checkpoint is converted. Files of unknown size count as nothing.
    """
    sizes = (
        path.stat().st_size if (path := preset.path(file.file)).is_file() else file.size or 0
        for file in preset.card.files
    )
    return PROGRAM["cpu"] + _TYPICAL_ACTIVATIONS + 2 * sum(sizes)


def free_memory(device: torch.device) -> int | None:
    """Return the bytes a device has for this process and its models, None where unknown.

    What the process already holds of its program counts as free, and so does what PyTorch caches.
    """
    if device.type == "cpu":
        free = system_memory()[1]
        return None if free is None else free + min(resident_memory() or 0, PROGRAM["cpu"])
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + cached + PROGRAM["cuda"]


def largest_fitting(
    presets: Iterable[Preset], method: str, device_type: str, free: int
) -> Preset | None:
    """Return the largest preset that serves a method within ``free`` bytes, None without one.

    Presets whose files are on this computer come before those to be downloaded.
    """
    best: tuple[bool, int] = (False, 0)
    chosen = None
    for preset in presets:
        if not preset.serves(method):
            continue
        needed = required_memory(preset, method, device_type)
        rank = (preset.is_ready(method), needed)
        if needed <= free and rank > best:
            best, chosen = rank, preset
    return chosen
