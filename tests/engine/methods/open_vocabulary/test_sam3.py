"""SAM 3 as a method, against a plain reference of its fusion, with a tiny real network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from tiny_folders import write_card, write_sam3

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.methods.open_vocabulary.sam3 import word_probability
from geoseg_qgis.engine.models.sam3 import Sam3Answer, load_sam3
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask
from tests.reference.sam3_fusion import class_map, word_map

SIZE = (24, 20)
Raw = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def answer(seed: int, presence: float) -> tuple[Sam3Answer, Raw]:
    random = torch.Generator().manual_seed(seed)
    masks = 4 * torch.randn(6, 7, 7, generator=random)
    logits = 2 * torch.randn(6, generator=random)
    semantic = torch.randn(7, 7, generator=random) - 1
    raw = masks, logits, torch.tensor(presence), semantic
    return Sam3Answer(masks, logits.sigmoid(), raw[2].sigmoid(), semantic), raw


@pytest.mark.parametrize("presence", [-3.0, 0.5, 4.0])
@pytest.mark.parametrize("confidence", [0.1, 0.5])
def test_the_fusion_is_the_published_one(presence: float, confidence: float) -> None:
    for seed in range(4):
        given, raw = answer(seed, presence)
        expected = word_map(*raw, confidence, SIZE)
        assert torch.allclose(word_probability(given, confidence, SIZE), expected, atol=1e-6)


def test_presence_counts_twice_for_objects_and_once_for_pixels() -> None:
    sure = torch.full((1, 2, 2), 40.0)
    given = Sam3Answer(sure, torch.tensor([0.9]), torch.tensor(0.8), torch.full((2, 2), -40.0))
    assert (
        word_probability(given, 0.5, (2, 2)).tolist() == [[pytest.approx(0.9 * 0.8 * 0.8)] * 2] * 2
    )
    assert word_probability(given, 0.72, (2, 2)).max() < 1e-6
    given = Sam3Answer(sure, torch.tensor([0.1]), torch.tensor(0.8), torch.full((2, 2), 40.0))
    assert word_probability(given, 0.5, (2, 2))[0, 0] == pytest.approx(0.8)


@pytest.mark.slow
@pytest.mark.parametrize("lite", [False, True], ids=["SAM 3", "LiteText"])
def test_words_together_are_words_one_by_one(tmp_path: Path, lite: bool) -> None:
    component, reference = write_sam3(tmp_path, lite)
    model = load_sam3(component, tmp_path, torch.device("cpu"))
    image = torch.rand(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    words = ["road", "a house", "sea"]
    together = model.answer(model.encode(image), words)
    for word, found in zip(words, together, strict=True):
        ids, mask = model.tokenize(word)
        with torch.inference_mode():
            expected = reference(
                pixel_values=(image - 0.5) / 0.5, input_ids=ids, attention_mask=mask
            )
        assert torch.allclose(found.logits, expected.pred_masks[0], atol=1e-4)
        assert torch.allclose(found.candidates, expected.pred_logits[0].sigmoid(), atol=1e-5)
        assert torch.allclose(found.presence, expected.presence_logits[0, 0].sigmoid(), atol=1e-5)
        assert torch.allclose(found.semantic, expected.semantic_seg[0, 0], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("rivals", [True, False])
def test_a_job_maps_what_the_reference_maps(tmp_path: Path, rivals: bool) -> None:
    component, reference = write_sam3(tmp_path)
    write_card(tmp_path, "sam3", component, "sam3")
    card: dict[str, Any] = json.loads((tmp_path / "card.json").read_text())
    card["sam3"].update(confidence=0.2, threshold=0.3)
    (tmp_path / "card.json").write_text(json.dumps(card))
    pixels = np.random.default_rng(2).integers(1, 255, (3, 56, 56), np.uint8)
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=56, width=56, count=3, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.Affine(0.3, 0, 4e5, 0, -0.3, 5e6),
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    output, scores = tmp_path / "c.tif", tmp_path / "s.tif"
    task = OpenVocabularyTask(
        parse_classes("road, street; house"), rivals=rivals, class_raster=str(output),
        scores=str(scores),
    )  # fmt: skip
    source = RasterSource(str(tmp_path / "a.tif"), "a", stretch=Stretch(StretchKind.NONE))
    job = Job(source, task, method="sam3", model=str(tmp_path / "card.json"), device="cpu")
    run_job(job, JobContext())

    model = load_sam3(component, tmp_path, torch.device("cpu"))
    image = (torch.from_numpy(pixels)[None].float() / 255 - 0.5) / 0.5
    maps = []
    for word in ("road", "street", "house"):
        ids, mask = model.tokenize(word)
        with torch.inference_mode():
            said = reference(pixel_values=image, input_ids=ids, attention_mask=mask)
        maps.append(
            word_map(
                said.pred_masks[0], said.pred_logits[0], said.presence_logits[0, 0],
                said.semantic_seg[0, 0], 0.2, (56, 56),
            )
        )  # fmt: skip
    expected = class_map(torch.stack(maps), [0, 0, 1], 0.3 if rivals else 0.0).numpy()
    with rasterio.open(output) as dataset, rasterio.open(scores) as bands:
        found = dataset.read(1)
        values = bands.read() * bands.scales[0]
    assert (found == expected).mean() > 0.995
    assert np.abs(values[1] - maps[2].numpy()).max() < 0.003
    assert values.shape[0] == (3 if rivals else 2)
    assert len(np.unique(expected)) == (2 if rivals else 1)
