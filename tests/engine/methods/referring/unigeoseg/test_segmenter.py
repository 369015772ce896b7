"""Images and requests on arrays: geometry, wording, sharing, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from unigeoseg_facts import Golden, assert_near

from geoseg_qgis.engine.methods.referring.unigeoseg import Letterbox, Segmenter
from geoseg_qgis.engine.methods.referring.unigeoseg.letterbox import normalise
from geoseg_qgis.engine.methods.referring.unigeoseg.requests import (
    box_request,
    choose_task,
    instruction_request,
    points_request,
)
from geoseg_qgis.engine.models.unigeoseg.checkpoint import Checkpoint, save_checkpoint
from geoseg_qgis.engine.models.unigeoseg.coordinates import replace_points
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.sequence import split_dialogue
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, encode_template
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from geoseg_qgis.protocol.errors import ErrorCode, JobError


@pytest.fixture(scope="session")
def segmenter(tiny_model: UniGeoSeg, toy_tokenizer: ByteTokenizer) -> Segmenter:
    return Segmenter(Checkpoint(tiny_model, toy_tokenizer), batch_size=2)


@pytest.fixture(scope="session")
def wide_tile() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (60, 110, 3), dtype=np.uint8)


@pytest.mark.parametrize("case", ["a", "b", "d", "e"])
def test_letterbox_is_exact(golden: Golden, case: str) -> None:
    recorded = golden("preprocess")
    image = recorded[f"{case}.image_rgb_hwc_u8"].numpy()
    letterbox = Letterbox(image.shape[0], image.shape[1], 128)
    placed = letterbox.place_image(image).transpose(2, 0, 1)
    assert np.array_equal(placed, recorded[f"{case}.letterbox_chw_u8"].numpy())
    mask = letterbox.place_mask(recorded[f"{case}.mask_hw_u8"].numpy() // 255)
    assert np.array_equal(mask, recorded[f"{case}.mask_letterbox_1hw_u8"][0].numpy())


def test_normalisation_of_black_and_white() -> None:
    pixels = normalise(np.array([[[0, 0, 0], [255, 255, 255]]], dtype=np.uint8))
    assert pixels.shape == (1, 3, 1, 2)
    assert_near(
        pixels[0, :, 0],
        torch.tensor([[-2.117904, 2.2489083], [-2.0357144, 2.4285715], [-1.8044444, 2.64]]),
        1e-6,
    )


@given(st.integers(1, 300), st.integers(1, 300))
def test_letterbox_fills_one_side_and_centres_the_other(height: int, width: int) -> None:
    letterbox = Letterbox(height, width, 64)
    rows, columns = letterbox.fitted
    top, left = letterbox.offset
    assert max(rows, columns) == 64
    assert min(rows, columns) >= 1
    assert 0 <= 64 - rows - 2 * top <= 1
    assert 0 <= 64 - columns - 2 * left <= 1


@pytest.mark.parametrize(("height", "width"), [(40, 100), (100, 40), (77, 77), (300, 210)])
def test_mask_comes_back_where_it_was(height: int, width: int) -> None:
    """A rectangle painted on the tile, letterboxed and restored, keeps its pixels to about one."""
    mask = np.zeros((height, width), dtype=np.uint8)
    rows = slice(height // 4, height // 2)
    columns = slice(width // 3, 3 * width // 4)
    mask[rows, columns] = 1
    letterbox = Letterbox(height, width, 512)
    logits = torch.from_numpy(letterbox.place_mask(mask)).float() * 2.0 - 1.0
    restored = letterbox.restore(logits[None])[0]
    assert restored.shape == (height, width)
    found = (restored > 0).numpy()
    inner = np.zeros_like(found)
    inner[rows.start + 1 : rows.stop - 1, columns.start + 1 : columns.stop - 1] = True
    outer = np.zeros_like(found)
    outer[rows.start - 1 : rows.stop + 1, columns.start - 1 : columns.stop + 1] = True
    assert found[inner].all()
    assert not found[~outer].any()


def test_tile_of_the_networks_size_gives_the_recorded_mask(
    golden: Golden, segmenter: Segmenter
) -> None:
    recorded = golden("e2e_intera_points")
    image = recorded_image(recorded)
    points = [(0.49 * 128, 0.828 * 128), (0.1 * 128, 0.2 * 128), (0.75 * 128, 0.5 * 128)]
    result = segmenter.segment(image, points=points)
    logits = recorded["mask_upsampled"][0, 0]
    assert_near(torch.from_numpy(result.probability), logits.sigmoid(), 1e-3)
    certain = logits.abs() > 1e-3
    found = torch.from_numpy(result.mask())
    assert torch.equal(found[certain], recorded["final_mask"][0].bool()[certain])
    foreground = logits > 0
    assert result.score == pytest.approx(float(logits.sigmoid()[foreground].mean()), abs=1e-4)
    assert result.task is Task.INTERACTIVE


@pytest.mark.slow
def test_loading_a_folder(
    tmp_path: Path,
    tiny_model: UniGeoSeg,
    toy_tokenizer: ByteTokenizer,
    segmenter: Segmenter,
    wide_tile: np.ndarray,
) -> None:
    save_checkpoint(tiny_model, toy_tokenizer, tmp_path)
    loaded = Segmenter.load(tmp_path, torch.device("cpu"))
    again = loaded.segment(wide_tile, instruction="the white plane")
    expected = segmenter.segment(wide_tile, instruction="the white plane")
    assert_near(torch.from_numpy(again.probability), torch.from_numpy(expected.probability), 1e-5)
    assert again.score == pytest.approx(expected.score, abs=1e-5)


def recorded_image(recorded: dict[str, Tensor]) -> np.ndarray:
    """Undo the normalisation of a recorded square image."""
    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    deviation = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    pixels = recorded["images"][0] * deviation + mean
    return pixels.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


@pytest.mark.slow
def test_shared_encoding_equals_one_whole_pass(
    segmenter: Segmenter,
    tiny_model: UniGeoSeg,
    toy_tokenizer: ByteTokenizer,
    wide_tile: np.ndarray,
) -> None:
    """Three different requests in batches of two, against the full network on each alone."""
    height, width = wide_tile.shape[:2]
    requests = [
        segmenter.request(height, width, instruction="the white plane"),
        segmenter.request(height, width, instruction="where would a flood begin?"),
        segmenter.request(height, width, box=(10, 5, 60, 50)),
    ]
    tile = segmenter.embed(wide_tile)
    results = list(segmenter.predict(tile, requests))
    assert [result.task for result in results] == list(Task)
    pixels = normalise(tile.letterbox.place_image(wide_tile))
    pieces = split_dialogue(encode_template(UNIFIED, toy_tokenizer))
    for request, result in zip(requests, results, strict=True):
        whole = tiny_model(pixels, pieces, [request]).masks[-1]
        square = nn.functional.interpolate(whole, size=(128, 128), mode="bilinear")
        top, left = tile.letterbox.offset
        rows, columns = tile.letterbox.fitted
        inside = square[:, :, top : top + rows, left : left + columns]
        expected = nn.functional.interpolate(inside, size=(height, width), mode="bilinear")
        assert result.probability.shape == (height, width)
        assert_near(torch.from_numpy(result.probability), expected[0, 0].sigmoid(), 1e-3)


def test_points_are_written_as_fractions_of_the_tile(toy_tokenizer: ByteTokenizer) -> None:
    request = points_request([(49.0, 414.0)], 500, 100, toy_tokenizer)
    text = bytes(request.instruction_ids[:-1]).decode()
    assert text == " Please segment the target at the point [0.49,0.828]."
    assert request.coordinates is not None
    assert torch.equal(request.coordinates, torch.tensor([[0.49, 0.828]]))
    three = points_request([(1, 2), (3, 4), (0, 500)], 500, 100, toy_tokenizer)
    text = bytes(three.instruction_ids[:-1]).decode()
    assert text.endswith("at the points [0.01,0.004], [0.03,0.008] and [0,1].")


def test_networks_with_positions_read_fractions_of_their_square(
    toy_tokenizer: ByteTokenizer,
) -> None:
    wide = Letterbox(100, 400, 64)
    assert wide.fractions_of(0, 0) == (0.0, 0.375)
    assert wide.fractions_of(400, 100) == (1.0, 0.625)
    point = points_request([(200, 50)], 100, 400, toy_tokenizer, wide).coordinates
    box = box_request((100, 0, 300, 100), 100, 400, toy_tokenizer, wide).coordinates
    assert point is not None
    assert box is not None
    assert torch.equal(point, torch.tensor([[0.5, 0.5]]))
    assert torch.equal(box, torch.tensor([[0.25, 0.375, 0.75, 0.625]]))
    text = "cars at [0,0], [0.5,1] but not [a,b]"
    moved = replace_points(text, lambda x, y: wide.fractions_of(400 * x, 100 * y))
    assert moved == "cars at [0,0.375], [0.5,0.625] but not [a,b]"
    assert replace_points("the lake", lambda x, y: (y, x)) == "the lake"
    # What lies in the middle of the image lies there in the mask as well.
    mask = torch.zeros(1, 16, 16)
    mask[:, 6:10, 4:12] = 1.0
    restored = wide.restore(mask)[0]
    assert float(restored[50, 200]) == 1.0
    assert float(restored[:, :80].max()) == 0.0


def test_box_is_clipped_to_the_tile(toy_tokenizer: ByteTokenizer) -> None:
    request = box_request((-20.0, 50.0, 50.0, 125.0), 200, 100, toy_tokenizer)
    assert request.coordinates is not None
    assert torch.equal(request.coordinates, torch.tensor([[0.0, 0.25, 0.5, 0.625]]))
    text = bytes(request.instruction_ids[:-1]).decode()
    assert text.endswith("inside the box x0,y0=[0,0.25], x1,y1=[0.5,0.625].")


@given(st.lists(st.tuples(st.floats(0.0, 640.0), st.floats(0.0, 480.0)), min_size=1, max_size=3))
def test_written_points_are_read_back(points: list[tuple[float, float]]) -> None:
    tokenizer = ByteTokenizer({"<|endoftext|>": 256, "[SEG]": 257})
    request = points_request(points, 480, 640, tokenizer)
    assert request.coordinates is not None
    expected = torch.tensor([[x / 640, y / 480] for x, y in points])
    assert_near(request.coordinates, expected, 5.1e-4)


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("the white plane next to the long runway", Task.REFERRING),
        ("Which area would be flooded first when the river rises? ", Task.REASONING),
        ("which area is flooded", Task.REFERRING),
        ("the building at [0.5,0.25]", Task.INTERACTIVE),
        ("Which building is at [0.5,0.25]?", Task.INTERACTIVE),
    ],
)
def test_automatic_task(text: str, task: Task) -> None:
    assert choose_task(text) is task
    assert choose_task(text, "referring") is Task.REFERRING
    assert choose_task(text, "reasoning") is Task.REASONING


def test_special_words_are_removed_from_instructions(toy_tokenizer: ByteTokenizer) -> None:
    request = instruction_request("the [SEG] red <image> roof<|endoftext|>", toy_tokenizer)
    assert bytes(request.instruction_ids[:-1]).decode() == " the red roof"
    assert request.instruction_ids[-1] == 300


@pytest.mark.slow
def test_refused_requests(segmenter: Segmenter, wide_tile: np.ndarray) -> None:
    refusals: list[tuple[dict[str, object], ErrorCode, str]] = [
        ({}, ErrorCode.INVALID_JOB, "either words, or points, or a box"),
        ({"instruction": " [SEG] "}, ErrorCode.INVALID_JOB, "empty"),
        ({"instruction": "a", "task": "guess"}, ErrorCode.INVALID_JOB, "'guess'"),
        ({"instruction": "a", "points": [(1, 1)]}, ErrorCode.INVALID_JOB, "either"),
        ({"instruction": "tree " * 600}, ErrorCode.INVALID_JOB, "word pieces"),
        ({"points": []}, ErrorCode.INVALID_JOB, "not 0"),
        ({"points": [(1, 1)] * 4}, ErrorCode.INVALID_JOB, "not 4"),
        ({"points": [(111, 1)]}, ErrorCode.EXTENT_OUTSIDE, "110 x 60"),
        ({"points": [(float("nan"), 1)]}, ErrorCode.EXTENT_OUTSIDE, "outside"),
        ({"box": (5, 5, 5, 20)}, ErrorCode.EXTENT_OUTSIDE, "no area"),
        ({"box": (200, 5, 300, 20)}, ErrorCode.EXTENT_OUTSIDE, "no area"),
        ({"box": (0, 0, float("inf"), 20)}, ErrorCode.EXTENT_OUTSIDE, "no area"),
    ]
    for arguments, code, words in refusals:
        with pytest.raises(JobError, match=words) as caught:
            segmenter.segment(wide_tile, **arguments)  # type: ignore[arg-type]
        assert caught.value.code is code
        assert caught.value.hint


def test_tile_must_be_an_rgb_image_of_bytes(segmenter: Segmenter) -> None:
    for shape, dtype in (((8, 8, 4), "uint8"), ((8, 8, 3), "float64"), ((0, 8, 3), "uint8")):
        with pytest.raises(JobError, match="not an RGB image"):
            segmenter.embed(np.zeros(shape, dtype))
