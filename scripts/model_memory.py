"""Writes what memory the package's own presets need, as the list of models shows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from geoseg_qgis.engine.models.memory import estimate_memory
from geoseg_qgis.engine.zoo.memory_table import TABLE
from geoseg_qgis.engine.zoo.registry import Origin, Preset, catalogue

DEVICES = ("cpu", "cuda")
# Steps keep the table from changing with every small change of a network.
STEP = 10_000_000


def main() -> int:
    """Write the table."""
    rows = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in table().items()]
    TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    sys.stdout.write(f"{TABLE}: {len(rows)} presets\n")
    return 0


def table() -> dict[str, dict[str, list[int]]]:
    """Return bytes of weights, activations and the program, by preset and kind of device."""
    found = catalogue([Path("nowhere")])
    if found.problems:
        raise found.problems[0]
    own = [preset for preset in found.presets.values() if preset.origin is not Origin.USER]
    return {preset.card.name: entry_of(preset) for preset in own}


def entry_of(preset: Preset) -> dict[str, list[int]]:
    """Return one row of the table."""
    entry: dict[str, list[int]] = {}
    for kind in DEVICES:
        need = estimate_memory(preset.card, torch.device(kind), folder=preset.folder)
        parts = (need.weights, need.activations, need.base)
        entry[kind] = [-(-part // STEP) * STEP for part in parts]
    return entry


if __name__ == "__main__":
    sys.exit(main())
