"""Put a finished run into a preset folder: the checkpoint folder, the card's member and the page.

Run `python -m training.unigeoseg.export_preset --run RUN --scenes CACHE
--data DATA --preset FOLDER`; it scores the averaged weights as they are stored, on drawn scenes
and labelled images that were not trained on.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg_qgis.engine.metrics.referring import ReferringScores
from geoseg_qgis.engine.models.unigeoseg.checkpoint import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    load_checkpoint,
)
from geoseg_qgis.engine.zoo.vocabulary import split_words
from training.exported_networks import UNIGEOSEG
from training.model_pages import component_section, put_section, training_line
from training.preset_folder import (
    file_entry,
    packed,
    put_member,
    write_bytes,
    write_json,
)
from training.trainer import read_checkpoint

from .evaluate import TITLES, WEAK_CROPS, RequestPredictor, score_unseen
from .queries import MIN_PIXELS, OPENINGS
from .stored_scenes import PIXEL_SIZES, SIDE, WIDE_SIDE, StoredScene, stored_scenes
from .words import TOKENIZER_FILE

METHOD = "unigeoseg"
FOLDER = "unigeoseg"
SCORES_FILE = "scores.json"
VOCABULARY_FILE = "vocabulary.json"
PIXEL_SIZE = {"preferred": 0.25, "finest": 0.08, "coarsest": 0.6}
"""Metres in a pixel of the network's squares of drawn scenes, of ordinary and wide ones."""

logger = logging.getLogger(__name__)


def write_checkpoint(run: Path, folder: Path) -> dict[str, Any]:
    """Write the averaged weights of a run as a small checkpoint folder.

    Returns:
        The checkpoint of the run.
    """
    checkpoint = read_checkpoint(run)
    write_bytes(folder / TOKENIZER_FILE, (run / TOKENIZER_FILE).read_bytes())
    write_json(folder / CONFIG_FILE, json.loads(checkpoint["facts"]["config"]))
    content = packed(UNIGEOSEG.shipped(checkpoint), UNIGEOSEG.metadata)
    write_bytes(folder / WEIGHTS_FILE, content)
    return checkpoint


def known_words(scenes: Sequence[StoredScene]) -> list[str]:
    """Return the words of all sentences and questions of scenes, sorted."""
    texts = [query.text for scene in scenes for query in scene.queries]
    extra = [*OPENINGS, "every the all please target targets at point points inside box and"]
    return sorted({word for text in [*texts, *extra] for word in split_words(text)})


def card_member(folder: Path) -> dict[str, Any]:
    """Return the card's member for a checkpoint folder beside the card."""
    files = ((CONFIG_FILE, "json"), (TOKENIZER_FILE, "json"), (WEIGHTS_FILE, METHOD))
    return {
        "folder": folder.name,
        "vocabulary": {"file": f"{folder.name}/{VOCABULARY_FILE}"},
        "pixel_size": PIXEL_SIZE,
        "weights": [
            file_entry(f"{folder.name}/{name}", layout, (folder / name).read_bytes())
            for name, layout in files
        ],
    }


def page_section(
    member: Mapping[str, Any],
    checkpoint: Mapping[str, Any],
    amounts: Mapping[str, int],
    scores: Mapping[str, ReferringScores],
) -> str:
    """Return the section of the model page.

    Args:
        member: The card's member.
        checkpoint: Steps, seconds and facts of the run.
        amounts: How many drawn "scenes" trained, how many of them are "wide", and how many scored
            ("validation").
        scores: By name of the task or kind of request.
    """
    low, high = PIXEL_SIZES
    training = [
        training_line(checkpoint, UNIGEOSEG.crops),
        f"{amounts['scenes']} drawn scenes, {amounts['wide']} of {WIDE_SIDE} x {WIDE_SIDE} pixels, "
        "with their sentences, questions, points and boxes, a quarter of them between black bars; "
        "one image of five is a crop of the training images named above.",
    ]
    measured = [
        f"Scored on {amounts['validation']} drawn scenes of other seeds, {SIDE} x {SIDE} pixels of "
        f"{low} to {high} m, one sentence of every kind a scene where there is one, masks of "
        f"{MIN_PIXELS} pixels and more; once more on all of them between bars, and on a fourth as "
        f"many of {WIDE_SIDE} x {WIDE_SIDE}; and on {WEAK_CROPS} crops of validation images, on "
        "the pixels whose class is certain.",
        "",
        "| requests for | number | gIoU | cIoU | Pr@0.5 | Pr@0.7 |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(scores, key=list(TITLES).index):
        score = scores[name]
        measured.append(
            f"| {TITLES[name]} | {score.samples} | {score.giou:.3f} | {score.ciou:.3f} "
            f"| {score.precision[0.5]:.3f} | {score.precision[0.7]:.3f} |"
        )
    return component_section(UNIGEOSEG, member["weights"][-1], training, measured)


def main(arguments: Sequence[str] | None = None) -> None:
    """Export from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True, help="where drawn scenes are kept")
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled images")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--preset", type=Path, help="preset folder to put it into as well")
    parser.add_argument(
        "--count", type=int, help="drawn scenes of the training; as in the run by default"
    )
    parser.add_argument("--validation", type=int, default=200, help="drawn scenes to score")
    options = parser.parse_args(arguments)

    checkpoint = write_checkpoint(options.run, options.out)
    predictor = RequestPredictor(load_checkpoint(options.out))
    scores = score_unseen(predictor, options.scenes, options.validation, options.data)
    table = {name: score.as_row() for name, score in scores.items()}
    first = checkpoint["facts"].get("first_scene", 0)
    count = options.count or checkpoint["facts"]["scenes"]
    wide = checkpoint["facts"].get("wide_scenes", 0)
    amounts = {"scenes": count + wide, "wide": wide, "validation": options.validation}
    facts = {"steps": checkpoint["step"], "seconds": round(checkpoint["seconds"]), **amounts}
    write_json(options.run / SCORES_FILE, {**facts, "scores": table})
    logger.info("%s", json.dumps(table, indent=1))
    if options.preset is None:
        return
    known = known_words(stored_scenes(options.scenes, range(first, first + count)))
    folder = options.preset / FOLDER
    for name in (CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE):
        write_bytes(folder / name, (options.out / name).read_bytes())
    write_json(folder / VOCABULARY_FILE, {"words": known})
    member = card_member(folder)
    put_member(options.preset, METHOD, member)
    put_section(options.preset, page_section(member, checkpoint, amounts, scores))


if __name__ == "__main__":
    main()
