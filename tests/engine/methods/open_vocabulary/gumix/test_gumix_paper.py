"""The whole pipeline on one image: sizes, order of resizes, single scale, refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from gumix_facts import read_facts
from numpy.typing import NDArray
from open_clip import CLIP
from timm.models.eva import Eva
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.methods.open_vocabulary.gumix.complexity import complexity_map
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from tests.reference.gumix_paper import ImageNetwork, preprocess_image, segment_image, segment_with
from tests.reference.gumix_sliding import slide

SMALL = dataclasses.replace(
    GumixSettings.paper(), network_size=140, window=112, stride=56, probability_threshold=0.15
)
CLASSES = (0, 1, 1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def scene() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """A smooth random image (90, 130, 3) and nine blocky regions."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 9, 13, generator=generator)
    image = functional.interpolate(coarse, size=(90, 130), mode="bicubic").clamp(0, 1)
    pixels = (image[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    regions = torch.randint(0, 9, (9, 13), generator=generator)
    enlarged = regions.repeat_interleave(10, dim=0).repeat_interleave(10, dim=1)
    return pixels, enlarged.numpy().astype(np.int32)


def test_preprocessing(scene: tuple[NDArray[np.uint8], NDArray[np.int32]]) -> None:
    image = preprocess_image(scene[0], SMALL)
    assert image.shape == (3, 97, 140)
    mean = torch.tensor(SMALL.pixel_mean)[:, None, None]
    pixels = image * torch.tensor(SMALL.pixel_std)[:, None, None] + mean
    torch.testing.assert_close(pixels, pixels.round(), atol=1e-3, rtol=0)
    assert abs(float(pixels.mean()) - float(scene[0].mean())) < 1


@pytest.mark.slow
def test_pipeline_is_the_chain_of_its_steps(
    clip: CLIP, dino: Eva, scene: tuple[NDArray[np.uint8], NDArray[np.int32]]
) -> None:
    image, regions = scene
    text = read_facts("window_forward")["query_features"]
    result = segment_image(
        clip, dino, image, regions, text, class_index=CLASSES, settings=SMALL, batch_size=4
    )

    network = ImageNetwork(clip, dino, text, SMALL)
    small = functional.interpolate(torch.from_numpy(regions).double()[None, None], size=(97, 140))
    prepared = preprocess_image(image, SMALL)[None]
    scaled = []
    for size in ((97, 140), (145, 210)):
        enlarged = functional.interpolate(prepared, size=size, mode="bilinear")[0]
        ids = functional.interpolate(small, size=size)[0, 0].long()
        logits = slide(network, enlarged, ids, settings=SMALL)
        source = functional.interpolate(logits[None], size=(90, 130), mode="bilinear")
        scaled.append(functional.interpolate(source, size=(97, 140), mode="bilinear")[0])
    kappa = complexity_map(small[0].long(), SMALL)[0]
    kappa = (kappa - kappa.min()) / (kappa.max() - kappa.min() + 1e-6)
    uncertainty = []
    for logits in scaled:
        share = torch.softmax(logits, dim=0)
        entropy = -(share * share.log()).sum(dim=0)
        spread = entropy.max() - entropy.min() + 1e-6
        uncertainty.append((entropy - entropy.min()) / spread)
    gap = 2 * (kappa - kappa.median()) - (uncertainty[1] - uncertainty[0])
    choice = (gap > 0).long()
    assert result.choice is not None
    clear = gap.abs() > 1e-3
    assert clear.float().mean() > 0.99
    assert torch.equal(result.choice[clear], choice[clear])
    assert 0.1 < choice.float().mean() < 0.9

    chosen = torch.where(result.choice == 1, scaled[1], scaled[0])
    softmax = torch.softmax(40 * chosen, dim=0)
    merged = torch.stack([softmax[0], softmax[1:3].amax(0), *softmax[3:]])
    expected = functional.interpolate(merged[None], size=(90, 130), mode="bilinear")[0]
    assert result.labelling.probabilities.shape == (6, 90, 130)
    torch.testing.assert_close(result.labelling.probabilities, expected, atol=1e-4, rtol=0)
    small_labels = vote(merged, small[0, 0].long())
    labels = functional.interpolate(small_labels[None, None].double(), size=(90, 130))[0, 0]
    agreement = (result.labelling.labels == labels.long()).double().mean()
    assert agreement == 1.0


def vote(probabilities: Tensor, regions: Tensor) -> Tensor:
    """Thresholded labels and the mode of each region, region by region."""
    greatest, labels = probabilities.max(dim=0)
    labels[greatest < SMALL.probability_threshold] = 0
    for region in torch.unique(regions)[1:]:
        labels[regions == region] = torch.mode(labels[regions == region]).values
    return labels


def test_one_scale_votes_at_the_size_of_the_source() -> None:
    settings = dataclasses.replace(SMALL, scales=(1.0,))
    regions = torch.ones(90, 130, dtype=torch.int64)
    regions[:, :31] = 2
    regions[:3, :] = 0

    def network(images: Tensor, ids: Tensor, valid: Tensor | None) -> Tensor:
        assert valid is None
        second = (ids == 2).float()
        return torch.stack([1 - second, second], dim=1)

    image = torch.zeros(3, 97, 140)
    result = segment_with(network, image, regions, class_index=(0, 1), settings=settings)
    assert result.choice is None
    assert torch.equal(result.labelling.labels[3:] == 1, regions[3:] == 2)
    assert result.labelling.probabilities.shape == (2, 90, 130)


def test_refusals(clip: CLIP, dino: Eva) -> None:
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    text = read_facts("window_forward")["query_features"]
    with pytest.raises(ValueError, match="size of the image"):
        segment_image(
            clip, dino, image, np.zeros((30, 20), np.int32), text,
            class_index=CLASSES, settings=SMALL,
        )  # fmt: skip
    with pytest.raises(ValueError, match="below 10000"):
        segment_image(
            clip, dino, image, np.full((20, 30), 10_000), text,
            class_index=CLASSES, settings=SMALL,
        )  # fmt: skip
