"""Whole network against recorded runs: images and instructions in, masks out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from unigeoseg_facts import Golden, assert_near

from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.sequence import (
    Piece,
    Request,
    split_dialogue,
    until_instruction,
)
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import (
    REFSEGRS,
    RRSISD,
    UNIFIED,
    encode_answer,
    encode_instruction,
    encode_template,
)
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer

CASES = [
    "e2e_ref",
    "e2e_reason",
    "e2e_intera_points",
    "e2e_intera_box",
    "e2e_batch_intera_first",
    "e2e_batch_reason_first",
]
TASKS = [Task.REFERRING, Task.REASONING, Task.INTERACTIVE]


def recorded_requests(recorded: dict[str, Tensor]) -> list[Request]:
    """Requests of a recorded batch, coordinates parsed from the instruction's own text."""
    requests = []
    for index, task in enumerate(recorded["prompt_task"].tolist()):
        ids = recorded[f"refer_ids.{index}"].tolist()
        coordinates = parse_coordinates(bytes(i for i in ids if i < 256).decode())
        if f"coords.{index}" in recorded:
            assert coordinates is not None
            assert torch.equal(coordinates, recorded[f"coords.{index}"])
        answer = recorded[f"answer_ids.{index}"].tolist()
        requests.append(Request(ids, TASKS[task], coordinates, answer))
    return requests


@pytest.fixture(scope="session")
def pieces(toy_tokenizer: ByteTokenizer) -> list[Piece]:
    return split_dialogue(encode_template(UNIFIED, toy_tokenizer))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_recorded_run(
    golden: Golden, tiny_model: UniGeoSeg, pieces: list[Piece], case: str
) -> None:
    recorded = golden(case)
    requests = recorded_requests(recorded)
    strengths = [requests[0].task.memory_strength] * len(requests)
    found = tiny_model(recorded["images"], pieces, requests, strengths)
    batch = found.sequences
    assert torch.equal(batch.mask, recorded["attention_mask"].bool())
    assert torch.equal(batch.instruction.long(), recorded["refer_indices"])
    assert torch.equal(batch.labels, recorded["labels_expanded"])
    assert_near(batch.embeddings, recorded["inputs_embeds"], 1e-5)
    mask = batch.mask
    assert_near(found.states[mask], recorded["last_hidden_state"][mask], 1e-4)
    assert_near(found.query, recorded["cond"], 1e-4)
    for index, prediction in enumerate(found.masks[:-1]):
        assert_near(prediction, recorded[f"aux_masks.{index}"], 1e-3)
    assert_near(found.masks[-1], recorded["pred_masks_lowres"], 1e-3)
    logits = nn.functional.interpolate(
        found.masks[-1], size=(128, 128), mode="bilinear", align_corners=False
    )
    certain = recorded["mask_upsampled"].abs() > 1e-3
    mask = (logits > 0) == recorded["final_mask"][:, None].bool()
    assert certain.float().mean() > 0.99
    assert bool(mask[certain].all())


def test_what_follows_the_instruction_does_not_matter(
    golden: Golden, tiny_model: UniGeoSeg, pieces: list[Piece]
) -> None:
    recorded = golden("e2e_ref")
    found = tiny_model(recorded["images"], until_instruction(pieces), recorded_requests(recorded))
    assert found.states.shape[1] == int(recorded["refer_indices"].nonzero()[-1, 1]) + 1
    assert_near(found.masks[-1], recorded["pred_masks_lowres"], 1e-3)


@pytest.mark.slow
def test_each_request_of_a_mixed_batch_has_its_own_memory_share(
    golden: Golden, tiny_model: UniGeoSeg, pieces: list[Piece]
) -> None:
    recorded = golden("e2e_batch_reason_first")
    requests = recorded_requests(recorded)
    together = tiny_model(recorded["images"], pieces, requests).masks[-1]
    for index, request in enumerate(requests):
        alone = tiny_model(recorded["images"][index : index + 1], pieces, [request]).masks[-1]
        assert_near(together[index : index + 1], alone, 1e-3)
    assert_near(together[:1], recorded["pred_masks_lowres"][:1], 1e-3)


@pytest.mark.parametrize(
    ("template", "name"),
    [(UNIFIED, "unified_all_tasks"), (REFSEGRS, "refsegrs"), (RRSISD, "rrsisd")],
)
def test_template_wording(text_cases: dict[str, Any], template: Any, name: str) -> None:
    assert template.text == text_cases["prompts"][name]["full_prompt"]


@pytest.mark.parametrize(("template", "name"), [(UNIFIED, "unified_all_tasks"), (RRSISD, "rrsisd")])
def test_template_words_and_labels(
    text_cases: dict[str, Any], toy_tokenizer: ByteTokenizer, template: Any, name: str
) -> None:
    dialogue = encode_template(template, toy_tokenizer)
    assert dialogue.ids == text_cases["toy_tokenised"][name]["input_ids"]
    assert dialogue.labels == text_cases["toy_tokenised"][name]["labels"]


def test_instruction_and_answer_words(
    text_cases: dict[str, Any], toy_tokenizer: ByteTokenizer
) -> None:
    example = text_cases["refer_ids_example"]
    assert encode_instruction(example["question"], toy_tokenizer) == example["ids"]
    assert encode_answer("", toy_tokenizer) == text_cases["answer_empty_ids"]


def test_coordinates_in_text(text_cases: dict[str, Any]) -> None:
    for case in text_cases["coordinates"]:
        parsed = parse_coordinates(case["text"])
        if case["coords"] is None:
            assert parsed is None, case["text"]
        else:
            assert parsed is not None, case["text"]
            assert torch.equal(parsed, torch.tensor(case["coords"])), case["text"]
