"""Measures the models on this computer on images that no built-in model was trained on.

`make evaluate` writes `docs/evaluation.md` from the template beside this file. Rows of models whose
weights are not on this computer are empty.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
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
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask
from training.evaluate import confusion, score
from training.preset_folder import write_json, write_text

ROOT = Path(__file__).resolve().parent.parent
BUILT_IN = "offline-small"
METHODS = ("gumix", "mask_selection", "fast")
ABLATIONS: dict[str, dict[str, Any]] = {
    "gumix without DINO in regions (no merging, uniform attention)": {
        "gumix": {"attention_temperature": 0.0, "cluster_epsilon": -1.0}
    },
    "gumix without SAM 2 regions": {"sam2": None},
    "gumix without the 1.5x scale": {"gumix": {"scales": [1.0]}},
}
# Data sets that the ablations are measured on.
ABLATED = ("dubai_landcover", "oam_buildings")

TEMPLATE = Path(__file__).with_name("evaluation.md")


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "evaluation.md")
    parser.add_argument("--sections", nargs="*", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--scenes", type=int, default=200, help="generated scenes")
    parser.add_argument("--limit", type=int, help="images of each set, for a quick run")
    parser.add_argument("--processes", type=int, default=1, help="rows measured at a time")
    parser.add_argument(
        "--runs",
        type=Path,
        default=ROOT / "runs",
        help="numbers and scenes",
    )
    parser.add_argument(
        "--unet",
        type=Path,
        default=ROOT / "runs" / "unet",
        help="run of the U-Net",
    )
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
    report(page)
    return 0


def open_vocabulary_rows(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Return the rows of all presets and methods, of the ablations and of the U-Net."""
    presets = catalogue().presets
    image_sets: dict[str, tuple[Question, list[BenchmarkImage]]] = {
        dataset: (question, list(real_images(options.data, dataset, options.limit)))
        for dataset, question in REAL.items()
    }
    image_sets["generated"] = (GENERATED, list(drawn_images(folder, options.scenes)))
    rows = variant_rows(list(variants(presets, folder)), image_sets, options.processes)
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
    image_sets: Mapping[str, tuple[Question, list[BenchmarkImage]]],
    processes: int,
) -> list[dict[str, Any]]:
    """Return the rows of variants in their order, ``processes`` of them measured at a time."""
    # A forked process would inherit the locks of torch's threads.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, fresh) as pool:
        rows = [
            pool.submit(variant_row, preset.card.name, name, method, model_of(preset), image_sets)
            for name, method, preset in measured
        ]
        for row in as_completed(rows):
            report(str(row.result()))
    return [row.result() for row in rows]


def variant_row(
    title: str,
    name: str,
    method: str,
    model: str,
    image_sets: Mapping[str, tuple[Question, list[BenchmarkImage]]],
) -> dict[str, Any]:
    """Return the row of one variant; ablations are measured only on the sets in `ABLATED`."""
    row: dict[str, Any] = {"model": title, "method": name}
    with tempfile.TemporaryDirectory() as folder:
        for dataset, (question, images) in image_sets.items():
            wanted = name not in ABLATIONS or dataset in ABLATED
            row[question.name] = (
                segmentation_score(model, method, question, images, Path(folder))
                if wanted
                else None
            )
    return row


def variants(presets: dict[str, Preset], folder: Path) -> Iterator[tuple[str, str, Preset]]:
    """Yield the name, method and preset of all variants that can run here."""
    for preset in presets.values():
        for method in METHODS:
            if preset.is_ready(method):
                yield method, method, preset
    for number, (name, change) in enumerate(ABLATIONS.items()):
        yield name, "gumix", changed_preset(presets[BUILT_IN], change, folder / f"variant-{number}")


def model_of(preset: Preset) -> str:
    """Return how a job names a preset: a changed one, which kept its name, by its folder."""
    return str(preset.folder) if preset.origin is Origin.USER else preset.card.name


def changed_preset(preset: Preset, change: Mapping[str, Any], folder: Path) -> Preset:
    """Return a preset with the same weights and other settings; None removes a setting."""
    shutil.copytree(preset.folder, folder)
    card = json.loads((folder / CARD_FILE).read_text())
    for name, value in change.items():
        if value is None:
            del card[name]
        else:
            card[name] = {**card.get(name, {}), **value}
    if "sam2" not in card:
        card["methods"] = ["gumix", "fast"]
        card.pop("memory", None)
    (folder / CARD_FILE).write_text(json.dumps(card))
    return open_preset(str(folder))


def segmentation_score(
    model: str, method: str, question: Question, images: Sequence[BenchmarkImage], folder: Path
) -> float | None:
    """Return the mean IoU of the scored classes over all images, None without images."""
    count = len(question.land_cover)
    histogram = torch.zeros(count, count, dtype=torch.int64)
    for image in images:
        predicted = class_indices(model, method, question, image.path, folder)
        histogram += confusion(predicted, image.labels, question.land_cover)
    if not histogram.sum():
        return None
    result = score(histogram, [str(index) for index in range(count)])
    return round(sum(result.iou[: question.scored]) / question.scored, 4)


def class_indices(
    model: str, method: str, question: Question, path: Path, folder: Path
) -> torch.Tensor:
    """Run the usual job and return (H, W) int64 class indices, the last one for unclassified."""
    output = folder / "classes.tif"
    classes = parse_classes(question.classes)
    task = OpenVocabularyTask(classes, rivals=False, class_raster=str(output))
    source = RasterSource(str(path), path.stem)
    run_job(Job(source, task, method=method, model=model), JobContext())
    with rasterio.open(output) as dataset:
        classes = dataset.read(1).astype(np.int64)
    return torch.from_numpy(np.where(classes == 0, len(question.land_cover), classes) - 1)


def word_rows(options: argparse.Namespace, folder: Path, count: int = 20) -> list[dict[str, Any]]:
    """Return the IoU of each word in `WORDS` on generated scenes that show it."""
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
        report(str(rows[-1]))
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
    """Return the page with a table for each section whose rows are in ``folder``."""
    head, *sections = re.split(
        r"^(?=## )", TEMPLATE.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    page = [head]
    for section in sections:
        text, _, name = section.partition("<!-- ")
        path = folder / f"{name.split()[0]}.json"
        rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        if rows:
            page.append(f"{text}{table(rows)}\n\n")
    return "".join(page).rstrip() + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table of rows with the same keys; None becomes an empty cell."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def report(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
