"""Labels of a raster: threshold, background prompts, votes of regions across blocks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference import windows
from geoseg_qgis.engine.inference.region_map import RegionMap
from geoseg_qgis.engine.methods.open_vocabulary.labelling import LabellingRules, RasterLabelling
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder

HEIGHT, WIDTH, CLASSES = 50, 70, 3


class Probabilities:
    """Random probabilities with a corner of nodata."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.values = torch.softmax(3 * torch.randn(CLASSES, HEIGHT, WIDTH), dim=0)
        self.known = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
        self.known[:12, :9] = False

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        part = window.toslices()
        return self.values[(slice(None), *part)], self.known[part]


def run(folder: Path, rules: LabellingRules, ids: np.ndarray | None) -> dict[str, np.ndarray]:
    grid = Grid(Affine.identity(), WIDTH, HEIGHT)
    found = {
        "labels": np.zeros((HEIGHT, WIDTH), np.uint8),
        "confidence": np.zeros((HEIGHT, WIDTH), np.uint8),
        "scores": np.zeros((CLASSES, HEIGHT, WIDTH), np.uint8),
    }
    with ScratchFolder(folder) as scratch:
        regions = None
        if ids is not None:
            regions = RegionMap(scratch, grid)
            regions.write(Window(0, 0, WIDTH, HEIGHT), ids)
        result = RasterLabelling(scratch, grid, rules)
        result.label(Probabilities(), regions, lambda _: None)
        for block in result.blocks():
            part = block.window.toslices()
            found["labels"][part] = block.labels
            found["confidence"][part] = block.confidence
            if block.scores is not None:
                found["scores"][(slice(None), *part)] = block.scores
    return found


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "BLOCK", 16)


def test_pixels_take_their_best_class_above_the_threshold(tmp_path: Path) -> None:
    source = Probabilities()
    best, index = source.values.max(dim=0)
    expected = np.where(source.known & (best >= 0.7), index + 1, 0)
    found = run(tmp_path, LabellingRules(CLASSES, CLASSES, 0.7, True), None)
    assert np.array_equal(found["labels"], expected)
    assert np.array_equal(found["confidence"] == 255, ~source.known.numpy())
    known = source.known.numpy()
    stored = found["scores"][:, known] / 254.0
    assert np.abs(stored - source.values.numpy()[:, known]).max() <= 0.5 / 254 + 1e-6


def test_rivals_compete_but_stay_unclassified(tmp_path: Path) -> None:
    source = Probabilities()
    index = source.values.argmax(dim=0)
    expected = np.where(source.known & (index < 2), index + 1, 0)
    found = run(tmp_path, LabellingRules(CLASSES, 2, 0.0, False), None)
    assert np.array_equal(found["labels"], expected)


def test_regions_vote_over_the_whole_raster(tmp_path: Path) -> None:
    """The region spans nine blocks; counting by block would give other winners."""
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[5:45, 5:45] = 7
    ids[20:30, 50:60] = 2
    source = Probabilities()
    pixel = np.where(source.known, source.values.argmax(dim=0) + 1, 0)
    expected = pixel.copy()
    for region in (7, 2):
        inside = (ids == region) & source.known.numpy()
        winner = np.bincount(pixel[inside]).argmax()
        expected[inside] = winner
    found = run(tmp_path, LabellingRules(CLASSES, CLASSES, 0.0, True), ids)
    assert np.array_equal(found["labels"], expected)
    inside = (ids == 2) & source.known.numpy()
    means = source.values.numpy()[:, inside].mean(axis=1)
    assert np.allclose(found["scores"][:, inside] / 254.0, means[:, None], atol=0.003)
    assert np.all(found["confidence"][inside] == found["scores"][expected[inside] - 1, inside])
    assert np.all(found["confidence"][~source.known.numpy()] == 255)
