"""Writing a preset folder, its weights and its card, one component at a time."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from geoseg_qgis.engine.files import draft
from geoseg_qgis.engine.models.weights import SCALE_SUFFIX, quantise_rows
from geoseg_qgis.engine.zoo.card import CARD_FILE
from geoseg_qgis.engine.zoo.methods import method_needs

METHODS = ("gumix", "fast", "mask_selection", "sam2", "segassess", "unigeoseg")
"""Methods that a component may enable, in the order of a card."""

NEW_CARD: dict[str, Any] = {
    "title": "Models of this project, small",
    "revision": "1",
    "licence": "CC-BY-SA-4.0 (weights; imagery sources and their licences in MODEL.md)",
    "description": (
        "Small networks trained from scratch on openly licensed aerial imagery and generated "
        "scenes. They know a fixed list of words and run offline on any computer."
    ),
    "methods": [],
    "pixel_size": {"preferred": 0.25, "finest": 0.1, "coarsest": 2.0},
}

SMALLEST_QUANTISED = 4096
PRECISE = ("positional_embedding", "pos_embed", "class_embedding", "gaussian_matrix")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, replacing the last one at once; its folder is created when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft(path) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, replacing the last one at once."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write an indented JSON file, replacing the last one at once."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def compact(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state with large matrices as int8 rows and everything else as float16."""
    result = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            result[name] = tensor.contiguous()
        elif tensor.ndim < 2 or tensor.numel() < SMALLEST_QUANTISED or name.endswith(PRECISE):
            result[name] = tensor.half().contiguous()
        else:
            whole, scale = quantise_rows(tensor)
            result[name] = whole.contiguous()
            result[name + SCALE_SUFFIX] = scale
    return result


def packed(state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return a state as the bytes of a compact safetensors file; equal states give equal bytes."""
    content: bytes = save(compact(state), None if metadata is None else dict(metadata))
    return content


def file_entry(file: str, layout: str, content: bytes) -> dict[str, Any]:
    """Return a card's entry of a file.

    Args:
        file: Path relative to the card.
        layout: How the content is laid out, for example "open_clip" or "json".
        content: All bytes of the file.
    """
    digest = hashlib.sha256(content).hexdigest()
    return {"file": file, "layout": layout, "size": len(content), "sha256": f"sha256:{digest}"}


def read_card_object(folder: Path) -> dict[str, Any]:
    """Return the card of a folder as a JSON object, or a new one that has no component yet."""
    path = folder / CARD_FILE
    if not path.is_file():
        name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
        return {"name": name or "own-models", **NEW_CARD, "methods": []}
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return card


def put_member(
    folder: Path,
    component: str,
    member: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Put a component into the card of a folder, with the methods that it enables.

    Args:
        folder: The preset's folder; it gets a card when it has none.
        component: Name of the member, for example "clip".
        member: The component's member of the card.
        defaults: Other members, for a card that does not have them.
    """
    card = read_card_object(folder)
    card[component] = dict(member)
    for name, value in (defaults or {}).items():
        card.setdefault(name, value)
    card["methods"] = enabled_methods(card, component)
    write_json(folder / CARD_FILE, card)


def enabled_methods(card: Mapping[str, Any], component: str) -> list[str]:
    """Return a card's methods, and among them those that the component completes."""
    methods = list(card["methods"])
    for rank, method in enumerate(METHODS):
        needs = method_needs()[method]
        complete = component in needs and all(part in card for part in needs)
        if complete and method not in methods:
            later = [methods.index(other) for other in METHODS[rank:] if other in methods]
            methods.insert(min(later, default=len(methods)), method)
    return methods
