"""Selection and labelling of proposals on maps small enough to check by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.windows import Window
from rasters import write
from torch import Tensor

from geoseg_qgis.engine.inference.chips import ChipReader, RasterScene
from geoseg_qgis.engine.inference.proposals import Sam2Proposer
from geoseg_qgis.engine.methods.open_vocabulary import mask_selection
from geoseg_qgis.engine.methods.open_vocabulary.mask_selection import (
    mask_means,
    select_over_raster,
    spread_means,
)
from geoseg_qgis.engine.models.automatic_masks import AutomaticMasks, AutomaticMaskSettings
from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.stretch import LinearStretch
from geoseg_qgis.engine.zoo.registry import open_preset
from geoseg_qgis.protocol.source import RasterSource
from tests.reference.mask_selection import SelectionSettings, select_multiple, select_single

PROBABILITY = np.array(
    [[0.9, 0.9, 0.4, 0.0], [0.9, 0.4, 0.4, 0.0], [0.0, 0.0, 0.0, 1.0]], dtype=np.float32
)


def box(rows: slice, columns: slice) -> NDArray[np.bool_]:
    """A mask of the shape of `PROBABILITY`."""
    mask = np.zeros(PROBABILITY.shape, dtype=bool)
    mask[rows, columns] = True
    return mask


SQUARE = box(slice(0, 2), slice(0, 2))
STRIP = box(slice(0, 2), slice(1, 3))
CORNER = box(slice(2, 3), slice(3, 4))
NOTHING = box(slice(0, 0), slice(0, 0))


def test_mean_probability_of_one_class() -> None:
    result = select_single(PROBABILITY, [SQUARE, STRIP, CORNER, NOTHING], SelectionSettings())
    np.testing.assert_allclose(result.scores, [0.775, 0.525, 1.0, 0.0], atol=1e-6)
    assert result.kept.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(result.foreground, SQUARE | STRIP | CORNER)


def test_share_of_foreground_pixels_of_one_class() -> None:
    rule = SelectionSettings(score="count")
    result = select_single(PROBABILITY, [SQUARE, STRIP], rule)
    np.testing.assert_allclose(result.scores, [0.75, 0.25])
    np.testing.assert_array_equal(result.foreground, SQUARE)
    strict = SelectionSettings(score="count", mask_threshold=0.75)
    assert not select_single(PROBABILITY, [SQUARE], strict).foreground.any()


def test_no_proposal_means_no_foreground() -> None:
    result = select_single(PROBABILITY, [], SelectionSettings())
    assert result.scores.shape == (0,)
    assert not result.foreground.any()


def three_classes() -> NDArray[np.float32]:
    """Class 1 in the left half, class 2 in the right one, unsure in the last row."""
    values = np.full((3, 3, 4), 0.1, dtype=np.float32)
    values[1, :2, :2] = 0.8
    values[2, :2, 2:] = 0.7
    values[:, 2] = 0.33
    return values


def test_dominant_class_and_overlaps() -> None:
    masks = [STRIP, SQUARE]
    result = select_multiple(three_classes(), masks, SelectionSettings())
    assert result.winners.tolist() == [1, 1]
    np.testing.assert_allclose(result.scores, [0.45, 0.8], atol=1e-6)
    assert result.regions.tolist() == [[1, 1, 0, -1], [1, 1, 0, -1], [-1, -1, -1, -1]]
    assert result.labels.tolist() == [[1, 1, 1, 2], [1, 1, 1, 2], [0, 0, 0, 0]]


def test_the_smaller_area_may_win() -> None:
    wide = box(slice(0, 2), slice(0, 3))
    single = box(slice(0, 1), slice(2, 3))
    values = three_classes()
    by_area = select_multiple(values, [single, wide], SelectionSettings(overlap="area"))
    assert by_area.labels[0].tolist() == [1, 1, 2, 2]
    by_score = select_multiple(values, [wide, single], SelectionSettings())
    assert by_score.regions[0].tolist() == [0, 0, 1, -1]
    raised = values.copy()
    raised[1, :2, :3] = 0.9
    assert select_multiple(raised, [single, wide], SelectionSettings()).regions[0, 2] == 0


def test_uncovered_pixels_may_be_background() -> None:
    rule = SelectionSettings(uncovered="background", background_index=2)
    result = select_multiple(three_classes(), [SQUARE], rule)
    assert result.labels.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [2, 2, 2, 2]]


def test_count_rule_of_several_classes() -> None:
    values = three_classes()
    values[2, 0, 0] = 1.0
    values[2, 1, 0] = 0.75
    mean = select_multiple(values, [SQUARE], SelectionSettings())
    assert mean.winners.tolist() == [1]
    values[1, 1, 0] = 0.0
    values[1, 0, 0] = 0.0
    values[2, 0, 1] = 0.7
    mean = select_multiple(values, [SQUARE], SelectionSettings())
    count = select_multiple(values, [SQUARE], SelectionSettings(score="count"))
    assert (mean.winners.tolist(), count.winners.tolist()) == ([2], [1])
    np.testing.assert_allclose(count.scores, [0.5])


def test_huge_proposals_only_for_stuff() -> None:
    everything = np.ones(PROBABILITY.shape, dtype=bool)
    values = three_classes()
    without = select_multiple(values, [everything], SelectionSettings())
    assert (without.regions == -1).all()
    winner = int(without.winners[0])
    stuff = select_multiple(values, [everything], SelectionSettings(), frozenset({winner}))
    assert (stuff.labels == winner).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_means_inside_masks(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.random((3, 11, 13)).astype(np.float32)
    masks = [generator.random((11, 13)) < share for share in (0.02, 0.3, 0.9)]
    masks = [mask for mask in masks if mask.any()]
    expected = [[channel[mask].mean() for channel in values] for mask in masks]
    np.testing.assert_allclose(mask_means(values, masks), expected, atol=1e-6)


def test_refused_settings() -> None:
    with pytest.raises(ValueError, match="overlap must be one of"):
        SelectionSettings(overlap="first")


SIDE = 128


def dense_probabilities(classes: int, seed: int = 0) -> NDArray[np.float32]:
    """Return (C, H, W) random probabilities that are even in squares of 4 x 4 pixels."""
    generator = np.random.default_rng(seed)
    values = generator.random((classes, SIDE // 4, SIDE // 4), dtype=np.float32) ** 3
    values /= values.sum(axis=0)
    return values.repeat(4, axis=1).repeat(4, axis=2)


def stripes() -> AutomaticMasks:
    """Return overlapping masks whose outlines are drawn alike at a quarter of the side."""
    logits = torch.full((5, SIDE // 4, SIDE // 4), -5.0)
    for number, (first, last) in enumerate([(0, 6), (4, 9), (20, 23)]):
        logits[number, :, first:last] = 5.0
    logits[3, 10:17] = 5.0
    logits[4] = 5.0
    count = len(logits)
    boxes, points = torch.zeros(count, 4), torch.zeros(count, 2)
    scores = torch.ones(count)
    return AutomaticMasks(logits, scores, scores, boxes, scores, points, (SIDE, SIDE))


@pytest.mark.parametrize(
    ("rules", "published"),
    [
        (mask_selection.SelectionSettings(), SelectionSettings(pixel_threshold=0.0)),
        (
            mask_selection.SelectionSettings(background=1),
            SelectionSettings(uncovered="background", background_index=1),
        ),
    ],
)
def test_a_tile_is_labelled_as_published(
    rules: mask_selection.SelectionSettings, published: SelectionSettings
) -> None:
    values, masks = dense_probabilities(3), stripes()
    found = spread_means(values, masks, SIDE, rules)
    expected = select_multiple(values, list(masks.masks().numpy()), published)
    assert np.array_equal(found.argmax(axis=0), expected.labels)
    covered = expected.regions >= 0
    best = found.max(axis=0)[covered]
    np.testing.assert_allclose(best, expected.scores[expected.regions[covered]], atol=1e-6)


class Dense:
    """Given probabilities as those of dense CLIP."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self.values = torch.from_numpy(values)

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        values = self.values[(slice(None), *window.toslices())]
        return values, torch.ones(values.shape[1:], dtype=torch.bool)


