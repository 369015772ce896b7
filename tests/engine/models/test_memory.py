"""What a run needs is what its card measured; a user's own card goes by its files."""

import dataclasses
from pathlib import Path

import pytest
import torch

from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.memory import (
    MEBIBYTE,
    PROGRAM,
    free_memory,
    largest_fitting,
    required_memory,
)
from geoseg_qgis.engine.models.model_cache import memory_warning
from geoseg_qgis.engine.zoo.registry import Origin, Preset, catalogue

GIGABYTE = 10**9


def preset(name: str) -> Preset:
    return catalogue([]).presets[name]


def with_memory(one: Preset, **memory: int) -> Preset:
    return dataclasses.replace(one, card=dataclasses.replace(one.card, memory=memory))


def test_every_card_of_the_package_states_the_memory_of_each_method() -> None:
    for one in catalogue([Path("nowhere")]).presets.values():
        assert set(one.card.memory) == set(one.card.methods), one.card.name
        assert min(one.card.memory.values()) > PROGRAM["cpu"], one.card.name


def test_a_processor_needs_what_was_measured_there() -> None:
    measured = with_memory(preset("openai-b16"), fast=2 * GIGABYTE)
    assert required_memory(measured, "fast") == 2 * GIGABYTE
    assert required_memory(measured, "fast", "mps") == 2 * GIGABYTE


@pytest.mark.parametrize(
    ("name", "method", "share"), [("openai-b16", "fast", 1.0), ("unigeoseg", "unigeoseg", 0.5)]
)
def test_a_graphics_card_holds_the_networks_alone(name: str, method: str, share: float) -> None:
    measured = with_memory(preset(name), **{method: PROGRAM["cpu"] + 4 * GIGABYTE})
    needed = required_memory(measured, method, "cuda")
    assert needed == PROGRAM["cuda"] + share * 4 * GIGABYTE


def test_a_card_without_numbers_goes_by_its_files(tmp_path: Path) -> None:
    unknown = with_memory(preset("sam2.1-tiny"))
    size = unknown.card.files[0].size
    assert size == 156_008_466
    base = PROGRAM["cpu"] + 500 * MEBIBYTE
    assert required_memory(unknown, "sam2") == base + 2 * size
    own = dataclasses.replace(unknown, folder=tmp_path, origin=Origin.USER)
    path = own.path(own.card.files[0].file)
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(1000))
    assert required_memory(own, "sam2") == base + 2000, "what is on disk counts"


def test_free_memory_is_known_of_processors_and_nvidia_cards() -> None:
    free = free_memory(torch.device("cpu"))
    assert free is None or 0 < free < 1 << 50
    assert free_memory(torch.device("mps")) is None


def test_the_largest_that_fits_is_recommended() -> None:
    presets = [preset(name) for name in ("offline-small", "sam2.1-tiny", "sam2.1-base-plus")]
    tiny = required_memory(presets[1], "sam2")

    def best(free: int, names: tuple[int, ...], method: str = "sam2") -> str | None:
        found = largest_fitting([presets[index] for index in names], method, "cpu", free)
        return found and found.card.name

    assert best(8 * GIGABYTE, (0, 1, 2)) == "offline-small", "what is on disk precedes downloads"
    assert best(8 * GIGABYTE, (1, 2)) == "sam2.1-base-plus"
    assert best(tiny, (1, 2)) == "sam2.1-tiny"
    assert best(tiny - 1, (1, 2)) is None
    assert best(8 * GIGABYTE, (1, 2), method="segassess") is None


def test_a_preset_that_does_not_fit_gets_a_warning_with_one_that_does() -> None:
    device, large = choose_device("cpu"), with_memory(preset("laion-h14"), fast=5_100_000_000)
    free = required_memory(preset("offline-small"), "fast")
    warning = memory_warning(large, device, "fast", free)
    assert warning.startswith(f"{large.card.title} needs about 5.1 GB of memory, but ")
    assert f"has {free / GIGABYTE:.1f} GB left, so the run may be slow or fail." in warning
    assert warning.endswith("Choose the model offline-small, which fits.")
    assert memory_warning(large, device, "fast", MEBIBYTE).endswith("or another device.")
    assert memory_warning(large, device, "fast", 5_100_000_000) == ""
