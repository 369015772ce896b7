"""Quality of objects and of whole masks, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from geoseg_qgis.engine.methods.assessment.object_pixels import ObjectOptions
from geoseg_qgis.engine.methods.assessment.object_quality import (
    ObjectAccumulator,
    ObjectQuality,
    ObjectStatus,
)
from geoseg_qgis.engine.methods.assessment.quality_classes import constrain
from geoseg_qgis.engine.methods.assessment.summary import MaskAccumulator
from geoseg_qgis.engine.methods.assessment.view_sums import TileViewSums, ViewSums

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


def squares(size: int, step: int, side: int) -> NDArray[np.int32]:
    """Square objects on a regular grid, numbered row by row."""
    ids = np.zeros((size, size), dtype=np.int32)
    number = 0
    for row in range(4, size - side, step):
        for column in range(4, size - side, step):
            number += 1
            ids[row : row + side, column : column + side] = number
    return ids


def certain(truth: Bools, mask: Bools) -> Floats:
    """Probabilities of a network that is always right."""
    codes = np.where(mask, np.where(truth, 0, 1), np.where(truth, 3, 2))
    return np.asarray(np.moveaxis(np.eye(4)[codes], -1, 0))


def assess(probabilities: Floats, ids: NDArray[np.int32], **options: float) -> ObjectQuality:
    accumulator = ObjectAccumulator(int(ids.max()), options=ObjectOptions(**options))  # type: ignore[arg-type]
    accumulator.update(probabilities, ids)
    return accumulator.result()


def test_only_corrupted_objects_lose_quality() -> None:
    truth_ids = squares(200, 48, 24)
    truth = truth_ids > 0
    assert truth_ids.max() == 16
    ids = truth_ids.copy()
    shifted, eroded, dropped = 6, 11, 3
    ids[truth_ids == shifted] = 0
    ids[np.roll(truth_ids == shifted, 6, axis=1)] = shifted
    ids[(truth_ids == eroded) & ~ndimage.binary_erosion(truth_ids == eroded, iterations=4)] = 0
    ids[truth_ids == dropped] = 0
    ids[184:196, 184:196] = added = 17
    quality = assess(certain(truth, ids > 0), ids)
    whole = np.delete(np.arange(17), [shifted - 1, eroded - 1, dropped - 1, added - 1])
    assert np.all(quality.soft.iou[whole] == 1)
    assert quality.soft.iou[shifted - 1] == pytest.approx(18 / 30)
    assert quality.soft.precision[shifted - 1] == pytest.approx(18 / 24)
    assert quality.soft.recall[shifted - 1] == pytest.approx(18 / 24)
    assert quality.soft.iou[eroded - 1] == pytest.approx(256 / 576)
    assert quality.soft.precision[eroded - 1] == 1
    assert quality.soft.f1[eroded - 1] == pytest.approx(2 * 256 / (2 * 256 + 320))
    assert quality.soft.precision[added - 1] == 0
    assert np.flatnonzero(quality.likely_false).tolist() == [added - 1]
    assert quality.status[dropped - 1] == ObjectStatus.OUTSIDE
    assert np.isnan(quality.soft.iou[dropped - 1])
    assert np.argsort(quality.rank)[:3].tolist() == [added - 1, eroded - 1, shifted - 1]
    assert quality.rank[dropped - 1] == 17
    np.testing.assert_array_equal(quality.soft.iou, quality.hard.iou)


def test_boundary_and_object_errors() -> None:
    truth_ids = squares(120, 60, 40)
    ids = ndimage.grey_erosion(truth_ids, footprint=np.ones((5, 5)))
    quality = assess(certain(truth_ids > 0, ids > 0), ids)
    assert np.all(quality.boundary_share == 1)
    assert np.all(quality.boundary_error == 40**2 - 36**2)
    half = truth_ids.copy()
    half[:, 4:24][truth_ids[:, 4:24] == 1] = 0
    quality = assess(certain(truth_ids > 0, half > 0), half)
    assert quality.boundary_error[0] == 4 * 40
    assert quality.object_error[0] == 12 * 40
    assert quality.soft.recall[0] == pytest.approx(20 / 36)


def test_soft_scores_equal_weighted_sums() -> None:
    ids = squares(64, 30, 16)
    generator = np.random.default_rng(3)
    raw = generator.dirichlet(np.ones(4), ids.shape).transpose(2, 0, 1)
    probabilities = constrain(raw, ids > 0)
    quality = assess(probabilities, ids, buffer=5, missed_area=10**6)
    for number in range(1, ids.max() + 1):
        inside = ids == number
        near = ndimage.distance_transform_edt(~inside) <= 5
        tp, fp = probabilities[0][inside].sum(), probabilities[1][inside].sum()
        fn = probabilities[3][near & (ids == 0)].sum()
        assert quality.soft.iou[number - 1] == pytest.approx(tp / (tp + fp + fn))
        expected = probabilities.max(0)[inside].mean()
        assert quality.confidence[number - 1] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_tiles_with_margin_equal_the_whole(seed: int) -> None:
    generator = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(generator.normal(size=(150, 170)), 4) > 0.03
    ids = ndimage.label(blobs)[0].astype(np.int32)
    raw = generator.dirichlet(np.ones(4), ids.shape).transpose(2, 0, 1)
    probabilities = constrain(raw, ids > 0)
    valid = generator.random(ids.shape) < 0.9
    count = int(ids.max())
    whole, tiled = ObjectAccumulator(count), ObjectAccumulator(count)
    whole.update(probabilities, ids, valid=valid)
    layer, layer_tiled = MaskAccumulator(), MaskAccumulator()
    layer.update(probabilities, valid=valid)
    step, margin = 50, 24
    for row in range(0, 150, step):
        for column in range(0, 170, step):
            top, left = max(row - margin, 0), max(column - margin, 0)
            rows = slice(top, row + step + margin)
            columns = slice(left, column + step + margin)
            core = (slice(row - top, row - top + step), slice(column - left, column - left + step))
            part = (rows, columns)
            tile = probabilities[(slice(None), *part)]
            tiled.update(tile, ids[part], core, valid[part])
            layer_tiled.update(tile, core, valid[part])
    expected, actual = whole.result(), tiled.result()
    for name in ("pixels", "valid_pixels", "confidence", "boundary_error", "status"):
        np.testing.assert_allclose(getattr(actual, name), getattr(expected, name), rtol=1e-9)
    for name in ("precision", "recall", "iou", "f1"):
        for kind in ("soft", "hard"):
            one, other = getattr(actual, kind), getattr(expected, kind)
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9)
    assert layer_tiled.result().soft_pixels == pytest.approx(layer.result().soft_pixels)
    assert layer_tiled.result().hard_pixels == layer.result().hard_pixels
    assert sum(layer.result().hard_pixels) == valid.sum()


def test_missed_object_is_not_blamed_on_its_neighbour() -> None:
    ids = np.zeros((64, 64), dtype=np.int32)
    ids[10:30, 10:30] = 1
    truth = ids > 0
    truth[10:30, 36:56] = True
    probabilities = certain(truth, ids > 0)
    assert assess(probabilities, ids).soft.recall[0] == 1
    blamed = assess(probabilities, ids, missed_area=10**6)
    assert blamed.soft.recall[0] < 0.75


def test_objects_that_cannot_be_assessed() -> None:
    ids = np.zeros((40, 60), dtype=np.int32)
    ids[5:25, 5:25] = 1
    ids[5:25, 30:36] = 2
    ids[5:25, 40:60] = 3
    valid = np.ones(ids.shape, dtype=bool)
    valid[:, 48:] = False
    accumulator = ObjectAccumulator(4)
    accumulator.update(certain(ids > 0, ids > 0), ids, valid=valid)
    quality = accumulator.result()
    assert quality.status.tolist() == [0, 3, 2, 1]
    assert quality.valid_pixels.tolist() == [400, 120, 160, 0]
    assert quality.soft.iou[:3].tolist() == [1, 1, 1]
    assert quality.width[1] < 8 < quality.width[0]
    assert quality.rank[0] == 1
    assert np.isnan(quality.priority[1:]).all()


def spread(views: Floats, ids: NDArray[np.int32], covered: Bools) -> Floats:
    """Return the spread of the IoU of two objects over views, (V, 4, H, W) and (V, H, W)."""
    sums = ViewSums(len(views), 2, ObjectOptions())
    valid = np.ones(ids.shape, dtype=bool)
    tile = TileViewSums(len(views), ids[None], valid, np.ones(ids.shape), sums.options)
    for number, (probabilities, seen) in enumerate(zip(views, covered, strict=True)):
        tile.add(number, probabilities, seen, "raw")
    sums.add(tile)
    np.testing.assert_allclose(sums.totals.sum(1), covered.sum((1, 2)))
    return sums.spread()


def test_spread_over_views() -> None:
    ids = np.ones((20, 20), dtype=np.int32)
    ids[:, 10:] = 2
    half = np.zeros(ids.shape, dtype=bool)
    half[:, 10:] = half[:10] = True
    views = np.stack([certain(ids > 0, ids > 0), certain(half, ids > 0)])
    covered = np.ones((2, 20, 20), dtype=bool)
    assert spread(views, ids, covered).tolist() == [0.25, 0]
    covered[1, :, :10] = False
    unknown, steady = spread(views, ids, covered)
    assert np.isnan(unknown)
    assert steady == 0


@pytest.mark.parametrize("seed", range(3))
def test_view_sums_of_tiles_equal_the_whole(seed: int) -> None:
    generator = np.random.default_rng(seed)
    ids = squares(96, 30, 16)
    raw = generator.dirichlet(np.ones(4), (2, *ids.shape)).transpose(0, 3, 1, 2)
    valid = generator.random(ids.shape) < 0.9
    options = ObjectOptions(buffer=0, missed_area=10**6)
    whole, tiled = (ViewSums(2, int(ids.max()), options) for _ in range(2))
    ramp = np.tile(np.linspace(1, 0, 96), (96, 1))
    for sums, weights in ((whole, [np.ones(ids.shape)]), (tiled, [ramp, 1 - ramp])):
        for weight in weights:
            tile = TileViewSums(2, ids[None], valid, weight, options)
            for number, probabilities in enumerate(raw):
                tile.add(number, probabilities, np.ones_like(valid), "constrained")
            sums.add(tile)
    np.testing.assert_allclose(tiled.totals, whole.totals)
    np.testing.assert_allclose(tiled.spread(), whole.spread())
    assert (whole.spread() > 0).all()


def test_wrong_tiles_are_refused() -> None:
    accumulator = ObjectAccumulator(2)
    probabilities = np.full((4, 8, 8), 0.25)
    ids = np.zeros((8, 8), dtype=np.int32)
    with pytest.raises(ValueError, match="object ids"):
        accumulator.update(probabilities, ids[:4])
    with pytest.raises(ValueError, match="between 0 and 2"):
        accumulator.update(probabilities, ids + 3)


@pytest.mark.slow
def test_a_hundred_thousand_objects() -> None:
    ids = np.arange(320 * 320, dtype=np.int32).reshape(320, 320) + 1
    ids = ids.repeat(3, 0).repeat(3, 1)
    probabilities = np.full((4, 960, 960), 0.25, dtype=np.float32)
    accumulator = ObjectAccumulator(320 * 320)
    accumulator.update(probabilities, ids)
    quality = accumulator.result()
    assert np.all(quality.pixels == 9)
    np.testing.assert_allclose(quality.soft.precision, 0.5)
    assert np.unique(quality.rank).size == 320 * 320


def test_mask_summary() -> None:
    generator = np.random.default_rng(7)
    layer = MaskAccumulator()
    tp = fp = fn = 0
    for _ in range(12):
        truth = generator.random((32, 32)) < 0.5
        mask = truth ^ (generator.random((32, 32)) < generator.uniform(0, 0.3))
        layer.update(certain(truth, mask))
        tp += int((truth & mask).sum())
        fp += int((~truth & mask).sum())
        fn += int((truth & ~mask).sum())
    summary = layer.result()
    assert summary.iou.value == pytest.approx(tp / (tp + fp + fn))
    assert summary.precision.value == pytest.approx(tp / (tp + fp))
    assert summary.recall.value == pytest.approx(tp / (tp + fn))
    assert summary.f1.value == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert summary.soft_pixels == pytest.approx(summary.hard_pixels)
    for name in ("precision", "recall", "iou", "f1"):
        estimate = getattr(summary, name)
        assert 0 < estimate.low < estimate.value < estimate.high < 1
    narrow = layer.result(level=0.5)
    assert narrow.iou.high - narrow.iou.low < summary.iou.high - summary.iou.low
    assert layer.result() == summary


def test_interval_needs_tiles_or_views() -> None:
    truth = np.zeros((16, 16), dtype=bool)
    truth[:8] = True
    one = MaskAccumulator()
    one.update(certain(truth, truth))
    assert one.result().iou.value == 1
    assert np.isnan(one.result().iou.low)
    views = np.array([[128.0, 0.0, 128.0, 0.0], [0.0, 128.0, 0.0, 128.0]])
    several = MaskAccumulator()
    several.update(np.stack([certain(truth, truth), certain(~truth, truth)]).mean(0))
    estimate = several.result(view_totals=views).iou
    assert (estimate.low, estimate.value, estimate.high) == (0, pytest.approx(1 / 3), 1)
    assert np.isnan(several.result(view_totals=views[:1]).iou.low)
    assert np.isnan(MaskAccumulator().result().iou.value)


def test_a_mask_without_objects() -> None:
    truth = np.zeros((32, 32), dtype=bool)
    truth[4:20, 4:20] = True
    probabilities = certain(truth, np.zeros_like(truth))
    accumulator = ObjectAccumulator(0)
    accumulator.update(probabilities, np.zeros((32, 32), dtype=np.uint32))
    quality = accumulator.result()
    assert quality.pixels.size == quality.rank.size == 0
    layer = MaskAccumulator()
    layer.update(probabilities)
    assert layer.result().recall.value == 0
    assert np.isnan(layer.result().precision.value)
    assert layer.result().hard_pixels == (0, 0, 32 * 32 - 256, 256)
