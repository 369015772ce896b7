"""What only a graphics card can show: half precision against the processor, its own memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from geoseg_qgis.engine.methods.assessment.views import assess_views, plan_views
from geoseg_qgis.engine.methods.open_vocabulary import fast
from geoseg_qgis.engine.methods.open_vocabulary.gumix import window as gumix
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.methods.referring.unigeoseg import Segmenter
from geoseg_qgis.engine.models.device import ChosenDevice, choose_device, list_devices
from geoseg_qgis.engine.models.memory import PROGRAM, free_memory, required_memory
from geoseg_qgis.engine.models.oom_fallback import OutOfMemoryFallback, Work
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.sam2 import MaskChoice
from geoseg_qgis.engine.models.segassess import SegAssess
from geoseg_qgis.engine.models.segassess.configuration import SegAssessConfiguration
from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint, save_checkpoint
from geoseg_qgis.engine.models.unigeoseg.configuration import (
    LanguageConfig,
    SegmentationConfig,
    UniGeoSegConfig,
    VisionConfig,
)
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from geoseg_qgis.engine.zoo.registry import catalogue
from geoseg_qgis.protocol.errors import ErrorCode, JobError

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="There is no NVIDIA card on this machine."
)

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def processor() -> LoadedPreset:
    return LoadedPreset(catalogue([]).presets["offline-small"], choose_device("cpu"))


@pytest.fixture(scope="module")
def card() -> Iterator[LoadedPreset]:
    loaded = LoadedPreset(catalogue([]).presets["offline-small"], choose_device("cuda"))
    yield loaded
    loaded.release()


def random_images(*shape: int) -> Tensor:
    rough = torch.rand(shape[0], 3, shape[-2] // 16, shape[-1] // 16, generator=seeded(3))
    return torch.nn.functional.interpolate(rough, shape[-2:], mode="bilinear")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def difference(one: Tensor, other: Tensor) -> Tensor:
    return (one.float().cpu() - other.float().cpu()).abs()


def unit_rows(model: Any, count: int = 8) -> Tensor:
    return torch.nn.functional.normalize(
        torch.randn(count, model.embed_dim, generator=seeded(5)), dim=-1
    )


def test_clip_in_half_precision(processor: LoadedPreset, card: LoadedPreset) -> None:
    assert card.clip.dtype is torch.float16
    images, text = random_images(2, 224, 224), unit_rows(processor.clip)
    expected = fast.window_logits(processor.clip.module, images, text, fast.FastSettings())
    logits = fast.window_logits(card.clip.module, images.cuda(), text.cuda(), fast.FastSettings())
    assert logits.dtype is torch.float32
    assert difference(logits, expected).max() < 0.02
    words = ["road", "building", "water"]
    cosines = (card.clip.encode_text(words).cpu() * processor.clip.encode_text(words)).sum(1)
    assert cosines.min() > 0.999


def test_dino_stays_in_full_precision(processor: LoadedPreset, card: LoadedPreset) -> None:
    assert card.dino.dtype is torch.float32
    images = processor.dino.normalise(random_images(2, 224, 224))
    for layer, expected in zip(
        card.dino.last_layers(images.cuda()), processor.dino.last_layers(images), strict=True
    ):
        cosines = torch.nn.functional.cosine_similarity(layer.cpu(), expected, dim=-1)
        # Products may be computed in TensorFloat-32 there.
        assert cosines.min() > 0.999


def test_sam2_in_half_precision(processor: LoadedPreset, card: LoadedPreset) -> None:
    assert card.sam2.dtype is torch.float16
    side = processor.sam2.image_size
    image = random_images(1, side, side)
    points = torch.linspace(40, side - 40, 16).reshape(8, 1, 2)
    expected, found = (
        model.predict(
            model.encode(image),
            points=points,
            labels=torch.ones(8, 1, dtype=torch.int32),
            choice=MaskChoice.THREE,
        )
        for model in (processor.sam2, card.sam2)
    )
    masks, wanted = found.logits.cpu() > 0, expected.logits > 0
    assert (masks == wanted).float().mean() > 0.99
    assert difference(found.iou, expected.iou).max() < 0.05


def test_gumix_in_half_precision(processor: LoadedPreset, card: LoadedPreset) -> None:
    settings = GumixSettings.geo().with_overrides(processor.card.gumix)
    side = settings.window
    images, text = random_images(2, side, side), unit_rows(processor.clip)
    columns = torch.arange(side) // (side // 4)
    regions = (1 + columns + 4 * columns[:, None]).expand(2, side, side)
    expected = gumix.window_logits(
        processor.clip.module, processor.dino.module, images, regions, text, settings=settings
    )
    logits = gumix.window_logits(
        card.clip.module,
        card.dino.module,
        images.cuda(),
        regions.cuda(),
        text.cuda(),
        settings=settings,
    )
    # Regions that are just alike enough to merge may fall on the other side.
    assert difference(logits, expected).mean() < 0.01


def test_segassess_in_half_precision() -> None:
    torch.manual_seed(7)
    network = SegAssess(
        SegAssessConfiguration(
            encoder_width=64,
            encoder_depth=4,
            encoder_heads=2,
            global_blocks=(0, 1, 2, 3),
            window=4,
            stored_grid=8,
            decoder_width=32,
            decoder_heads=2,
            decoder_hidden=64,
        )
    ).eval()
    images = random_images(2, 128, 128)
    masks = (images[:, :1] > 0.5).float()
    (expected,) = assess_views(network, images, masks, plan_views())
    network.cuda()
    with torch.autocast("cuda", dtype=torch.float16):
        (found,) = assess_views(network, images.cuda(), masks.cuda(), plan_views())
    assert found.probabilities.dtype is torch.float32
    assert difference(found.probabilities, expected.probabilities).max() < 0.03


def test_unigeoseg_in_the_published_precision(tmp_path: Path) -> None:
    torch.manual_seed(8)
    config = UniGeoSegConfig(
        language=LanguageConfig(
            vocab_size=304,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
        ),
        vision=VisionConfig(
            image_size=128, embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window_size=3
        ),
        segmentation=SegmentationConfig(
            head_width=32,
            head_heads=4,
            head_dim=8,
            width=64,
            num_heads=4,
            encoder_layers=2,
            decoder_layers=3,
            decoder_ffn=128,
            num_queries=5,
        ),
    )
    words = ByteTokenizer({"<|endoftext|>": 256, "[SEG]": 257, "[PAD]": 258})
    save_checkpoint(UniGeoSeg(config, with_language_head=False), words, tmp_path)
    image = (random_images(1, 128, 128)[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    half = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    predictions = []
    for device, dtype in (("cpu", torch.float32), ("cuda", half)):
        segmenter = Segmenter(load_checkpoint(tmp_path, torch.device(device), dtype))
        predictions.append(segmenter.segment(image, instruction="the road").probability)
    assert np.abs(predictions[1] - predictions[0]).mean() < 0.05


def test_the_fallback_on_real_memory() -> None:
    device = torch.device("cuda", 0)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved(device) + 320 * MEBIBYTE

    def compute(items: Sequence[int]) -> list[float]:
        tensors = torch.ones(len(items), 32 * MEBIBYTE // 4, device=device)
        scales = torch.tensor(items, device=device)[:, None]
        return [float(row) for row in (tensors * scales).mean(dim=1)]

    torch.cuda.set_per_process_memory_fraction(room / total, device)
    try:
        fallback = OutOfMemoryFallback(device)
        assert fallback.run(Work(compute), list(range(16))) == [float(n) for n in range(16)]
        assert fallback.batch in (1, 2, 4)
        torch.cuda.set_per_process_memory_fraction(16 * MEBIBYTE / total, device)
        with pytest.raises(JobError, match="does not fit into the memory of cuda") as caught:
            OutOfMemoryFallback(device).run(Work(compute), [1, 2])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY


def test_the_required_memory_is_near_what_a_batch_takes(card: LoadedPreset) -> None:
    settings = GumixSettings.geo().with_overrides(card.card.gumix)
    side, text = settings.window, unit_rows(card.clip, 64).cuda()
    images = random_images(16, side, side).cuda()
    regions = (torch.arange(side, device="cuda") // 32)[:, None].expand(16, side, side)
    networks = card.clip.module, card.dino.module
    torch.cuda.reset_peak_memory_stats()
    gumix.window_logits(*networks, images, regions, text, settings=settings)
    taken = torch.cuda.max_memory_allocated()
    # A batch that does not fit is halved, so the number may be half of what the batch takes.
    required = required_memory(card.preset, "gumix", "cuda") - PROGRAM["cuda"]
    assert 0.2 < taken / required < 2.0


def test_the_free_memory_of_a_graphics_card() -> None:
    free = free_memory(torch.device("cuda"))
    total = torch.cuda.get_device_properties(0).total_memory
    assert free is not None
    assert 0 < free <= total + PROGRAM["cuda"]
    assert list_devices()[0]["problem"] == ""


def test_every_graphics_card_is_used() -> None:
    chosen: ChosenDevice = choose_device("cuda:all")
    assert [str(each.device) for each in chosen.all] == [
        f"cuda:{index}" for index in range(torch.cuda.device_count())
    ]
