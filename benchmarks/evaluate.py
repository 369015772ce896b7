"""How well the models at hand do on images that the built-in ones never saw: `make evaluate`.

Writes `docs/evaluation.md`. Rows of presets whose weights are not on this machine stay empty, to be
filled by whoever has them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

from benchmarks.clicks import click_rows
from benchmarks.image_sets import (
    GENERATED,
    LAND_COVER,
    OTHER_WORDS,
    REAL,
    WORDS,
    BenchmarkImage,
    Question,
    drawn_images,
    real_images,
    scenes_with,
)
from benchmarks.instructions import instruction_rows
from benchmarks.quality_maps import quality_rows, yardstick_score
from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.zoo.card import CARD_FILE
from geoseg_qgis.engine.zoo.registry import Origin, Preset, catalogue, open_preset
from geoseg_qgis.protocol.job import Job, JobKind
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks import OpenVocabularyTask
from training.evaluate import confusion, score
from training.preset_folder import write_json, write_text

ROOT = Path(__file__).resolve().parent.parent
BUILT_IN = "offline-small"
METHODS = ("gumix", "mask_selection", "fast")
ABLATIONS: dict[str, dict[str, Any]] = {
    "gumix without DINO in regions (none merge, cells look evenly at theirs)": {
        "gumix": {"attention_temperature": 0.0, "cluster_epsilon": -1.0}
    },
    "gumix without SAM 2 regions": {"sam2": None},
    "gumix without the 1.5x scale": {"gumix": {"scales": [1.0]}},
}


ABLATED = ("dubai_landcover", "oam_buildings")
"""Sets that the ablations are measured on."""

HEAD = """# Measured quality

Validation images of real sets and generated scenes that no built-in model was trained on. Empty
rows wait for somebody who has the weights: `make evaluate` fills those of all presets that are on
the machine. Numbers are IoU, 0 to 1, over all pixels of a set unless a table says otherwise; what
is not labelled, or lies on the ground of a training image, does not count. A real set has 2 to 9
images, so differences of 0.01 say little; those of OpenAerialMap are neighbours of training
images; and all of them helped to choose between changes ([training](training.md)), so new imagery
will score somewhat lower."""
SECTIONS = {
    "open_vocabulary": (
        "Open vocabulary",
        "Mean IoU of the classes in the column's title. The images of cars and of SpaceNet hold "
        "things smaller than a patch of the built-in CLIP. Rows of gumix without a part stand for "
        "two sets. Every class of a set is named, or a background, so that nothing competes "
        "unseen; a run that names fewer classes scores differently. NEON labels crowns alone: its "
        "number is the share of crown pixels called tree and says nothing of false trees. The "
        "U-Net, at the better of two zooms, is a smaller supervised network that learnt the five "
        "classes of Dubai alone, from the same real images, for 12 minutes; longer ones are in "
        "[training](training.md), and the built-in CLIP learnt for hours.",
    ),
    "words": (
        "Words that were no class in training",
        "IoU on generated scenes of words that training used only as synonyms or attributes. Pools "
        "are smaller there than a patch of the built-in CLIP.",
    ),
    "clicks": (
        "Clicks",
        "IoU after one and after five clicks of the standard protocol: the first click deepest in "
        "the object, each further one where an error is deepest, all clicks so far asked as the "
        "plugin asks them; parts of an answer that no click touches do not count. NoC is the mean "
        "number of clicks to reach an IoU in per cent, 5 where it is missed. Of crowns only a box "
        "is known: what lies between 0.8 and 1.1 times the ellipse in it does not count. Untrained "
        "is the network of random values that training begins with.",
    ),
    "instructions": (
        "Instructions",
        "Sentences, questions, points and boxes on generated scenes of 256 x 256 pixels, and "
        "classes by name and use on crops of real images. gIoU is the mean IoU of requests, cIoU "
        "that of all pixels, Pr@k the share of requests with more than that IoU. Where the words "
        "mean one thing, one connected part of the answer is kept, as the plugin does.",
    ),
    "quality": (
        "Quality maps",
        "F1 of the four classes of pixels (TP, FP, TN, FN) and their mean, and how the predicted "
        "IoU of single parts of a mask goes with the true one, on real images. The masks of the "
        "U-Net come from a source that training never saw.",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "evaluation.md")
    parser.add_argument("--sections", nargs="*", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--scenes", type=int, default=200, help="generated scenes")
    parser.add_argument("--limit", type=int, help="images of each set, for a quick look")
    parser.add_argument("--processes", type=int, default=1, help="open-vocabulary rows at a time")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="numbers, drawn scenes")
    parser.add_argument("--unet", type=Path, default=ROOT / "runs" / "unet", help="run to compare")
    options = parser.parse_args(arguments)
    if not (options.data / "splits.json").is_file():
        sys.stdout.write(f"There are no labelled images in {options.data}; give --data.\n")
        return 1
    kept = options.runs / "evaluation"
    with tempfile.TemporaryDirectory() as folder:
        for section in options.sections:
            rows = MEASURES[section](options, Path(folder))
            write_json(kept / f"{section}.json", rows)
    page = markdown(kept)
    write_text(options.out, page)
    say(page)
    return 0


def open_vocabulary_rows(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Return a row for each preset and method at hand, the ablations, the U-Net and the absent."""
    presets = catalogue().presets
    asked: dict[str, tuple[Question, list[BenchmarkImage]]] = {
        dataset: (question, list(real_images(options.data, dataset, options.limit)))
        for dataset, question in REAL.items()
    }
    asked["generated"] = (GENERATED, list(drawn_images(folder, options.scenes)))
    rows = variant_rows(list(variants(presets, folder)), asked, options.processes)
    empty = dict.fromkeys(rows[0])
    unet = {LAND_COVER.name: yardstick_score(options.data, options.unet)}
    rows.append({**empty, "model": "U-Net", "method": "supervised", **unet})
    return rows + [
        {**empty, "model": preset.card.name, "method": method}
        for preset in presets.values()
        for method in METHODS
        if method in preset.card.methods and not preset.is_ready(method)
    ]


