"""Put finished runs into a preset folder.

`python -m training.export --clip RUN --dino RUN --sam2 RUN --segassess RUN --unigeoseg RUN --out
FOLDER` takes any of the five runs and writes their weights, card members and page sections; other
components stay as they are. Large matrices are stored as int8 rows with float16 scales, small
tensors as float16. The page gets the scores that `training.segassess.evaluate` and
`training.unigeoseg.evaluate` left in the run, and those of `--measured FILE`: a JSON object such as
`{"CLIP": {"Dubai land cover, mIoU": "0.43"}, "SAM 2": {"IoU after one click": 0.39}}`.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import train_clip, train_dino, train_sam2
from .exported_networks import CLIP, DINO, SAM2, SEGASSESS, UNIGEOSEG, Component
from .model_pages import NOT_MEASURED, component_section, measured_lines, put_section, training_line
from .preset_folder import (
    file_entry,
    packed,
    put_member,
    read_card_object,
    write_bytes,
    write_json,
)
from .segassess import evaluate as segassess
from .segassess.built_in import TILE
from .segassess.mask_tiles import KINDS
from .trainer import read_checkpoint
from .unigeoseg import built_in as unigeoseg
from .unigeoseg.evaluate import score_lines as unigeoseg_lines
from .vocabulary import vocabulary_card

COMPONENTS: dict[str, Component] = {
    "clip": CLIP,
    "dino": DINO,
    "sam2": SAM2,
    "segassess": SEGASSESS,
    "unigeoseg": UNIGEOSEG,
}
TOKENIZER_FILE = "bpe.txt.gz"
VOCABULARY_FILE = "vocabulary.json"

GUMIX: dict[str, Any] = {
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
SCALES = (1.0, 1.5)
DEFAULTS: dict[str, dict[str, Any]] = {
    "clip": {"vocabulary": {"file": VOCABULARY_FILE}},
    "dino": {"gumix": GUMIX},
}

Measured = Mapping[str, Mapping[str, Any]]
Facts = Mapping[str, Any]

logger = logging.getLogger(__name__)


def export(runs: Mapping[str, Path], out: Path, measured: Measured) -> None:
    """Put runs into a preset folder.

    Args:
        runs: Folders of runs by names of `COMPONENTS`.
        out: The preset's folder; it is made where there is none.
        measured: Titles and numbers by title of the component. A component that has neither these
            nor scores in its run keeps the numbers of its page.
    """
    for name, run in runs.items():
        component, checkpoint = COMPONENTS[name], read_checkpoint(run)
        content = packed(component.shipped(checkpoint), component.metadata)
        weights = file_entry(component.file, component.layout, content)
        before = _weights_entry(read_card_object(out).get(name, {}))
        write_bytes(out / component.file, content)
        member = _MEMBERS[name](run, out, checkpoint["facts"], weights)
        put_member(out, name, member, DEFAULTS.get(name))
        numbers = [f"- {title}: {n}" for title, n in measured.get(component.title, {}).items()]
        if not numbers and name in _SCORES:
            numbers = _SCORES[name](run)
        if not numbers:
            numbers = measured_lines(out, component)
            if weights != before and numbers != [NOT_MEASURED]:
                logger.warning("The page keeps the numbers of an earlier %s.", component.title)
        training = [training_line(checkpoint, component.crops), *component.training]
        put_section(out, component_section(component, weights, training, numbers))


def _weights_entry(member: Mapping[str, Any]) -> object:
    weights = member.get("weights")
    return weights[-1] if isinstance(weights, list) else weights


def _clip_member(run: Path, out: Path, facts: Facts, weights: Facts) -> dict[str, Any]:
    write_bytes(out / TOKENIZER_FILE, (run / TOKENIZER_FILE).read_bytes())
    write_json(out / VOCABULARY_FILE, vocabulary_card())
    return {
        "model": facts["config"],
        "weights": weights,
        "mean": list(train_clip.MEAN),
        "std": list(train_clip.STD),
        "tokenizer": {
            "kind": "bpe",
            "file": TOKENIZER_FILE,
            "context_length": train_clip.CONTEXT_LENGTH,
        },
        "scales": list(SCALES),
    }


def _dino_member(_run: Path, _out: Path, facts: Facts, weights: Facts) -> dict[str, Any]:
    return {
        "model": train_dino.MODEL,
        "arguments": facts["arguments"],
        "weights": weights,
        "mean": list(train_dino.MEAN),
        "std": list(train_dino.STD),
    }


def _sam2_member(_run: Path, _out: Path, facts: Facts, weights: Facts) -> dict[str, Any]:
    return {
        "model": facts["architecture"],
        "weights": weights,
        "mean": list(train_sam2.MEAN),
        "std": list(train_sam2.STD),
        # Its scores of the three masks are too coarse to choose by.
        "multimask": False,
        "mirrors": True,
        "closer": True,
        "in_turn": True,
    }


def _segassess_member(_run: Path, _out: Path, _facts: Facts, weights: Facts) -> dict[str, Any]:
    return {"weights": weights, "tile": TILE, "objects": list(KINDS)}


def _unigeoseg_member(run: Path, out: Path, _facts: Facts, weights: Facts) -> dict[str, Any]:
    folder = Path(UNIGEOSEG.file).parent
    entries = []
    for name, content in unigeoseg.side_files(run).items():
        write_bytes(out / folder / name, content)
        entries.append(file_entry(f"{folder}/{name}", "json", content))
    write_bytes(out / folder / VOCABULARY_FILE, (run / unigeoseg.VOCABULARY_FILE).read_bytes())
    return {
        "folder": str(folder),
        "vocabulary": {"file": f"{folder}/{VOCABULARY_FILE}"},
        "pixel_size": unigeoseg.PIXEL_SIZE,
        "weights": [*entries, weights],
    }


_MEMBERS: dict[str, Callable[[Path, Path, Facts, Facts], dict[str, Any]]] = {
    "clip": _clip_member,
    "dino": _dino_member,
    "sam2": _sam2_member,
    "segassess": _segassess_member,
    "unigeoseg": _unigeoseg_member,
}
_SCORES: dict[str, Callable[[Path], list[str]]] = {
    "segassess": segassess.score_lines,
    "unigeoseg": unigeoseg_lines,
}


def read_measured(path: Path) -> dict[str, dict[str, Any]]:
    """Return the numbers of a file, by title of the component.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no JSON, or has something else than titles and numbers of components.
    """
    measured = json.loads(path.read_text(encoding="utf-8"))
    titles = [component.title for component in COMPONENTS.values()]
    if not isinstance(measured, dict) or not all(isinstance(n, dict) for n in measured.values()):
        raise ValueError("it is not an object of titles and numbers for each component")
    if unknown := [title for title in measured if title not in titles]:
        raise ValueError(f"it names {unknown[0]!r}; it may name {', '.join(titles)}")
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Export from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, component in COMPONENTS.items():
        parser.add_argument(f"--{name}", type=Path, help=f"run of {component.title} to export")
    parser.add_argument("--out", type=Path, required=True, help="preset folder")
    parser.add_argument("--measured", type=Path, help="JSON file of the exported runs' numbers")
    options = parser.parse_args(arguments)
    given = {name: getattr(options, name) for name in COMPONENTS}
    runs = {name: run for name, run in given.items() if run is not None}
    if not runs:
        parser.error(f"Nothing is exported. Give one of {', '.join(f'--{n}' for n in given)}.")
    try:
        measured = read_measured(options.measured) if options.measured else {}
    except (OSError, ValueError) as error:
        parser.error(f"{options.measured} cannot be used: {error}. Correct it.")
    export(runs, options.out, measured)


if __name__ == "__main__":
    main()
