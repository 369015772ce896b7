"""The path that users take, proved by the recorded numbers and by the published pipeline.

With the published settings, one image and pixels that are read as they are, the raster path must
give what the published pipeline gives.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from gumix_facts import read_case, read_facts
from numpy.typing import NDArray
from open_clip import CLIP
from rasterio.windows import Window
from rasters import write
from timm.models.eva import Eva
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.inference.blending import ScoreRaster
from geoseg_qgis.engine.inference.chips import ChipReader, RasterScene
from geoseg_qgis.engine.inference.region_map import RegionMap
from geoseg_qgis.engine.methods.open_vocabulary.gumix.raster_inference import (
    GumixModels,
    RoutedProbabilities,
    route_raster,
)
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.methods.open_vocabulary.labelling import LabellingRules, RasterLabelling
from geoseg_qgis.engine.methods.open_vocabulary.probabilities import (
    ProbabilitySource,
    SampledProbabilities,
    class_probabilities,
)
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.stretch import LinearStretch
from geoseg_qgis.protocol.source import RasterSource
from tests.reference.gumix_paper import segment_image

CLASSES = (0, 1, 1, 2, 3, 4, 5)
PAPER = dataclasses.replace(GumixSettings.paper(), window=112, stride=56)


def smooth_image(height: int, width: int, step: int) -> NDArray[np.uint8]:
    """Return (H, W, 3) smooth random pixels that are multiples of a step."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, height // 10, width // 10, generator=generator)
    image = functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    levels = 255 // step
    return ((image[0].permute(1, 2, 0) * levels).round() * step).to(torch.uint8).numpy()


