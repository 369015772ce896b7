"""Put a finished run into a preset folder: the checkpoint folder, the card's part and the page.

Run `python -m geoseg_qgis.engine.training.unigeoseg.export_preset --run RUN --scenes CACHE
--data DATA --preset FOLDER`; it scores the averaged weights as they are stored, on generated scenes
and real pictures that were not trained on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from geoseg_qgis.engine.metrics.referring import ReferringScores
from geoseg_qgis.engine.models.unigeoseg.checkpoint import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    fuse_attention,
    load_checkpoint,
)
from geoseg_qgis.engine.training.crops import CropSampler
from geoseg_qgis.engine.training.datasets import SOURCES, load_scenes
from geoseg_qgis.engine.training.export import compact
from geoseg_qgis.engine.zoo.vocabulary import split_words

from .scenes import PIXEL_SIZES, SIDE, VALIDATION_SEED, StoredScene, stored_scenes
from .scores import SceneReader, score_real, score_scenes
from .wishes import FEWEST_PIXELS, OPENINGS
from .words import TOKENIZER_FILE

METHOD = "unigeoseg"
FOLDER = "unigeoseg"
SCORES_FILE = "scores.json"
VOCABULARY_FILE = "vocabulary.json"
PAGE_START = "## UniGeoSeg"
_REAL_CROPS = 120
_CONSTANT = "relative_position_index"
_TITLES = {
    "ref": "sentences",
    "class": "&nbsp;&nbsp;a class",
    "attribute": "&nbsp;&nbsp;a colour, roof or shape",
    "position": "&nbsp;&nbsp;a part of the image",
    "count": "&nbsp;&nbsp;a number",
    "extreme": "&nbsp;&nbsp;largest, leftmost and the like",
    "relation": "&nbsp;&nbsp;closest to something",
    "reason": "questions",
    "intera": "points and boxes",
    "points": "&nbsp;&nbsp;one to three points",
    "box": "&nbsp;&nbsp;a box",
    "real_ref": "real pictures, classes by name",
    "real_reason": "real pictures, classes by use",
}

logger = logging.getLogger(__name__)


def write_checkpoint(run: Path, folder: Path) -> dict[str, Any]:
    """Write the averaged weights of a run as a small checkpoint folder.

    Returns:
        Steps and seconds of the run.
    """
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    config = json.loads(state["facts"]["config"])
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    _write_text(folder / CONFIG_FILE, json.dumps(config, indent=1) + "\n")
    weights = compact(_network(state["average"], config["num_attention_heads"]))
    partial = folder / f"{WEIGHTS_FILE}.part"
    save_file(weights, partial, metadata={"format": "pt"})
    partial.chmod(0o644)
    partial.replace(folder / WEIGHTS_FILE)
    return {"steps": state["step"], "seconds": round(state["seconds"])}


def _network(average: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    prefix = "model."
    own = {
        name[len(prefix) :]: tensor
        for name, tensor in average.items()
        if name.startswith(prefix) and not name.endswith(_CONSTANT)
    }
    return {name: tensor.contiguous() for name, tensor in fuse_attention(own, heads).items()}


def known_words(scenes: Sequence[StoredScene]) -> list[str]:
    """Return the words of all sentences and questions of scenes, sorted."""
    texts = [wish.text for scene in scenes for wish in scene.wishes]
    extra = [*OPENINGS, "every the all please target targets at point points inside box and"]
    return sorted({word for text in [*texts, *extra] for word in split_words(text)})


def card_part(folder: Path) -> dict[str, Any]:
    """Return the card's member for a checkpoint folder beside the card."""
    files = ((CONFIG_FILE, "json"), (TOKENIZER_FILE, "json"), (WEIGHTS_FILE, METHOD))
    return {
        "folder": folder.name,
        "vocabulary": {"file": f"{folder.name}/{VOCABULARY_FILE}"},
        "weights": [
            {
                "file": f"{folder.name}/{name}",
                "layout": layout,
                "size": (folder / name).stat().st_size,
                "sha256": f"sha256:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}",
            }
            for name, layout in files
        ],
    }


