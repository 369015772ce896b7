"""Whole jobs on a device with little memory, and on two devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from geoseg_qgis.engine.hardware import release_memory
from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.models import model_cache
from geoseg_qgis.engine.models.device import ChosenDevice, choose_device
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 320, 230
Scores = NDArray[np.integer]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    rng = np.random.default_rng(11)
    rough = rng.integers(20, 230, (3, HEIGHT // 10, WIDTH // 10), dtype=np.uint8)
    pixels = rough.repeat(10, axis=1).repeat(10, axis=2)
    transform = rasterio.Affine(0.3, 0, 400000, 0, -0.3, 5000000)
    profile = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 3, "dtype": "uint8"}
    path = tmp_path / "image.tif"
    with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, **profile) as dataset:
        dataset.write(pixels)
    return path


@pytest.fixture(autouse=True)
def nothing_stays_loaded() -> Iterator[None]:
    release_memory()
    yield
    release_memory()


def make_job(image: Path, preset: Path, name: str) -> Job:
    task = OpenVocabularyTask(
        parse_classes("building, roof; road; water"),
        rivals=False,
        scores=str(image.with_name(f"{name}.tif")),
    )
    source = RasterSource(str(image))
    return Job(source, task, method="fast", model=str(preset), device="cpu")


def run(job: Job) -> tuple[Scores, Result]:
    result = run_job(job, JobContext())
    with rasterio.open(result.files["SCORES"]) as scores:
        values: Scores = scores.read()
    return values, result


def limit(models: LoadedPreset, too_much: Callable[[torch.Tensor], bool]) -> list[int]:
    """Let CLIP run out of memory on batches that are too much; return the sizes of its batches."""
    asked: list[int] = []

    def check(_: Any, inputs: tuple[torch.Tensor]) -> None:
        asked.append(len(inputs[0]))
        if too_much(inputs[0]):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    models.clip.module.visual.conv1.register_forward_pre_hook(check)
    return asked


def test_halved_batches_map_the_same(image: Path, tiny_preset: Path) -> None:
    usual, _ = run(make_job(image, tiny_preset, "usual"))
    job = make_job(image, tiny_preset, "limited")
    asked = limit(model_cache.load_models(job, JobContext()), lambda images: len(images) > 1)
    limited, result = run(job)
    assert asked == [2, *[1] * 4], "nothing large is tried again"
    # Other batches may round the last of 16 bits otherwise.
    assert np.abs(limited.astype(np.int64) - usual).max() <= 1
    assert result.warnings == ()


def test_smaller_windows_are_reported(image: Path, tiny_preset: Path) -> None:
    usual, _ = run(make_job(image, tiny_preset, "usual"))
    job = make_job(image, tiny_preset, "limited")
    limit(model_cache.load_models(job, JobContext()), lambda images: images.numel() > 3 * 130**2)
    limited, result = run(job)
    assert ["1/2 of their usual side" in text for text in result.warnings] == [True]
    assert limited.shape == usual.shape
    assert np.array_equal(limited == 0, usual == 0)


def test_idle_networks_are_unloaded_and_the_map_is_the_same(image: Path, tiny_preset: Path) -> None:
    usual, _ = run(make_job(image, tiny_preset, "usual"))
    job = make_job(image, tiny_preset, "limited")
    models = model_cache.load_models(job, JobContext())
    limit(models, lambda _: "sam2" in models.loaded())
    assert models.sam2.image_size == 128
    limited, result = run(job)
    assert np.abs(limited.astype(np.int64) - usual).max() <= 1
    assert "sam2" not in models.loaded()
    assert "sam2_sha256" in result.provenance, "it was used before it was unloaded"
    assert result.warnings == (), "whole tiles again, so there is nothing to report"


def test_a_window_that_never_fits_ends_the_job(image: Path, tiny_preset: Path) -> None:
    job = make_job(image, tiny_preset, "limited")
    limit(model_cache.load_models(job, JobContext()), lambda _: True)
    with pytest.raises(JobError, match="does not fit into the memory of cpu") as caught:
        run(job)
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY
    assert not Path(job.task.scores).exists()


def test_two_devices_map_the_same(
    image: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, _ = run(make_job(image, tiny_preset, "usual"))
    cpu = torch.device("cpu")
    pair = ChosenDevice(cpu, "first", others=(ChosenDevice(cpu, "second"),))
    monkeypatch.setattr(model_cache, "choose_device", lambda _: pair)
    job = make_job(image, tiny_preset, "pair")
    models = model_cache.load_models(job, JobContext())
    batches = [limit(copy, lambda _: False) for copy in models.copies]
    spread, result = run(job)
    assert np.array_equal(spread, usual)
    assert all(batches), "both devices worked"
    assert models.copies[0].clip.module is not models.copies[1].clip.module
    assert result.provenance["device"] == "cpu (first), cpu (second)"


def test_a_device_that_fails_is_named(
    image: Path, tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = torch.device("cpu")
    pair = ChosenDevice(cpu, "first", others=(ChosenDevice(cpu, "second"),))
    monkeypatch.setattr(model_cache, "choose_device", lambda _: pair)
    job = make_job(image, tiny_preset, "pair")

    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    copy = model_cache.load_models(job, JobContext()).copies[1]
    copy.clip.module.visual.conv1.register_forward_pre_hook(fail)
    with pytest.raises(JobError, match="failed in the middle of the run") as caught:
        run(job)
    assert caught.value.code is ErrorCode.DEVICE_UNAVAILABLE
    assert not Path(job.task.scores).exists()


def test_cuda_all_needs_a_graphics_card() -> None:
    if torch.cuda.is_available():
        assert len(choose_device("cuda:all").all) == torch.cuda.device_count()
        return
    with pytest.raises(JobError, match="No NVIDIA graphics card") as caught:
        choose_device("cuda:all")
    assert caught.value.code is ErrorCode.DEVICE_UNAVAILABLE
