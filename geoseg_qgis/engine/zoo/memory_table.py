"""Memory that the package's own presets need, worked out beforehand.

Weighing the networks of every card takes a minute, which a list of models cannot wait for.
``make docs`` writes the table from `engine/models/memory.py`.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

from .registry import Origin, Preset

TABLE = Path(__file__).parent / "memory.json"


@functools.cache
def _table() -> dict[str, dict[str, list[int]]]:
    table: dict[str, dict[str, list[int]]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


def tabled_memory(preset: Preset, device_type: str) -> tuple[int, int, int] | None:
    """Return bytes of weights, activations and the program; None when they were not worked out.

    Args:
        preset: A preset; those of the user are in no table.
        device_type: ``cpu`` or ``cuda``.
    """
    if preset.origin is Origin.USER:
        return None
    entry = _table().get(preset.card.name, {}).get(device_type)
    return (entry[0], entry[1], entry[2]) if entry else None
