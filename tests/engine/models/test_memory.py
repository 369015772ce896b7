"""Memory is told from cards as the real networks take it."""

import pytest
import torch
from geoseg_qgis.engine.models.live_memory import LiveMemory, peak_memory
from torch.nn.functional import scaled_dot_product_attention

from geoseg_qgis.engine.methods.open_vocabulary.fast import FastSettings
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.methods.open_vocabulary.gumix.window import window_logits
from geoseg_qgis.engine.methods.open_vocabulary.mask_selection import (
    MASKS as SELECTION_MASKS,
)
from geoseg_qgis.engine.models import memory_probes
from geoseg_qgis.engine.models.device import choose_device, windows_per_batch
from geoseg_qgis.engine.models.memory import (
    MEBIBYTE,
    MemoryEstimate,
    estimate_memory,
    fits,
    free_memory,
    largest_fitting,
    module_bytes,
    needed_components,
    surely_fits,
)
from geoseg_qgis.engine.models.model_cache import tight_memory
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.zoo.registry import Preset, catalogue

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
GIGABYTE = 10**9


def preset(name: str) -> Preset:
    return catalogue([]).presets[name]


def test_the_peak_is_that_of_tensors_alive_together() -> None:
    start = torch.zeros(1000, device="meta")

    def run() -> torch.Tensor:
        middle = (start * 2) + 1
        return middle[:10] * 3

    assert peak_memory(run) == 8000
    assert peak_memory(lambda: start.view(10, 100).t()) == 4000, "a view shares its memory"


def test_attention_is_counted_as_fused_kernels_do_it() -> None:
    heads = torch.zeros(2, 4, 1000, 16, device="meta")
    output = 2 * 4 * 1000 * 16 * 4
    assert peak_memory(lambda: scaled_dot_product_attention(heads, heads, heads)) == output


def test_weights_are_those_of_the_loaded_networks() -> None:
    small = preset("offline-small")
    loaded = LoadedPreset(small, choose_device("cpu"))
    modules = {"clip": loaded.clip.module, "dino": loaded.dino.module, "sam2": loaded.sam2.module}
    real = sum(module_bytes(module) for module in modules.values())
    assert estimate_memory(small.card, CPU, method="gumix").weights == real
    dense = estimate_memory(small.card, CPU, method="fast")
    assert dense.weights == module_bytes(loaded.clip.module)


def test_the_activations_are_those_of_a_real_batch() -> None:
    small = preset("offline-small")
    loaded = LoadedPreset(small, choose_device("cpu"))
    settings = GumixSettings.geo().with_overrides(small.card.gumix)
    batch, side = windows_per_batch(CPU), settings.window
    images = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(1))
    regions = (torch.arange(side) // 32)[None, :, None].expand(batch, side, side)
    text = torch.eye(memory_probes.QUERIES, loaded.clip.embed_dim)
    with LiveMemory() as memory:
        window_logits(
            loaded.clip.module, loaded.dino.module, images, regions, text, settings=settings
        )
    networks = memory_probes.CardNetworks(small.card, CPU)
    assert 0.6 < networks._correlated_windows() / memory.peak < 1.3


def test_published_networks_have_their_published_sizes() -> None:
    clip = estimate_memory(preset("openai-b16").card, CPU, method="fast")
    # 149,620,737 parameters and the causal mask of 77 x 77.
    assert clip.weights == 4 * (149_620_737 + 77 * 77)
    on_card = estimate_memory(preset("openai-b16").card, CUDA, method="fast")
    assert 0.5 < on_card.weights / clip.weights < 0.6, "half precision but for a few layers"
    assert clip.total == clip.weights + clip.activations + clip.base
    largest = memory_probes.CardNetworks(preset("gumix-paper").card, CPU).module("clip")
    assert largest is not None
    assert module_bytes(largest) == 4 * (986_109_441 + 77 * 77)


def test_the_sizes_of_methods_are_those_that_methods_use() -> None:
    gumix = GumixSettings()
    assert gumix.window == memory_probes.GUMIX_WINDOW
    assert gumix.dino_scale == memory_probes.GUMIX_DINO_SCALE
    assert gumix.proposals.points_per_side == memory_probes.GUMIX_POINTS
    assert FastSettings().window == memory_probes.FAST_WINDOW
    assert SELECTION_MASKS.points_per_side == memory_probes.SELECTION_POINTS


def test_methods_load_what_they_use() -> None:
    card = preset("offline-small").card
    assert needed_components(card, "gumix") == ("clip", "dino", "sam2")
    assert needed_components(card, "fast") == ("clip",)
    assert needed_components(preset("qwen3-vl-2b").card, "clicks") == ("language", "sam2")


def test_free_memory_decides_what_fits() -> None:
    estimate = MemoryEstimate(3 * GIGABYTE, GIGABYTE, GIGABYTE)
    assert fits(estimate, CPU, 5 * GIGABYTE)
    assert not fits(estimate, CPU, 5 * GIGABYTE - 1)
    assert fits(estimate, torch.device("mps")), "nobody knows, so nobody objects"
    free = free_memory(CPU)
    assert free is None or 0 < free < 1 << 50


def test_the_largest_that_fits_is_found() -> None:
    presets = [preset(name) for name in ("offline-small", "sam2.1-tiny", "sam2.1-base-plus")]

    def best(free: int, method: str = "sam2", names: tuple[int, ...] = (0, 1, 2)) -> str | None:
        found = largest_fitting([presets[index] for index in names], CPU, method, free)
        return found and found.card.name

    assert best(8 * GIGABYTE) == "offline-small", "what is on disk goes before downloads"
    assert best(8 * GIGABYTE, names=(1, 2)) == "sam2.1-base-plus"
    assert best(1_600_000_000, names=(1, 2)) == "sam2.1-tiny"
    assert best(GIGABYTE // 10) is None
    assert best(8 * GIGABYTE, method="segassess", names=(1, 2)) is None


def test_a_preset_without_room_is_told_of_before_it_is_loaded() -> None:
    device, large = choose_device("cpu"), preset("openai-b16")
    sentence = tight_memory(large, device, "fast", 1_300_000_000)
    assert sentence.startswith("OpenAI CLIP ViT-B/16 with SAM 2.1 tiny needs about 1.7 GB")
    assert "has 1.3 GB left" in sentence
    assert sentence.endswith("Choose the model offline-small, which fits.")
    assert tight_memory(large, device, "fast", 40 * GIGABYTE) == ""


def test_small_files_on_a_large_machine_are_not_weighed() -> None:
    assert surely_fits(preset("offline-small").card, 8 * GIGABYTE)
    assert not surely_fits(preset("offline-small").card, 2 * GIGABYTE)
    assert not surely_fits(preset("gumix-paper").card, 1 << 50), "one of its sizes is unknown"


@pytest.mark.parametrize("method", ["segassess", "unigeoseg"])
def test_networks_with_loaders_of_their_own_are_weighed(method: str) -> None:
    found = [item for item in catalogue([]).presets.values() if method in item.card.methods]
    if not found:
        pytest.skip(f"no card serves {method}")
    estimate = estimate_memory(found[0].card, CPU, method=method, folder=found[0].folder)
    assert estimate.weights > MEBIBYTE
    assert estimate.activations > MEBIBYTE