def blocky_regions(height: int, width: int) -> NDArray[np.int32]:
    """Return (H, W) ids of blocks of even sides, 0 among them."""
    generator = np.random.default_rng(4)
    ids = generator.integers(0, 9, (-(-height // 14), -(-width // 14)), dtype=np.int32)
    ids[0, 0] = 0
    return ids.repeat(14, axis=0).repeat(14, axis=1)[:height, :width]


def region_map(scene: RasterScene, ids: NDArray[np.int32]) -> RegionMap:
    regions = RegionMap(scene.folder, scene.output)
    regions.write(Window(0, 0, ids.shape[1], ids.shape[0]), ids)
    return regions


def label(
    scene: RasterScene,
    probabilities: ProbabilitySource,
    regions: RegionMap | None,
    classes: int,
    threshold: float = 0.0,
) -> NDArray[np.uint8]:
    """Return (H, W) labels as the job makes them: 0 unclassified, classes from 1."""
    rules = LabellingRules(classes, classes, threshold, keep_scores=False)
    labelling = RasterLabelling(scene.folder, scene.output, rules)
    labelling.label(probabilities, regions, lambda _: None)
    (block,) = labelling.blocks()
    return block.labels


@dataclasses.dataclass(frozen=True)
class Case:
    """Scales, step of the pixel values, difference of probabilities, share that may exceed it."""

    scales: tuple[float, ...]
    step: int
    tolerance: float
    other_scale: float


@pytest.fixture
def networks(clip: CLIP, dino: Eva) -> tuple[CLIP, Eva]:
    """The two networks of the window."""
    return clip, dino


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(112, 112), (140, 196)], ids=["one window", "six windows"])
@pytest.mark.parametrize(
    "case",
    [
        Case((1.0,), 1, 1e-6, 0.0),
        Case((1.0, 1.5), 36, 1e-5, 0.001),
        Case((1.0, 1.5), 1, 0.01, 0.005),
    ],
)
def test_the_raster_path_gives_what_the_published_pipeline_gives(
    shape: tuple[int, int],
    case: Case,
    networks: tuple[CLIP, Eva],
    tmp_path: Path,
) -> None:
    """Labels are the same; so are all probabilities, but for pixels between two scales.

    Enlarged by 1.5, pixels are multiples of 1 / 36 of those before: multiples of 36 stay whole
    numbers, which is how the raster path reads them. Others are rounded there (step 1), and a few
    pixels whose two scales score alike take the other one.
    """
    image, ids = smooth_image(*shape, case.step), blocky_regions(*shape)
    text = read_facts("window_forward")["query_features"]
    settings = dataclasses.replace(PAPER, scales=case.scales, network_size=max(shape))
    expected = segment_image(
        *networks, image, ids, text, class_index=CLASSES, settings=settings
    ).labelling
    path = write(tmp_path / "image.tif", image.transpose(2, 0, 1))
    with open_raster(RasterSource(str(path))) as raster, ScratchFolder(tmp_path) as folder:
        scene = RasterScene(ChipReader(raster, LinearStretch()), raster.grid, raster.grid, folder)
        regions = region_map(scene, ids)
        models = GumixModels(*networks, text, CLASSES, settings, torch.device("cpu"), batch=4)
        found = route_raster(scene, models, regions, lambda _: None, lambda _: None)
        probabilities, known = found.read(Window(0, 0, shape[1], shape[0]))
        labels = label(scene, found, regions, max(CLASSES) + 1)
    assert known.all()
    difference = (probabilities - expected.probabilities).abs().amax(dim=0)
    assert (difference > case.tolerance).float().mean() <= case.other_scale
    assert np.array_equal(labels, expected.labels.numpy() + 1)


def fill(scene: RasterScene, name: str, logits: Tensor) -> ScoreRaster:
    """Return a score raster on the grid of the results that holds (Q, H, W) logits."""
    raster = ScoreRaster(scene.folder, name, scene.output, len(logits))
    height, width = logits.shape[1:]
    raster.add(Window(0, 0, width, height), logits.numpy(), np.ones((height, width), np.float32))
    return raster


@pytest.mark.parametrize(
    ("name", "case"),
    [("routing", "a"), ("routing", "b"), ("routing", "noinst"), ("routing_ties", "const")],
)
def test_recorded_scores_are_routed_as_recorded(name: str, case: str, tmp_path: Path) -> None:
    facts = read_case(read_facts(name), case)
    ids = facts["instance_masks"].numpy().astype(np.int32)
    names = ("logits_scale_1_0_at_ori", "logits_scale_1_5_at_ori")
    logits = torch.cat([resize_bilinear(facts[key], ids.shape) for key in names])
    path = write(tmp_path / "image.tif", np.ones((3, *ids.shape), np.uint8))
    classes = tuple(range(logits.shape[1]))
    with open_raster(RasterSource(str(path))) as raster, ScratchFolder(tmp_path) as folder:
        scene = RasterScene(ChipReader(raster, LinearStretch()), raster.grid, raster.grid, folder)
        rasters = [fill(scene, f"scale-{number}", each) for number, each in enumerate(logits)]
        models = GumixModels(None, None, torch.zeros(0), classes, PAPER, torch.device("cpu"), 1)
        regions = region_map(scene, ids)
        routed = RoutedProbabilities(scene, models, rasters, regions, lambda _: None)
        found, _ = routed.read(Window(0, 0, ids.shape[1], ids.shape[0]))
    chosen = facts["chosen_scale"][0][None, None].expand(1, len(classes), -1, -1)
    expected = torch.gather(logits, 0, chosen)[0]
    torch.testing.assert_close(
        found, class_probabilities(expected, classes, PAPER.logit_scale), atol=1e-6, rtol=0
    )


def label_recorded(case: str, folder: Path) -> tuple[dict[str, Tensor], NDArray[np.int64]]:
    """Return a recorded case, and its labels by pixel and by region as the raster path makes them.

    Classes count from 0 as in the records; unclassified pixels are given the background class.
    """
    facts = read_case(read_facts("postprocess"), case)
    scale, threshold, background = facts["params"].tolist()[:3]
    ids = facts["instance_masks"].numpy().astype(np.int32)
    classes = facts["query_idx"].tolist()
    path = write(folder / "image.tif", np.ones((3, *ids.shape), np.uint8))
    with open_raster(RasterSource(str(path))) as raster, ScratchFolder(folder) as scratch:
        scene = RasterScene(ChipReader(raster, LinearStretch()), raster.grid, raster.grid, scratch)
        scores = fill(scene, "scores", facts["logits"][0])
        probabilities = SampledProbabilities(scene, [scores], classes, scale)
        count = max(classes) + 1
        labels = np.stack(
            [
                label(scene, probabilities, regions, count, threshold)
                for regions in (None, region_map(scene, ids))
            ]
        ).astype(np.int64)
    return facts, np.where(labels == 0, int(background), labels - 1)


@pytest.mark.parametrize("case", ["plain", "bg5", "binary_thd08"])
def test_recorded_scores_are_labelled_as_recorded(case: str, tmp_path: Path) -> None:
    facts, (by_pixel, by_region) = label_recorded(case, tmp_path)
    assert np.array_equal(by_pixel, facts["pred_without_map_correction"][0])
    assert np.array_equal(by_region, facts["pred_no_gt"][0])


def test_unclassified_pixels_do_not_vote_for_the_background(tmp_path: Path) -> None:
    """The published method gives them the background class before the vote."""
    facts, (by_pixel, by_region) = label_recorded("bg_synonyms", tmp_path)
    assert np.array_equal(by_pixel, facts["pred_without_map_correction"][0])
    expected = facts["pred_no_gt"][0].numpy()
    ids = facts["instance_masks"].numpy()
    regions = np.unique(ids[by_region != expected])
    assert regions.tolist() == [2, 4, 10]
    assert (expected[np.isin(ids, regions)] == 0).all()


def test_only_pixels_with_id_0_are_in_no_region(tmp_path: Path) -> None:
    """The published method takes the smallest id for that, here 1; it keeps its pixels' labels."""
    facts, (by_pixel, by_region) = label_recorded("no_zero_id", tmp_path)
    assert np.array_equal(by_pixel, facts["pred_without_map_correction"][0])
    expected = facts["pred_no_gt"][0].numpy()
    smallest = facts["instance_masks"].numpy() == 1
    assert np.array_equal(by_region[~smallest], expected[~smallest])
    assert np.unique(by_region[smallest]).tolist() == [np.bincount(expected[smallest]).argmax()]
    assert len(np.unique(expected[smallest])) > 1