def add_to_card(path: Path, part: Mapping[str, Any]) -> None:
    """Put the part into a card, and the method into its list."""
    card = json.loads(path.read_text(encoding="utf-8"))
    card[METHOD] = part
    card["methods"] = [*(name for name in card["methods"] if name != METHOD), METHOD]
    _write_text(path, json.dumps(card, indent=1) + "\n")


def page_section(
    part: Mapping[str, Any], facts: Mapping[str, Any], scores: Mapping[str, ReferringScores]
) -> str:
    """Return the section of the model page: training, numbers and limits."""
    weights = part["weights"][-1]
    low, high = PIXEL_SIZES
    lines = [
        PAGE_START,
        "",
        f"- `{weights['file']}`: {weights['size']:,} bytes, `{weights['sha256']}`",
        f"- {facts['steps']} steps in {facts['seconds'] / 60:.0f} minutes on part of one processor "
        f"core, from random values: {facts['scenes']} generated scenes with their sentences, "
        "questions, points and boxes, and, in one picture of five, crops of the real training "
        "pictures named above. Shares and weights were changed on the way; the command repeats the "
        "recipe as it ended, not these very weights.",
        f"- Scored on {facts['validation']} generated scenes of other seeds, {SIDE} x {SIDE} "
        f"pixels of {low} to {high} m, all kinds of sentences in equal number, answers of "
        f"{FEWEST_PIXELS} pixels and more; and on {_REAL_CROPS} crops of validation pictures, on "
        "the pixels whose class is certain.",
        "",
        "| asked | requests | gIoU | cIoU | Pr@0.5 | Pr@0.7 |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(scores, key=list(_TITLES).index):
        score = scores[name]
        lines.append(
            f"| {_TITLES[name]} | {score.samples} | {score.giou:.3f} | {score.ciou:.3f} "
            f"| {score.precision[0.5]:.3f} | {score.precision[0.7]:.3f} |"
        )
    lines += [
        "",
        "Limits: it knows the words of its own `vocabulary.json` and the wordings it was taught; "
        "questions were scored in wordings that it had seen about other scenes. Classes by name or "
        "use are what it does well. It often takes all of a kind where one is meant: the largest, "
        "the closest, the red one. Points and boxes give a rough region; SAM 2 of this preset "
        "draws outlines from them. Things of a few pixels are missed. Numbers of generated scenes "
        "do not carry over to photographs.",
        "",
    ]
    return "\n".join(lines)


def add_to_page(path: Path, section: str) -> None:
    """Put the section at the end of a model page, in place of an earlier one."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(f"{PAGE_START}\n")
    _, mark, after = rest.partition("\n## ")
    following = f"\n## {after}" if mark else ""
    _write_text(path, f"{before.rstrip()}\n\n{section.rstrip()}\n{following}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Export from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True, help="where drawn scenes are kept")
    parser.add_argument("--data", type=Path, required=True, help="folder of the real pictures")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--preset", type=Path, help="preset folder to put it into as well")
    parser.add_argument("--count", type=int, default=1600, help="generated scenes of the training")
    parser.add_argument("--validation", type=int, default=200, help="generated scenes to score")
    options = parser.parse_args(arguments)

    facts = write_checkpoint(options.run, options.out)
    reader = SceneReader(load_checkpoint(options.out))
    unseen = range(VALIDATION_SEED, VALIDATION_SEED + options.validation)
    scores = score_scenes(reader, stored_scenes(options.scenes, unseen))
    real = load_scenes(options.data, "validation", tuple(SOURCES))
    scores |= score_real(reader, CropSampler(real, SIDE, 5), _REAL_CROPS)
    table = {name: score.as_row() for name, score in scores.items()}
    facts |= {"scenes": options.count, "validation": options.validation}
    text = json.dumps({**facts, "scores": table}, indent=1)
    _write_text(options.run / SCORES_FILE, text + "\n")
    logger.info("%s", text)
    if options.preset is None:
        return
    taught = known_words(stored_scenes(options.scenes, range(options.count)))
    folder = options.preset / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE):
        shutil.copyfile(options.out / name, folder / name)
    _write_text(folder / VOCABULARY_FILE, json.dumps({"words": taught}, indent=1) + "\n")
    part = card_part(folder)
    add_to_card(options.preset / "card.json", part)
    add_to_page(options.preset / "MODEL.md", page_section(part, facts, scores))


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    main()
