"""Turn finished runs into a preset folder: weights, card, vocabulary, tokenizer and model page.

`python -m geoseg_qgis.engine.training.export --runs runs --out FOLDER` writes the preset that the
zoo finds; weights are stored as int8 rows with float16 scales, small tensors as float16.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
from safetensors.torch import save_file

from geoseg_qgis.engine.models.weights import SCALE_SUFFIX, quantise_rows
from geoseg_qgis.engine.training import train_clip, train_dino, train_sam2
from geoseg_qgis.engine.training.datasets import SOURCES
from geoseg_qgis.engine.training.vocabulary import vocabulary_card

NAME = "offline-small"
LICENCE = "CC-BY-SA-4.0 (weights; imagery sources and their licences in MODEL.md)"
SMALLEST_QUANTISED = 4096
PRECISE = ("positional_embedding", "pos_embed", "class_embedding", "gaussian_matrix")

GUMIX: Dict[str, Any] = {
    "window": 224,
    "stride": 192,
    "pad_multiple": 16,
    "dino_scale": 1,
    "attention_temperature": 30.0,
    "semantic_weight": 0.2,
    "proposals": {
        "points_per_side": 8,
        "predicted_iou_threshold": 0.6,
        "stability_threshold": 0.7,
    },
}


def compact(state: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
    """Return a state with large matrices as int8 rows and everything else as float16."""
    result = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            result[name] = tensor
        elif tensor.ndim < 2 or tensor.numel() < SMALLEST_QUANTISED or name.endswith(PRECISE):
            result[name] = tensor.half().contiguous()
        else:
            whole, scale = quantise_rows(tensor)
            result[name] = whole.contiguous()
            result[name + SCALE_SUFFIX] = scale
    return result


def write_weights(path: Path, state: Dict[str, torch.Tensor], layout: str) -> Dict[str, Any]:
    """Write a state and return what the card says about the file."""
    temporary = path.with_name(path.name + ".part")
    save_file(compact(state), temporary)
    temporary.chmod(0o644)
    temporary.replace(path)
    return {
        "file": path.name,
        "layout": layout,
        "size": path.stat().st_size,
        "sha256": f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
    }


def clip_part(run: Path, out: Path) -> Dict[str, Any]:
    """Write the CLIP weights and tokenizer and return the card's member."""
    state = _checkpoint(run)
    shutil.copyfile(run / "bpe.txt.gz", out / "bpe.txt.gz")
    return {
        "model": state["facts"]["config"],
        "weights": write_weights(out / "clip.safetensors", state["average"], "open_clip"),
        "mean": list(train_clip.MEAN),
        "std": list(train_clip.STD),
        "tokenizer": {
            "kind": "bpe",
            "file": "bpe.txt.gz",
            "context_length": train_clip.CONTEXT_LENGTH,
        },
    }


def dino_part(run: Path, out: Path) -> Dict[str, Any]:
    """Write the DINO weights and return the card's member."""
    state = _checkpoint(run)
    prefix = "network."
    network = {
        name[len(prefix) :]: tensor
        for name, tensor in state["average"].items()
        if name.startswith(prefix)
    }
    return {
        "model": train_dino.MODEL,
        "arguments": state["facts"]["arguments"],
        "weights": write_weights(out / "dino.safetensors", network, "timm"),
        "mean": list(train_dino.MEAN),
        "std": list(train_dino.STD),
    }


def sam2_part(run: Path, out: Path) -> Dict[str, Any]:
    """Write the SAM 2 weights and return the card's member."""
    state = _checkpoint(run)
    head = "surfaces."
    network = {name: value for name, value in state["average"].items() if not name.startswith(head)}
    return {
        "model": state["facts"]["architecture"],
        "weights": write_weights(out / "sam2.safetensors", network, "sam2"),
        "mean": list(train_sam2.MEAN),
        "std": list(train_sam2.STD),
    }


