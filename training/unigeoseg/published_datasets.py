"""Readers of the published data sets in their published folder layouts.

Each returns records in the data set's own order; images are read later, one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geoseg_qgis.engine.models.unigeoseg.tasks import Task

from .plain_pickle import PlainPickleError, read_plain_pickle
from .records import AnnotatedRecord, DataSetError, FileRecord, Record

_DOWNLOAD = "Download the data set again and keep its folders as they are."


def read_geoseg(base: Path, split: str) -> list[Record]:
    """GeoSeg-1M and GeoSeg-Bench: ``<split>.json`` lists images, masks and questions.

    The task is the folder's: ``/ref/``, ``/intera/``, or reasoning elsewhere.
    """
    records: list[Record] = []
    for entry in _read_json(base / f"{split}.json"):
        words = _read_json(base / entry["json"])
        records.append(
            FileRecord(
                base / entry["img"],
                base / entry["mask"],
                _first(words.get("question")),
                _first(words.get("reason")),
                _task_of(base / entry["img"]),
            )
        )
    return records


def read_earthreason(base: Path, split: str) -> list[Record]:
    """EarthReason: ``<split>/{images,labels,QAs}``, matched by order.

    Every question trains; other splits have the first one alone.
    """
    folders = [base / split / name for name in ("images", "labels", "QAs")]
    lists = [sorted(folder.iterdir()) if folder.is_dir() else [] for folder in folders]
    if not lists[0] or len({len(files) for files in lists}) != 1:
        raise DataSetError(
            f"The folders images, labels and QAs in {base / split} do not match.", _DOWNLOAD
        )
    records: list[Record] = []
    for image, mask, words in zip(*lists, strict=True):
        content = _read_json(words)
        questions, answers = content["questions"], content["answer"] or [""]
        chosen = questions if split == "train" else questions[:1]
        records.extend(
            FileRecord(image, mask, question, answers[min(index, len(answers) - 1)], Task.REASONING)
            for index, question in enumerate(chosen)
        )
    return records


def read_refsegrs(base: Path, split: str) -> list[Record]:
    """RefSegRS: ``output_phrase_<split>.txt`` with a number and a phrase a line, TIFF files."""
    records: list[Record] = []
    for line in _read_text(base / f"output_phrase_{split}.txt").splitlines():
        number, _, phrase = line.strip().partition(" ")
        if number:
            records.append(
                FileRecord(
                    base / "images" / f"{number}.tif",
                    base / "masks" / f"{number}.tif",
                    phrase.strip(),
                    "",
                    Task.REFERRING,
                )
            )
    return records


def read_rrsisd(base: Path, split: str) -> list[Record]:
    """RRSIS-D: ``rrsisd/refs(unc).p`` with the phrases, ``rrsisd/instances.json`` with masks."""
    path = base / "rrsisd" / "refs(unc).p"
    try:
        references = read_plain_pickle(path.read_bytes())
    except (OSError, PlainPickleError) as error:
        raise DataSetError(f"The file {path} is missing or damaged.", _DOWNLOAD) from error
    annotations = {
        annotation["id"]: annotation["segmentation"]
        for annotation in _read_json(base / "rrsisd" / "instances.json")["annotations"]
    }
    images = base / "images" / "rrsisd" / "JPEGImages"
    if not images.is_dir():
        images = base / "images"
    records: list[Record] = []
    for reference in references:
        if reference["split"] == split:
            segmentation = annotations[reference["ann_id"]]
            records.extend(
                AnnotatedRecord(images / reference["file_name"], segmentation, sentence["sent"])
                for sentence in reference["sentences"]
            )
    return records


READERS: dict[str, Callable[[Path, str], list[Record]]] = {
    "geoseg": read_geoseg,
    "earthreason": read_earthreason,
    "refsegrs": read_refsegrs,
    "rrsisd": read_rrsisd,
}


def read_source(source: str) -> list[Record]:
    """Read the data set that ``name:folder:split`` names.

    Raises:
        DataSetError: The text has another form, or the data set is unknown, missing or damaged.
    """
    name, _, rest = source.partition(":")
    folder, _, split = rest.rpartition(":")
    if name not in READERS or not folder:
        raise DataSetError(
            f"{source!r} is not a data set.",
            f"Write name:folder:split with a name of {', '.join(sorted(READERS))}.",
        )
    return READERS[name](Path(folder), split)


def _task_of(image: Path) -> Task:
    path = image.as_posix()
    if "/ref/" in path:
        return Task.REFERRING
    return Task.INTERACTIVE if "/intera/" in path else Task.REASONING


def _first(values: list[str] | None) -> str:
    return values[0] if values else ""


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except ValueError as error:
        raise DataSetError(f"The file {path} is damaged.", _DOWNLOAD) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataSetError(f"The file {path} is missing.", _DOWNLOAD) from error