def variant_rows(
    measured: Sequence[tuple[str, str, Preset]],
    asked: Mapping[str, tuple[Question, list[BenchmarkImage]]],
    processes: int,
) -> list[dict[str, Any]]:
    """Return the rows of variants in their order, so many measured at a time."""
    # A process that was forked inherits the locks of torch's threads.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, fresh) as pool:
        rows = [
            pool.submit(variant_row, preset.card.name, name, method, model_of(preset), asked)
            for name, method, preset in measured
        ]
        for row in as_completed(rows):
            say(str(row.result()))
    return [row.result() for row in rows]


def variant_row(
    title: str,
    name: str,
    method: str,
    model: str,
    asked: Mapping[str, tuple[Question, list[BenchmarkImage]]],
) -> dict[str, Any]:
    """Return the row of one variant; ablations are measured on the sets of `ABLATED` alone."""
    row: dict[str, Any] = {"model": title, "method": name}
    with tempfile.TemporaryDirectory() as folder:
        for dataset, (question, images) in asked.items():
            wanted = name not in ABLATIONS or dataset in ABLATED
            row[question.name] = (
                segmentation_score(model, method, question, images, Path(folder))
                if wanted
                else None
            )
    return row


def variants(presets: dict[str, Preset], folder: Path) -> Iterator[tuple[str, str, Preset]]:
    """Yield name of the variant, method and preset of all that can run here."""
    for preset in presets.values():
        for method in METHODS:
            if preset.is_ready(method):
                yield method, method, preset
    for number, (name, change) in enumerate(ABLATIONS.items()):
        yield name, "gumix", changed_preset(presets[BUILT_IN], change, folder / f"variant-{number}")


def model_of(preset: Preset) -> str:
    """Return how a job names a preset.

    Presets for download share a folder that holds no card; a changed one shares its name.
    """
    return str(preset.folder) if preset.origin is Origin.USER else preset.card.name


