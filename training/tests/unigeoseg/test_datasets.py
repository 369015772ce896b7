"""Data sets in their published layouts, and plain data out of untrusted files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unigeoseg_facts import write_json, write_raster

from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.unigeoseg.datasets import READERS
from training.unigeoseg.plain_pickle import PlainPickleError, read_plain_pickle
from training.unigeoseg.run_length import decode_runs, decode_segmentation
from training.unigeoseg.samples import DataSetError, read_image

# Two references as the older text form of pickle writes them.
REFERENCES = (
    b"(lp0\n(dp1\nVsplit\np2\nVtrain\np3\nsVann_id\np4\nI7\nsVfile_name\np5\nV00001.png\np6\n"
    b"sVsentences\np7\n(lp8\n(dp9\nVsent\np10\nVthe left half\np11\nsa(dp12\ng10\n"
    b"Vthe grey part\np13\nsasa(dp14\ng2\nVtest\np15\nsg4\nI8\nsg5\nV00002.png\np16\n"
    b"sg7\n(lp17\n(dp18\ng10\nVthe top\np19\nsasa."
)
# [{"split": "train", "w": (1, 2.5, None, True, -70000, 2**40)}] in the binary form.
BINARY = (
    b"\x80\x02]q\x00}q\x01(X\x05\x00\x00\x00splitq\x02X\x05\x00\x00\x00trainq\x03"
    b"X\x01\x00\x00\x00wq\x04(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88J\x90\xee\xfe\xff"
    b"\x8a\x06\x00\x00\x00\x00\x00\x01tq\x05ua."
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


def test_image_of_one_band_and_of_sixteen_bits(tmp_path: Path) -> None:
    write_raster(tmp_path / "grey.png", LEFT)
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.stack([LEFT] * 3, axis=-1))
    write_raster(tmp_path / "deep.tif", LEFT.astype(np.uint16))
    with pytest.raises(DataSetError, match="uint16 pixels"):
        read_image(tmp_path / "deep.tif")


def test_plain_data() -> None:
    assert read_plain_pickle(BINARY) == [
        {"split": "train", "w": (1, 2.5, None, True, -70000, 2**40)}
    ]
    references = read_plain_pickle(REFERENCES)
    assert references[1] == {
        "split": "test",
        "ann_id": 8,
        "file_name": "00002.png",
        "sentences": [{"sent": "the top"}],
    }


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"",
        b"(lp0\n",
        b"a.",
    ],
)
def test_code_and_damage_are_refused(content: bytes) -> None:
    with pytest.raises(PlainPickleError):
        read_plain_pickle(content)


def compress(lengths: list[int]) -> str:
    """Write run lengths as the annotation format does: differences in 6-bit characters."""
    text = ""
    for index, length in enumerate(lengths):
        value = length - (lengths[index - 2] if index > 2 else 0)
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr((bits | 0x20 if more else bits) + 48)
    return text


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=12))
def test_compressed_run_lengths(lengths: list[int]) -> None:
    total = sum(lengths)
    runs = decode_runs({"size": [1, total], "counts": compress(lengths)})
    assert np.array_equal(runs, decode_runs({"size": [1, total], "counts": lengths}))
    assert runs.sum() == sum(lengths[1::2])


def test_runs_go_down_the_columns() -> None:
    mask = decode_segmentation({"size": [2, 3], "counts": [1, 2, 3]}, 2, 3)
    assert mask.tolist() == [[0, 1, 0], [1, 0, 0]]
    with pytest.raises(ValueError, match="do not fill"):
        decode_runs({"size": [2, 3], "counts": [1, 2]})
