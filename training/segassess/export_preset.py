"""Put a finished run into a preset folder: the weights, the card's member and the page's section.

Run `python -m training.segassess.export_preset --run RUN --preset FOLDER` after
`evaluate` has scored the run; the weights are stored as int8 rows with float16 scales.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.exported_networks import SEGASSESS
from training.model_pages import component_section, measured_lines, put_section, training_line
from training.preset_folder import file_entry, packed, put_member, write_bytes
from training.trainer import read_checkpoint

from .evaluate import EVALUATION_FILE, TITLES
from .mask_tiles import KINDS
from .train import METADATA, TILE

METHOD = "segassess"


def write_weights(checkpoint: Mapping[str, Any], preset: Path) -> dict[str, Any]:
    """Write the averaged weights of a run into a preset folder and return the card's member."""
    content = packed(SEGASSESS.shipped(checkpoint), METADATA)
    write_bytes(preset / SEGASSESS.file, content)
    return {
        "weights": file_entry(SEGASSESS.file, SEGASSESS.layout, content),
        "tile": TILE,
        "objects": list(KINDS),
    }


def page_section(
    member: Mapping[str, Any], checkpoint: Mapping[str, Any], measured: list[str]
) -> str:
    """Return the section of the model page.

    Args:
        member: The card's member.
        checkpoint: Steps, seconds and facts of the run.
        measured: Lines with the numbers, see `score_lines`.
    """
    training = [
        training_line(checkpoint, SEGASSESS.crops),
        "Masks under test: the truth with made faults, groups of similar pixels, and maps of the "
        "image and text encoder on the training images.",
    ]
    return component_section(SEGASSESS, member["weights"], training, measured)


def score_lines(scores: Mapping[str, Any]) -> list[str]:
    """Return the numbers of `evaluate` as lines of the model page."""
    lines = [
        "Scored on validation images at the middle of each set's range of zooms, the map made to "
        "agree with the mask; empty masks are left out. F1 over all pixels; IoU of each connected "
        "area at least 8 pixels wide, predicted against true.",
        "",
        "| masks of | masks | F1 mean | TP | FP | TN | FN | F1 mean, raw map "
        "| F1 mean of trusting the mask | areas | IoU correlation | IoU error |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, groups in scores.items():
        lines.append(_row(TITLES.get(name, name), groups["all"]))
        if name == "unet":
            kinds = [kind for kind in KINDS if kind in groups]
            lines += [_row(f"&nbsp;&nbsp;{kind}", groups[kind]) for kind in kinds]
    return lines


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


def main(arguments: list[str] | None = None) -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--preset", type=Path, required=True, help="preset folder to put it into")
    options = parser.parse_args(arguments)
    checkpoint = read_checkpoint(options.run)
    member = write_weights(checkpoint, options.preset)
    put_member(options.preset, METHOD, member)
    measured = measured_lines(options.preset, SEGASSESS)
    evaluation = options.run / EVALUATION_FILE
    if evaluation.is_file():
        measured = score_lines(json.loads(evaluation.read_text(encoding="utf-8")))
    put_section(options.preset, page_section(member, checkpoint, measured))


if __name__ == "__main__":
    main()
