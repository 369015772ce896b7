import pytest
import torch

from geoseg_qgis.engine.models import device as device_module
from geoseg_qgis.engine.models.device import (
    MALLOC_SETTINGS,
    available_devices,
    choose_device,
    default_dtype,
    prompts_per_batch,
)
from geoseg_qgis.protocol.errors import ErrorCode, JobError


def test_the_processor_is_always_there_and_named() -> None:
    chosen = choose_device("cpu")
    assert chosen.kind == "cpu"
    assert chosen.device == torch.device("cpu")
    assert f", {torch.get_num_threads()} thread" in chosen.name
    assert chosen.note == ""
    assert available_devices()[-1] == "cpu"


def test_auto_takes_the_first_device_that_computes() -> None:
    assert str(choose_device("auto").device) == available_devices()[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="an NVIDIA graphics card is there")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_an_absent_graphics_card_is_an_error_and_no_fallback(name: str) -> None:
    with pytest.raises(JobError) as caught:
        choose_device(name)
    assert caught.value.code is ErrorCode.DEVICE_UNAVAILABLE
    assert caught.value.message == (
        f"The device {name} cannot be used: no such NVIDIA graphics card is visible to the engine."
    )
    assert "auto or cpu" in caught.value.hint


@pytest.mark.skipif(
    torch.backends.mps.is_available(), reason="an Apple graphics processor is there"
)
def test_an_absent_apple_processor_is_an_error() -> None:
    with pytest.raises(JobError) as caught:
        choose_device("mps")
    assert caught.value.code is ErrorCode.DEVICE_UNAVAILABLE


@pytest.mark.parametrize("name", ["gpu", "", "meta", "cuda:x"])
def test_a_name_of_no_device_is_refused(name: str) -> None:
    with pytest.raises(JobError) as caught:
        choose_device(name)
    assert caught.value.code is ErrorCode.INVALID_JOB


def test_auto_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that is listed but cannot compute must neither be used nor be passed over silently."""
    monkeypatch.setattr(device_module, "available_devices", lambda: ("meta", "cpu"))
    chosen = choose_device("auto")
    assert chosen.kind == "cpu"
    assert chosen.note.startswith("meta was left out: ")


def test_number_formats() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert {default_dtype(cpu, name) for name in ("clip", "dino", "sam2")} == {torch.float32}
    assert default_dtype(cuda, "clip") == torch.float16
    assert default_dtype(cuda, "dino") == torch.float32


def test_batches_are_small_on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MALLOC_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    cpu, tiny, full = torch.device("cpu"), 16 * 128**2 * 4, 32 * 256**2 * 4
    assert [prompts_per_batch(cpu, size) for size in (tiny, full, 10**9)] == [16, 4, 1]
    assert prompts_per_batch(torch.device("cuda"), full) == 64
    for name, value in MALLOC_SETTINGS.items():
        monkeypatch.setenv(name, value)
    assert [prompts_per_batch(cpu, size) for size in (tiny, full)] == [16, 8]
