"""Labels from scores against recorded tensors, and votes over tiles."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from gumix_facts import read_case, read_facts
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.methods.open_vocabulary.labelling import RegionTally
from geoseg_qgis.engine.methods.open_vocabulary.probabilities import class_probabilities
from tests.reference.gumix_postprocess import label_image, resize_labelling, vote_in_regions

CASES = ("plain", "bg5", "bg_synonyms", "no_zero_id", "binary_thd08")


def configured(parameters: list[float]) -> GumixSettings:
    """Settings of a recorded case."""
    return dataclasses.replace(
        GumixSettings.paper(),
        logit_scale=parameters[0],
        probability_threshold=parameters[1],
        background_index=int(parameters[2]),
    )


@pytest.mark.parametrize("case", CASES)
def test_labels(case: str) -> None:
    facts = read_case(read_facts("postprocess"), case)
    parameters = facts["params"].tolist()
    labelling = label_image(
        facts["logits"][0],
        facts["instance_masks"],
        facts["query_idx"].tolist(),
        configured(parameters),
    )
    assert torch.equal(labelling.pixel_labels, facts["pred_without_map_correction"][0])
    assert torch.equal(labelling.labels, facts["pred_no_gt"][0])
    resized = resize_labelling(labelling, (int(parameters[3]), int(parameters[4])))
    assert torch.equal(resized.labels, facts["pred_at_gt"][0])
    if "prob_at_gt" in facts:
        torch.testing.assert_close(resized.probabilities, facts["prob_at_gt"], atol=1e-5, rtol=0)


def test_synonyms_of_a_later_class_belong_to_that_class() -> None:
    """Recorded labels stem from a merge that shifts classes when class 0 has no synonyms."""
    facts = read_case(read_facts("postprocess"), "nonbg_synonyms_wrong")
    class_index = facts["query_idx"].tolist()
    assert class_index.count(0) == 1
    parameters = facts["params"].tolist()
    labelling = label_image(
        facts["logits"][0], facts["instance_masks"], class_index, configured(parameters)
    )
    softmax = torch.softmax(facts["logits"][0] * parameters[0], dim=0)
    expected = torch.stack(
        [
            softmax[[query for query, index in enumerate(class_index) if index == number]].amax(0)
            for number in range(max(class_index) + 1)
        ]
    )
    torch.testing.assert_close(labelling.probabilities, expected, atol=1e-7, rtol=0)
    greatest, labels = expected.max(dim=0)
    labels[greatest < parameters[1]] = int(parameters[2])
    assert torch.equal(labelling.pixel_labels, labels)

    recorded = facts["pred_without_map_correction"][0]
    extra = len(softmax) - len(expected) + 1
    shifted = torch.cat([softmax[:extra].amax(0, keepdim=True), softmax[extra:]])
    greatest, wrong = shifted.max(dim=0)
    wrong[greatest < parameters[1]] = int(parameters[2])
    assert torch.equal(wrong, recorded)
    assert not torch.equal(labelling.pixel_labels, recorded)


def test_probabilities_in_half_precision_are_single() -> None:
    probabilities = class_probabilities(torch.rand(3, 4, 5).half() * 0.3, [0, 1, 1], 40.0)
    assert probabilities.dtype == torch.float32
    assert probabilities.shape == (2, 4, 5)


def test_id_zero_alone_is_unsegmented_in_the_raster_variant() -> None:
    labels = torch.tensor([[0, 1, 1, 2], [2, 2, 0, 0]])
    regions = torch.tensor([[5, 5, 5, 5], [70_000, 70_000, 70_000, 70_000]])
    paper = vote_in_regions(labels, regions, 3, first_id_is_unsegmented=True)
    assert paper.tolist() == [[0, 1, 1, 2], [0, 0, 0, 0]]
    geo = vote_in_regions(labels, regions, 3, first_id_is_unsegmented=False)
    assert geo.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 12))
def test_votes_over_tiles_equal_the_direct_mode(seed: int, classes: int, regions: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, (17, 23)).astype(np.uint8)
    ids = generator.integers(0, regions + 1, (17, 23)).astype(np.int32)
    valid = generator.random((17, 23)) < 0.8
    probabilities = generator.random((classes - 1, 17, 23)).astype(np.float32)
    tally = RegionTally(regions, classes - 1)
    for rows in (slice(0, 5), slice(5, 11), slice(11, 17)):
        voting = valid[rows] & (ids[rows] > 0)
        tally.update(ids[rows][voting], labels[rows][voting], probabilities[:, rows][:, voting])
    winners, means = tally.winners(), tally.means()

    for region in np.unique(ids[valid & (ids > 0)]):
        inside = (ids == region) & valid
        assert winners[region] == np.bincount(labels[inside]).argmax()
        expected = probabilities[:, inside].mean(axis=1)
        np.testing.assert_allclose(means[:, region], expected, rtol=1e-5)
    direct = vote_in_regions(
        torch.from_numpy(labels.astype(np.int64)),
        torch.from_numpy(ids),
        classes,
        first_id_is_unsegmented=False,
        valid=torch.from_numpy(valid),
    )
    voted = valid & (ids > 0)
    np.testing.assert_array_equal(direct.numpy()[voted], winners[ids[voted]])
    np.testing.assert_array_equal(direct.numpy()[~voted], labels[~voted])
