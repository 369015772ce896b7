"""Which words mean one thing, and which part of an answer is kept for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from geoseg_qgis.engine.methods.referring.unigeoseg.one_thing import keep_one, means_one_thing
from geoseg_qgis.engine.models.unigeoseg.checkpoint import Checkpoint
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from training.unigeoseg.scores import SceneReader


@pytest.mark.parametrize(
    "instruction",
    [
        "the largest building",
        "largest building",
        "Find the leftmost car",
        "the smallest bus",
        "the house closest to the lake",
        "the vehicle in the left half of the image",
        "the swimming pool at the top right of the image",
        "the building with a red roof",
        "the red car",
        "the T-shaped house",
        "this white boat",
        "the largest red thing",
        "the nearest house",
        "the closest car to the house",
        "the car parked on the road",
        "the largest farm, please",
        "the largest detached house",
        "the wooden house by the lake",
        "the red-roofed house",
        "the tennis court next to the road",
        "the largest swimming pool",
        "the roof of the largest house",
    ],
)
def test_words_that_mean_one_thing(instruction: str) -> None:
    assert means_one_thing(instruction)


@pytest.mark.parametrize(
    "instruction",
    [
        "",
        "the",
        "all buildings",
        "all red cars",
        "the two largest buildings",
        "the 2 largest buildings",
        "the largest buildings",
        "the three cars closest to the lake",
        "the buses in the left half of the image",
        "the buildings with a red roof",
        "every car on the road",
        "a red car",
        "red car",
        "the building",
        "the swimming pool",
        "the lake",
        "the road in the left half of the image",
        "the longest road",
        "the grass closest to the house",
        "the largest forest",
        "the cars parked along the road",
        "the buildings adjacent to the lake",
        "the houses left of the road",
        "the people swimming in the pool",
        "the red cars please",
        "the left building",
        "the largest",
        "the red",
        "the red car and the blue car",
        "the house or the garage with a red roof",
        "the red car, the blue car",
        "the red car plus the blue car",
        "the largest building; the largest lake",
        "the roof of the buildings in the north",
        "the couple of houses near the lake",
        "the largest running tracks",
        "the largest parked cars",
        "the closest detached houses",
        "the floodwater around the houses",
        "the smoke in the north",
        "the big farm in the north",
        "all buildings except the largest one",
        "all the largest building",
        "the roof of every house",
        "the row of trees along the road",
        "the white aircraft on the apron",
        "the farmland in the north",
        "northwest car",
        "guest house",
        "Which building is closest to the lake?",
        "the target at the point [0.1,0.2]",
    ],
)
def test_words_that_may_mean_several(instruction: str) -> None:
    assert not means_one_thing(instruction)


def test_questions_may_mean_several() -> None:
    assert means_one_thing("the largest building", "referring")
    assert not means_one_thing("the largest building", "reasoning")


def test_the_part_with_the_most_evidence_is_kept() -> None:
    small, large = np.zeros((2, 40, 60), bool)
    small[5:15, 5:15] = True
    large[5:35, 30:55] = True
    probability = np.where(small, 0.9, np.where(large, 0.55, 0.1)).astype(np.float32)
    probability[38, 2] = 0.999
    # Square root of the pixels times log odds: 10 * 2.2 against 27 * 0.2 and 1 * 6.9.
    assert _kept(probability, 0.5, left_out=2) == _places(small)
    probability[large] = 0.8
    assert _kept(probability, 0.5, left_out=2) == _places(large)
    # Beyond a threshold of 0.79 the large part has hardly any evidence left.
    assert _kept(probability, 0.79, left_out=2) == _places(small)


def _kept(probability: NDArray[np.float32], threshold: float, left_out: int) -> set[Any]:
    alone, count = keep_one(probability, threshold)
    assert count == left_out
    assert alone.dtype == np.float32
    return _places(alone > threshold)


def _places(mask: NDArray[np.bool_]) -> set[Any]:
    return set(zip(*np.nonzero(mask), strict=True))


def test_nothing_of_the_parts_left_out_stays_at_a_lower_threshold() -> None:
    rows, columns = np.mgrid[:30, :60]
    near = np.exp(-((rows - 15) ** 2 + (columns - 14) ** 2) / 60.0)
    far = 0.9 * np.exp(-((rows - 15) ** 2 + (columns - 46) ** 2) / 60.0)
    probability = (near + far).astype(np.float32)
    alone, _ = keep_one(probability, 0.5)
    assert not alone[:, 31:].any()
    assert np.array_equal(alone[:, :29], probability[:, :29])


def test_parts_that_touch_at_corners_are_one() -> None:
    probability = np.eye(12, dtype=np.float32)
    alone, count = keep_one(probability, 0.5)
    assert count == 0
    assert np.array_equal(alone, probability)


def test_one_part_or_none_stays_as_it_is() -> None:
    probability = np.full((8, 8), 0.3, np.float32)
    assert np.array_equal(keep_one(probability, 0.5)[0], probability)
    probability[2:5, 2:5] = 1.0
    alone, count = keep_one(probability, 0.5)
    assert (count, np.array_equal(alone, probability)) == (0, True)


def test_certain_pixels_do_not_win_by_certainty_alone() -> None:
    probability = np.zeros((8, 8), np.float32)
    probability[0, 0] = 1.0
    probability[4:, 4:] = 0.99
    alone, count = keep_one(probability, 0.0)
    assert count == 1
    assert (alone[4:, 4:] > 0).all()
    assert np.count_nonzero(alone) == 16


def test_scores_count_what_the_method_answers(
    tiny_model: UniGeoSeg, toy_tokenizer: ByteTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SceneReader(Checkpoint(tiny_model, toy_tokenizer))
    cells = tiny_model.config.vision.image_size // 4
    logits = torch.full((2, cells, cells), -5.0)
    logits[:, : cells // 4, : cells // 4] = 5.0
    logits[:, cells // 2 :, cells // 2 :] = 5.0
    monkeypatch.setattr(reader._reader, "answer", lambda *_: logits)
    image = np.zeros((64, 64, 3), np.uint8)
    words = ("the largest building", "the largest buildings")
    one, several = reader.answer(image, [(text, Task.REFERRING) for text in words])
    assert not one[:20, :20].any()
    assert one[40:, 40:].all()
    assert several[4, 4]
    assert np.array_equal(several[40:, 40:], one[40:, 40:])
