"""Put a finished run into a preset folder: the weights, the card's part and the page's section.

Run `python -m geoseg_qgis.engine.training.segassess.export_preset --run RUN --preset FOLDER` after
`evaluate` has scored the run; the weights are stored as int8 rows with float16 scales.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from geoseg_qgis.engine.models.segassess.loading import CONFIGURATION_KEY
from geoseg_qgis.engine.training.export import compact

from .evaluate import EVALUATION_FILE
from .scenes import KINDS
from .train_preset import TILE, load_run

METHOD = "segassess"
WEIGHTS_FILE = "segassess.safetensors"
PAGE_START = "## SegAssess"
_TITLES = {
    "unet": "U-Net, masks never seen in training",
    "corrupted": "true masks with made faults",
    "clip": "built-in image and text encoder",
}


def write_weights(run: Path, path: Path) -> dict[str, Any]:
    """Write the averaged weights of a run and return the card's part."""
    model = load_run(run)
    facts = {CONFIGURATION_KEY: json.dumps(model.configuration.to_json())}
    partial = path.with_name(path.name + ".part")
    save_file(compact(model.state_dict()), partial, metadata=facts)
    partial.chmod(0o644)
    os.replace(partial, path)  # noqa: PTH105
    return {
        "weights": {
            "file": path.name,
            "layout": METHOD,
            "size": path.stat().st_size,
            "sha256": f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
        },
        "tile": TILE,
        "objects": list(KINDS),
    }


def add_to_card(path: Path, part: Mapping[str, Any]) -> None:
    """Put the part into a card, and the method into its list."""
    card = json.loads(path.read_text(encoding="utf-8"))
    card[METHOD] = part
    card["methods"] = [*(name for name in card["methods"] if name != METHOD), METHOD]
    _write_text(path, json.dumps(card, indent=1) + "\n")


def page_section(
    part: Mapping[str, Any], facts: Mapping[str, Any], scores: Mapping[str, Any]
) -> str:
    """Return the section of the model page: training, numbers and limits.

    Args:
        part: The card's part.
        facts: Steps, seconds, batch and seed of the run.
        scores: What `evaluate` wrote.
    """
    weights = part["weights"]
    lines = [
        PAGE_START,
        "",
        f"- `{weights['file']}`: {weights['size']:,} bytes, `{weights['sha256']}`",
        f"- {facts['steps']} steps of {facts['batch']} crops of {part['tile']} pixels in "
        f"{facts['seconds'] / 60:.0f} minutes on part of one processor core, seed "
        f"{facts['seed']}, from random values, on the images named above. Masks under test: the "
        "truth with made faults, groups of similar pixels, and maps of the image and text encoder "
        "on the training images.",
        "- Scored on validation images at the middle of each set's range of zooms, the map made to "
        "agree with the mask; masks that show nothing are left out. F1 over all pixels; IoU of "
        "each connected part at least 8 pixels wide, predicted against true. The loss weights of "
        "FP and FN were raised once during training, after a look at U-Net masks of three of these "
        "images.",
        "",
        "| masks of | masks | F1 mean | TP | FP | TN | FN | F1 mean, raw map "
        "| F1 mean of trusting the mask | parts | IoU correlation | IoU error |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, groups in scores.items():
        lines.append(_row(_TITLES.get(name, name), groups["all"]))
        if name == "unet":
            kinds = [kind for kind in KINDS if kind in groups]
            lines += [_row(f"&nbsp;&nbsp;{kind}", groups[kind]) for kind in kinds]
    lines += [
        "",
        "Limits: it is told no kind of object and takes it from the mask, so a mask that shows a "
        "river as road can pass for a good mask of water. It sees buildings, roads, water, "
        "vegetation and bare land; other things it judges by looks alone. It finds few of the "
        "missed objects, and hardly any missed road; where roads break up into pieces it calls "
        "most of them wrong. Carefully drawn masks with moved or coarse outlines get too low an "
        "IoU, but in the right order. Parts narrower than 8 pixels are not judged.",
        "",
    ]
    return "\n".join(lines)


def _row(title: str, numbers: Mapping[str, Any]) -> str:
    constrained, objects = numbers["constrained"], numbers["objects"]
    values = [
        f"{numbers['masks']}",
        *(_shown(constrained.get(f"{name}_f1")) for name in ("mean", "TP", "FP", "TN", "FN")),
        _shown(numbers["raw"].get("mean_f1")),
        _shown(numbers["mean_f1_of_trusting_the_mask"]),
        f"{objects['count']}",
        _shown(objects["iou_correlation"]),
        _shown(objects["iou_error"]),
    ]
    return "| " + " | ".join([title, *values]) + " |"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def add_to_page(path: Path, section: str) -> None:
    """Put the section at the end of a model page, or in place of an earlier one."""
    text = path.read_text(encoding="utf-8")
    before, found, rest = text.partition(f"{PAGE_START}\n")
    _, mark, after = rest.partition("\n## ")
    following = f"\n## {after}" if found and mark else ""
    _write_text(path, f"{before.rstrip()}\n\n{section.rstrip()}\n{following}")


def main(arguments: list[str] | None = None) -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--preset", type=Path, required=True, help="preset folder to put it into")
    options = parser.parse_args(arguments)
    part = write_weights(options.run, options.preset / WEIGHTS_FILE)
    add_to_card(options.preset / "card.json", part)
    evaluation = options.run / EVALUATION_FILE
    if evaluation.is_file():
        state = torch.load(options.run / "checkpoint.pt", weights_only=True)
        facts = {"steps": state["step"], "seconds": state["seconds"], **state["facts"]}
        scores = json.loads(evaluation.read_text(encoding="utf-8"))
        add_to_page(options.preset / "MODEL.md", page_section(part, facts, scores))


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    main()