@pytest.mark.slow
def test_a_raster_of_one_tile_is_labelled_as_published(tiny_preset: Path, tmp_path: Path) -> None:
    # Class 0 to 3 in the quarters, the first the surest.
    values = np.full((4, SIDE, SIDE), 0.05, dtype=np.float32)
    for number, sure in enumerate((0.9, 0.8, 0.7, 0.6)):
        top, left = divmod(number, 2)
        values[number, 64 * top : 64 * top + 64, 64 * left : 64 * left + 64] = sure
    path = write(tmp_path / "image.tif", tiny_models.landscape(SIDE, SIDE).transpose(2, 0, 1))
    models = LoadedPreset(open_preset(str(tiny_preset)), choose_device("cpu"))
    with open_raster(RasterSource(str(path))) as raster, ScratchFolder(tmp_path) as folder:
        scene = RasterScene(ChipReader(raster, LinearStretch()), raster.grid, raster.grid, folder)
        proposer = Sam2Proposer(
            scene.reader,
            scene.output,
            models.sam2,
            settings=AutomaticMaskSettings(4, 0.0, 0.0, at_source=False),
            subdivision=1,
            checkpoint=lambda _: None,
        )
        window = Window(0, 0, SIDE, SIDE)
        chip = proposer.chip(window)
        assert chip is not None
        masks = list(proposer.masks(chip).masks((SIDE, SIDE)).numpy())
        found = select_over_raster(
            scene, proposer, Dense(values), classes=4,
            settings=mask_selection.SelectionSettings(), progress=lambda _: None,
        )  # fmt: skip
        labels = found.read(window)[0].argmax(dim=0).numpy()
    expected = select_multiple(values, masks, SelectionSettings(pixel_threshold=0.0))
    assert len(masks) > 2
    assert (expected.regions >= 0).mean() > 0.2
    assert (labels == expected.labels).mean() > 0.99
