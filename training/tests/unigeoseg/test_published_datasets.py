"""Data sets in their published layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from unigeoseg_facts import write_json, write_raster

from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.unigeoseg.published_datasets import READERS, read_source
from training.unigeoseg.records import DataSetError

# Two references as the older text form of pickle writes them.
REFERENCES = (
    b"(lp0\n(dp1\nVsplit\np2\nVtrain\np3\nsVann_id\np4\nI7\nsVfile_name\np5\nV00001.png\np6\n"
    b"sVsentences\np7\n(lp8\n(dp9\nVsent\np10\nVthe left half\np11\nsa(dp12\ng10\n"
    b"Vthe grey part\np13\nsasa(dp14\ng2\nVtest\np15\nsg4\nI8\nsg5\nV00002.png\np16\n"
    b"sg7\n(lp17\n(dp18\ng10\nVthe top\np19\nsasa."
)
IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
LEFT = np.zeros((4, 6), dtype=np.uint8)
LEFT[:, :3] = 255


@pytest.mark.parametrize(
    ("folder", "task"),
    [("ref", Task.REFERRING), ("intera", Task.INTERACTIVE), ("thought", Task.REASONING)],
)
def test_geoseg(tmp_path: Path, folder: str, task: Task) -> None:
    base = tmp_path / folder / "test"
    write_raster(base / "images" / "1.png", IMAGE)
    write_raster(base / "masks" / "1.png", LEFT)
    write_json(base / "words" / "1.json", {"question": ["the left half", "more"], "reason": []})
    write_json(
        base / "test.json",
        [{"img": "images/1.png", "mask": "masks/1.png", "json": "words/1.json"}],
    )
    (record,) = READERS["geoseg"](base, "test")
    assert record.task is task
    sample = record.read()
    assert np.array_equal(sample.image, IMAGE)
    assert np.array_equal(sample.mask, LEFT // 255)
    assert (sample.instruction, sample.answer) == ("the left half", "")


@pytest.mark.parametrize(
    ("split", "questions"), [("train", ["where?", "what?"]), ("val", ["where?"])]
)
def test_earthreason(tmp_path: Path, split: str, questions: list[str]) -> None:
    write_raster(tmp_path / split / "images" / "a.png", IMAGE)
    write_raster(tmp_path / split / "labels" / "a.png", LEFT)
    words = {"questions": ["where?", "what?"], "answer": ["left"]}
    write_json(tmp_path / split / "QAs" / "a.json", words)
    samples = [record.read() for record in READERS["earthreason"](tmp_path, split)]
    assert [sample.instruction for sample in samples] == questions
    assert {sample.answer for sample in samples} == {"left"}
    assert {sample.task for sample in samples} == {Task.REASONING}


def test_refsegrs(tmp_path: Path) -> None:
    write_raster(tmp_path / "images" / "12.tif", IMAGE)
    write_raster(tmp_path / "masks" / "12.tif", LEFT // 255)
    (tmp_path / "output_phrase_test.txt").write_text("12 road in the left\n\n")
    (record,) = READERS["refsegrs"](tmp_path, "test")
    sample = record.read()
    assert sample.instruction == "road in the left"
    assert sample.mask.sum() == 12
    assert record.task is Task.REFERRING


def test_rrsisd(tmp_path: Path) -> None:
    for name in ("00001.png", "00002.png"):
        write_raster(tmp_path / "images" / "rrsisd" / "JPEGImages" / name, IMAGE)
    (tmp_path / "rrsisd").mkdir()
    (tmp_path / "rrsisd" / "refs(unc).p").write_bytes(REFERENCES)
    annotations = [
        {"id": 7, "segmentation": [{"size": [4, 6], "counts": [0, 12, 12]}]},
        {"id": 8, "segmentation": [[0, 0, 6, 0, 6, 2, 0, 2]]},
    ]
    write_json(tmp_path / "rrsisd" / "instances.json", {"annotations": annotations})
    train = [record.read() for record in READERS["rrsisd"](tmp_path, "train")]
    assert [sample.instruction for sample in train] == ["the left half", "the grey part"]
    assert np.array_equal(train[0].mask, LEFT // 255)
    (record,) = READERS["rrsisd"](tmp_path, "test")
    assert record.read().mask.sum(axis=1).tolist() == [6, 6, 0, 0]


@pytest.mark.parametrize("name", sorted(READERS))
def test_missing_data_set(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataSetError, match="Download the data set again"):
        READERS[name](tmp_path / "nothing", "test")


def test_sources_are_named_with_folder_and_split(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="Write name:folder:split"):
        read_source("somewhere")
    with pytest.raises(DataSetError, match=r"test\.json is missing"):
        read_source(f"geoseg:{tmp_path}:test")