def _checkpoint(run: Path) -> Dict[str, Any]:
    state: Dict[str, Any] = torch.load(run / "checkpoint.pt", weights_only=True)
    return state


def model_page(card: Dict[str, Any], runs: Dict[str, Path], metrics: Dict[str, Any]) -> str:
    """Return the model page: what was trained, on what, how well, and its limits."""
    lines = [f"# {card['title']}", "", card["description"], "", "## Weights", ""]
    for part in runs:
        weights = card[part]["weights"]
        lines.append(f"- `{weights['file']}`: {weights['size']:,} bytes, `{weights['sha256']}`")
    lines += ["", "## Training", ""]
    for part, run in runs.items():
        state = _checkpoint(run)
        lines.append(
            f"- {part}: {state['step']} steps of {state['facts']['batch']} crops in "
            f"{state['seconds'] / 60:.0f} minutes on two shared processor cores, "
            f"seed {state['facts']['seed']}, from random values."
        )
    lines += ["", "Training data (training split only) and attribution:", ""]
    lines += [f"- {name}: {s.attribution} ({s.licence})" for name, s in SOURCES.items()]
    lines += [
        "",
        "Besides, scenes drawn by this project's own generator (about four crops in nine).",
        "",
        "## Measured on validation images, never trained on",
        "",
    ]
    for title, value in metrics.items():
        lines.append(f"- {title}: {value}")
    lines += [
        "",
        "## Limits",
        "",
        "- It knows the words of `vocabulary.json`; any other word gets a meaningless score.",
        "- Few labelled images: trees, cars and fields come from small sets, water from one city.",
        "- Pixels of 0.1 to 2 m. Coarser satellite images are outside of what it saw.",
        "- Bare ground, roofs of the same colour and unpaved roads are often confused.",
        "",
    ]
    return "\n".join(lines)


def export(runs: Dict[str, Path], out: Path, metrics: Dict[str, Any]) -> Dict[str, Any]:
    """Write a preset folder and return its card.

    Args:
        runs: Folder of the run of each of "clip", "dino" and "sam2" that is to be included.
        out: The preset's folder.
        metrics: Titles and numbers for the model page.
    """
    out.mkdir(parents=True, exist_ok=True)
    writers = {"clip": clip_part, "dino": dino_part, "sam2": sam2_part}
    parts = {name: writers[name](run, out) for name, run in runs.items()}
    methods = ["gumix", "fast", "mask_selection"] if "dino" in parts else ["fast", "mask_selection"]
    if "sam2" in parts:
        methods += ["sam2"]
    card = {
        "name": NAME,
        "title": "Built-in models, small",
        "revision": "3",
        "licence": LICENCE,
        "description": (
            "Small CLIP, DINOv3, SAM 2, SegAssess and UniGeoSeg networks trained from scratch on "
            "openly licensed aerial imagery and generated scenes. They know a fixed list of words "
            "and run offline on any processor."
        ),
        "methods": methods,
        "pixel_size": {"preferred": 0.25, "finest": 0.1, "coarsest": 2.0},
        "vocabulary": {"file": "vocabulary.json"},
        **parts,
        "gumix": GUMIX,
    }
    _write_text(out / "vocabulary.json", json.dumps(vocabulary_card(), indent=1) + "\n")
    _write_text(out / "card.json", json.dumps(card, indent=1) + "\n")
    _write_text(out / "MODEL.md", model_page(card, runs, metrics))
    return card


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def main(arguments: Optional[List[str]] = None) -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--dino", type=Path)
    parser.add_argument("--sam2", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, help="JSON object of titles and numbers")
    options = parser.parse_args(arguments)
    runs = {
        name: run
        for name, run in (("clip", options.clip), ("dino", options.dino), ("sam2", options.sam2))
        if run is not None
    }
    metrics = json.loads(options.metrics.read_text()) if options.metrics else {}
    export(runs, options.out, metrics)


if __name__ == "__main__":
    main()
