"""Regions, clusters and complexity against recorded tensors and direct computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gumix_facts import read_case, read_facts
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN
from torch.nn import functional

from geoseg_qgis.engine.inference.proposals import paint_masks
from geoseg_qgis.engine.methods.open_vocabulary.gumix.clusters import (
    merge_regions,
    number_components,
    region_features,
)
from geoseg_qgis.engine.methods.open_vocabulary.gumix.complexity import complexity_map
from geoseg_qgis.engine.methods.open_vocabulary.gumix.regions import dense_codes
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.models.automatic_masks import AutomaticMasks
from geoseg_qgis.engine.raster.resampling.tensors import resize_nearest

PAPER = GumixSettings.paper()
GEO = GumixSettings.geo()


def test_partition() -> None:
    facts = read_facts("partition")
    masks = facts["masks"].bool()
    assert masks.flatten(1).sum(dim=1).tolist() == facts["areas"].tolist()
    count, *size = masks.shape
    logits = torch.where(masks, 1.0, -1.0)
    scores, boxes, points = torch.ones(count), torch.zeros(count, 4), torch.zeros(count, 2)
    given = AutomaticMasks(logits, scores, scores, boxes, facts["areas"], points, (60, 80))
    ids = np.zeros(size, dtype=np.int32)
    paint_masks(given, ids)
    np.testing.assert_array_equal(ids, facts["instance_map"].numpy())


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_complexity(case: str) -> None:
    facts = read_facts("complexity")
    values = complexity_map(facts[f"masks_{case}"][None], PAPER)[0]
    torch.testing.assert_close(values, facts[f"complexity_{case}"], atol=0, rtol=0)


def test_complexity_of_a_batch_is_that_of_each() -> None:
    facts = read_facts("complexity")
    maps = torch.stack([facts["masks_a"], facts["masks_c"]])
    together = complexity_map(maps, PAPER)
    for index in range(2):
        assert torch.equal(together[index], complexity_map(maps[index : index + 1], PAPER)[0])


def test_ids_above_the_padding_id_are_regions_in_the_raster_variant() -> None:
    regions = read_facts("complexity")["masks_c"][None]
    raised = torch.where(regions > 0, regions * 10_000_000_000, 0)
    assert torch.equal(complexity_map(raised, GEO), complexity_map(regions, GEO))
    assert complexity_map(raised, PAPER).sum() == 0


@pytest.mark.parametrize("case", ["square_multi", "nonsquare_padded", "dbscan_chain"])
def test_region_features_and_clusters(case: str) -> None:
    facts = read_case(read_facts("visual_tower"), case)
    grid = (int(facts["feat_shape"][0]), int(facts["feat_shape"][1]))
    codes = dense_codes(resize_nearest(facts["instance_masks"][None], grid), True).flatten(1)
    means, present = region_features(facts["dino_feats"], codes)
    assert present.all()
    torch.testing.assert_close(means[0, 1:], facts["instance_feats"], atol=1e-6, rtol=0)
    merged = merge_regions(facts["dino_feats"], codes, PAPER.cluster_epsilon)
    clusters = [int(merged[0][codes[0] == code][0]) - 1 for code in range(1, means.shape[1])]
    assert clusters == facts["cluster"].tolist()


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.integers(1, 14), st.integers(0, 10_000), st.floats(0.05, 0.6))
def test_components_equal_density_clusters(count: int, seed: int, epsilon: float) -> None:
    points = np.random.default_rng(seed).normal(size=(count, 4))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    cosine = points @ points.T
    distance = np.maximum(cosine.max() - cosine, 0)
    expected = DBSCAN(eps=epsilon, min_samples=1, metric="precomputed").fit_predict(distance)
    np.testing.assert_array_equal(number_components(distance <= epsilon), expected)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 3), st.booleans())
def test_merging_a_batch_equals_density_clustering(seed: int, batch: int, zero: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0 if zero else 1, 9, (batch, 6, 7), generator=generator)
    features = functional.normalize(torch.randn(batch, 42, 5, generator=generator), dim=-1)
    codes = dense_codes(ids, first_id_is_unsegmented=True).flatten(1)
    merged = merge_regions(features, codes, 0.2)
    for window in range(batch):
        means, present = region_features(features[window : window + 1], codes[window][None])
        kept = means[0, 1:].numpy()
        assert present.all()
        if len(kept) == 0:
            continue
        cosine = kept @ kept.T
        labels = DBSCAN(eps=0.2, min_samples=1, metric="precomputed").fit_predict(
            np.maximum(cosine.max() - cosine, 0)
        )
        lookup = torch.from_numpy(np.r_[0, labels + 1])
        assert torch.equal(merged[window], lookup[codes[window]])


def test_dense_codes() -> None:
    regions = torch.tensor([[[7, 7], [10_000, 30_000_000_000]], [[0, 5], [5, 9]]])
    assert dense_codes(regions, True).tolist() == [[[0, 0], [1, 2]], [[0, 1], [1, 2]]]
    assert dense_codes(regions, False).tolist() == [[[1, 1], [2, 3]], [[0, 1], [1, 2]]]


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 700), st.integers(1, 700))
def test_nearest_is_that_of_interpolate(source: int, target: int) -> None:
    values = torch.arange(source, dtype=torch.float32)[None, None, None]
    expected = functional.interpolate(values, size=(1, target), mode="nearest")[0, 0]
    assert torch.equal(resize_nearest(values[0, 0], (1, target)), expected)
