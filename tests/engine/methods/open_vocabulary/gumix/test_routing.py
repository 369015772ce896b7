"""Scale routing against recorded tensors, and its statistics over tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gumix_facts import read_case, read_facts
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geoseg_qgis.engine.methods.open_vocabulary.gumix.complexity import complexity_map
from geoseg_qgis.engine.methods.open_vocabulary.gumix.routing import (
    choose_scale,
    class_entropy,
    geometry_preference,
    normalise_range,
    route,
    routing_scores,
)
from geoseg_qgis.engine.methods.open_vocabulary.gumix.routing_accumulator import RoutingAccumulator
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear, resize_nearest
from tests.reference.gumix_paper import measure_statistics

PAPER = GumixSettings.paper()


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("name", "case"),
    [("routing", "a"), ("routing", "b"), ("routing", "noinst"), ("routing_ties", "const")],
)
def test_routing(name: str, case: str) -> None:
    """From the recorded entropies on, every step is exact.

    The last bits of exponential and logarithm differ between processors, and the small range of
    the entropy magnifies them.
    """
    facts = read_case(read_facts(name), case)
    regions = facts["instance_masks"]
    size = (int(regions.shape[0]), int(regions.shape[1]))
    complexity = complexity_map(regions[None], PAPER)[0]
    assert_close(complexity, facts["complexity"][0, 0])
    names = ("logits_scale_1_0_at_ori", "logits_scale_1_5_at_ori")
    logits = torch.cat([resize_bilinear(facts[key], size) for key in names])
    assert_close(class_entropy(logits, PAPER.entropy_epsilon), facts["entropy_raw"][0, :, 0])

    entropies = facts["entropy_raw"][0, :, 0]
    statistics = measure_statistics(complexity, entropies)
    epsilon = PAPER.normalisation_epsilon
    normalised = normalise_range(complexity, *statistics.complexity_range, epsilon)
    assert_close(normalised, facts["complexity_norm"][0, 0])
    assert float(normalised.median()) == pytest.approx(float(facts["kappa0"]), abs=1e-6)
    for entropy, span, expected in zip(
        entropies, statistics.entropy_ranges, facts["entropy_norm"][0, :, 0], strict=True
    ):
        assert_close(normalise_range(entropy, *span, epsilon), expected)
    assert list(geometry_preference(PAPER.scales)) == facts["geo_pref"].tolist()
    scores = routing_scores(complexity, entropies, statistics, PAPER)
    assert_close(scores, facts["score"][0, :, 0])
    assert torch.equal(choose_scale(scores), facts["chosen_scale"][0])

    measured = measure_statistics(complexity, class_entropy(logits, PAPER.entropy_epsilon))
    routing = route(logits, complexity, PAPER, measured)
    least_range = min(greatest - least for least, greatest in statistics.entropy_ranges)
    assert_close(routing.scores, facts["score"][0, :, 0], 1e-6 + 8e-7 / (least_range + epsilon))
    assert torch.equal(routing.choice, facts["chosen_scale"][0])
    if "fused_logits" in facts:
        assert_close(routing.logits, facts["fused_logits"][0])


def test_region_map_of_the_larger_scale() -> None:
    facts = read_case(read_facts("routing"), "b")
    assert torch.equal(resize_nearest(facts["instance_masks"], (67, 94)), facts["masks_scale_1_5"])


def test_half_precision_logits_are_measured_in_single() -> None:
    logits = read_case(read_facts("routing"), "a")["logits_scale_1_0_at_ori"].half()
    entropy = class_entropy(logits, 1e-6)
    assert entropy.dtype == torch.float32
    assert len(torch.unique(entropy)) > 1000


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40))
def test_accumulated_statistics(seed: int, height: int, width: int) -> None:
    generator = np.random.default_rng(seed)
    complexity = generator.choice([0, 0, *generator.random(5)], (height, width))
    complexity = complexity.astype(np.float32)
    entropies = generator.normal(1.9, 0.01, (2, height, width)).astype(np.float32)
    valid = generator.random((height, width)) < 0.7
    accumulator = RoutingAccumulator(2)
    middle = height // 2
    for rows in (slice(0, middle), slice(middle, height)):
        accumulator.update(complexity[rows], entropies[:, rows], valid[rows])
    direct = measure_statistics(
        torch.from_numpy(complexity), torch.from_numpy(entropies), torch.from_numpy(valid)
    )
    result = accumulator.result()
    assert result.complexity_range == direct.complexity_range
    assert result.entropy_ranges == direct.entropy_ranges
    assert 0 <= direct.complexity_median - result.complexity_median <= 1.01 / (1 << 20)


def test_accumulator_refuses_what_is_not_finite() -> None:
    accumulator = RoutingAccumulator(1)
    with pytest.raises(ValueError, match="not finite"):
        accumulator.update([[0.5]], [[[float("nan")]]])


def test_tiles_with_statistics_of_the_image_route_as_the_image() -> None:
    facts = read_case(read_facts("routing"), "a")
    logits = torch.cat([facts["logits_scale_1_0_at_ori"], facts["logits_scale_1_5_at_ori"]])
    complexity = resize_nearest(facts["complexity"][0, 0], (72, 88))
    statistics = measure_statistics(complexity, class_entropy(logits, PAPER.entropy_epsilon))
    whole = route(logits, complexity, PAPER, statistics)
    for columns in (slice(0, 30), slice(30, 88)):
        part = route(logits[..., columns], complexity[:, columns], PAPER, statistics)
        assert torch.equal(part.choice, whole.choice[:, columns])
    assert 0 < int(whole.choice.sum()) < whole.choice.numel()