def changed_preset(preset: Preset, change: Mapping[str, Any], folder: Path) -> Preset:
    """Return a preset with the same weights and other settings; None takes a member away."""
    shutil.copytree(preset.folder, folder)
    card = json.loads((folder / CARD_FILE).read_text())
    for name, value in change.items():
        if value is None:
            del card[name]
        else:
            card[name] = {**card.get(name, {}), **value}
    if "sam2" not in card:
        card["methods"] = ["gumix", "fast"]
    (folder / CARD_FILE).write_text(json.dumps(card))
    return open_preset(str(folder))


def segmentation_score(
    model: str, method: str, question: Question, images: Sequence[BenchmarkImage], folder: Path
) -> float | None:
    """Return the mean IoU of the scored classes over all images, None without images."""
    count = len(question.surfaces)
    histogram = torch.zeros(count, count, dtype=torch.int64)
    for image in images:
        predicted = class_indices(model, method, question, image.path, folder)
        histogram += confusion(predicted, image.labels, question.surfaces)
    if not histogram.sum():
        return None
    result = score(histogram, [str(index) for index in range(count)])
    return round(sum(result.iou[: question.scored]) / question.scored, 4)


def class_indices(
    model: str, method: str, question: Question, path: Path, folder: Path
) -> torch.Tensor:
    """Run the job that every door makes; return (H, W) class indices, unclassified as the last."""
    output = folder / "classes.tif"
    task = OpenVocabularyTask(question.classes, rivals=False, class_raster=str(output))
    source = RasterSource(str(path), path.stem)
    run_job(Job(JobKind.OPEN_VOCABULARY, source, task, method=method, model=model), JobContext())
    with rasterio.open(output) as dataset:
        classes = dataset.read(1).astype(np.int64)
    return torch.from_numpy(np.where(classes == 0, len(question.surfaces), classes) - 1)


def word_rows(options: argparse.Namespace, folder: Path, count: int = 20) -> list[dict[str, Any]]:
    """Return the IoU of every word of `WORDS` on generated scenes that show it."""
    rows: list[dict[str, Any]] = []
    for word, picks in WORDS.items():
        question = Question(word, f"{word}; {OTHER_WORDS[word]}", (1, 2), 1)
        hit = union = shown = 0
        for path, truth in scenes_with(picks, folder, min(count, options.scenes)):
            found = class_indices(BUILT_IN, "gumix", question, path, folder).numpy() == 0
            hit += int((found & truth).sum())
            union += int((found | truth).sum())
            shown += 1
        rows.append({"word": word, "IoU": hit / max(union, 1), "scenes": shown})
        say(str(rows[-1]))
    return rows


def _clicks(options: argparse.Namespace, _: Path) -> list[dict[str, Any]]:
    return click_rows(catalogue().presets[BUILT_IN], options.data, options.limit)


def _instructions(options: argparse.Namespace, _: Path) -> list[dict[str, Any]]:
    scenes = options.runs / "unigeoseg-scenes"
    preset = catalogue().presets[BUILT_IN]
    return instruction_rows(preset, options.data, scenes, options.scenes)


def _quality(options: argparse.Namespace, _: Path) -> list[dict[str, Any]]:
    preset = catalogue().presets[BUILT_IN]
    return quality_rows(preset, options.data, options.unet, options.limit)


MEASURES: dict[str, Callable[[argparse.Namespace, Path], list[dict[str, Any]]]] = {
    "open_vocabulary": open_vocabulary_rows,
    "words": word_rows,
    "clicks": _clicks,
    "instructions": _instructions,
    "quality": _quality,
}


def markdown(folder: Path) -> str:
    """Return the page of all tables whose rows a folder holds."""
    parts = [HEAD]
    for section, (title, text) in SECTIONS.items():
        path = folder / f"{section}.json"
        rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        if rows:
            parts += [f"## {title}", text, table(rows)]
    return "\n\n".join(parts) + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table of rows with the same names; None is left empty."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    """Tell how far it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
