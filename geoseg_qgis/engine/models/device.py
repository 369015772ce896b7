"""The device a job runs on, tested by a computation before anything is loaded on it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from geoseg_qgis.engine.hardware import system_memory
from geoseg_qgis.protocol.errors import ErrorCode, JobError

# With glibc, freed pages go back to the system after every batch and come back zeroed: the SAM 2
# decoder takes about 1.8 times as long. Environment variables of the engine's process.
MALLOC_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}

# Without these settings glibc returns larger blocks to the system when they are freed.
_LARGEST_REUSED = 32 * 1024 * 1024
_SIDE = 64
_TRAINED_IN_BFLOAT16 = ("unigeoseg", "sam3", "language")

ALL_CUDA = "cuda:all"


@dataclass(frozen=True)
class ChosenDevice:
    """A device that passed the test computation.

    Attributes:
        device: The torch device.
        name: Its name for people.
        memory: Its memory in bytes, None when it shares main memory.
        note: Which accelerators were left out, and why; empty without any.
        others: Further devices that share the work, each with its own copy of the networks.
    """

    device: torch.device
    name: str
    memory: int | None = None
    note: str = ""
    others: tuple[ChosenDevice, ...] = ()

    @property
    def all(self) -> tuple[ChosenDevice, ...]:
        """This device and the further ones."""
        return (self, *self.others)

    @property
    def title(self) -> str:
        """The names of all devices, for people."""
        return " and ".join(each.name for each in self.all)

    @property
    def kind(self) -> str:
        """``cuda``, ``mps`` or ``cpu``."""
        return self.device.type


def choose_device(name: str = "auto") -> ChosenDevice:
    """Return the device to run on.

    Args:
        name: ``auto``, ``cuda``, ``cuda:1``, ``cuda:all`` (all NVIDIA cards share the windows),
            ``mps`` or ``cpu``.

    Raises:
        JobError: ``DEVICE_UNAVAILABLE`` when the device is missing or fails the test;
            ``INVALID_JOB`` when there is no device of that name.
    """
    if name == "auto":
        return _choose_automatically()
    if name == ALL_CUDA:
        return _choose_all_cuda()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cuda", "mps", "cpu"):
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"There is no device called {name!r}.",
            "Use auto, cuda, cuda:1, cuda:all, mps or cpu.",
        )
    reason = _absence(device) or device_problem(device)
    if reason:
        raise JobError(
            ErrorCode.DEVICE_UNAVAILABLE,
            f"The device {name} cannot be used: {reason}.",
            "Choose the device auto or cpu, or repair the engine with a build for this device.",
        )
    return _described(device)


def available_devices() -> tuple[str, ...]:
    """Return the names of this computer's devices, ``cpu`` last."""
    names = [f"cuda:{index}" for index in range(_cuda_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return (*names, "cpu")


def list_devices() -> list[dict[str, Any]]:
    """Return the devices of this computer, the best first, the processor last.

    Each has ``device`` (what a job names), ``name``, ``total`` and ``free`` (bytes, None where
    unknown) and ``problem`` (empty, or why it cannot be used).
    """
    devices = []
    for device in available_devices():
        name, (total, free) = processor_name(), system_memory()
        problem = device_problem(torch.device(device))
        if device.startswith("cuda"):
            name = torch.cuda.get_device_name(device)
            free, total = (None, None) if problem else torch.cuda.mem_get_info(device)
        elif device == "mps":
            name = "Apple graphics"
        entry = {"device": device, "name": name, "total": total, "free": free, "problem": problem}
        devices.append(entry)
    return devices


def _choose_automatically() -> ChosenDevice:
    note = ""
    for name in available_devices():
        device = torch.device(name)
        reason = device_problem(device)
        if not reason:
            return _described(device, note)
        note = f"{name} was left out: {reason}."
    raise JobError(
        ErrorCode.DEVICE_UNAVAILABLE,
        "No device of this computer computes correctly.",
        "Repair the engine's environment.",
        note,
    )


def _choose_all_cuda() -> ChosenDevice:
    cards, notes = [], []
    for name in available_devices():
        device = torch.device(name)
        if device.type != "cuda":
            continue
        reason = device_problem(device)
        if reason:
            notes.append(f"{name} was left out: {reason}.")
        else:
            cards.append(_described(device))
    if not cards:
        raise JobError(
            ErrorCode.DEVICE_UNAVAILABLE,
            "No NVIDIA graphics card can be used by the engine.",
            "Choose the device auto or cpu, or repair the engine with a build for this device.",
            " ".join(notes),
        )
    return replace(cards[0], note=" ".join(notes), others=tuple(cards[1:]))


def _cuda_count() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _absence(device: torch.device) -> str:
    if device.type == "cuda" and (device.index or 0) >= _cuda_count():
        return "no such NVIDIA graphics card is visible to the engine"
    if device.type == "mps" and not torch.backends.mps.is_available():
        return "this computer has no Apple graphics processor that the engine can use"
    return ""


def device_problem(device: torch.device) -> str:
    """Return why the device cannot be used; empty when it computes correctly.

    A small matrix product and a convolution are computed and their results checked.
    """
    try:
        ones = torch.ones(_SIDE, _SIDE, device=device)
        product = float((ones @ ones).sum())
        kernel = torch.ones(1, 1, 3, 3, device=device)
        filtered = float(torch.nn.functional.conv2d(ones[None, None], kernel).sum())
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    if product != _SIDE**3 or filtered != 9 * (_SIDE - 2) ** 2:
        return "a test computation gave a wrong result"
    return ""


def _described(device: torch.device, note: str = "") -> ChosenDevice:
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        return ChosenDevice(device, facts.name, facts.total_memory, note)
    if device.type == "mps":
        return ChosenDevice(device, f"Apple {platform.machine()} graphics", None, note)
    return ChosenDevice(device, processor_name(), None, note)


def processor_name() -> str:
    """Return the processor's model and the threads that torch uses on it."""
    threads = torch.get_num_threads()
    return f"{_processor_model()}, {threads} thread{'s' if threads > 1 else ''}"


def _processor_model() -> str:
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        facts = ""
    for line in facts.splitlines():
        label, _, value = line.partition(":")
        if label.strip() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine() or "processor"


def default_dtype(device: torch.device, component: str) -> torch.dtype:
    """Return the number format that a component computes in by default.

    On accelerators: float16 for CLIP and SAM 2 and float32 for DINOv3, as in the code of the
    GUMix-RS paper; for UniGeoSeg, SAM 3 and language models the bfloat16 they were trained in,
    where the device has it. On processors: float32.
    """
    if device.type == "cpu" or component == "dino":
        return torch.float32
    if component in _TRAINED_IN_BFLOAT16 and device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16


def prompts_per_batch(device: torch.device, prompt_bytes: int) -> int:
    """Return how many prompts the mask decoder takes in a batch on a device.

    On a processor a batch stays so small that glibc reuses the pages of its largest tensor.

    Args:
        device: Device of the decoder.
        prompt_bytes: Size of its largest tensor for one prompt.
    """
    if device.type != "cpu":
        return 64
    tuned = all(name in os.environ for name in MALLOC_SETTINGS)
    fitting = _LARGEST_REUSED // prompt_bytes
    return max(8 if tuned else 1, min(fitting, 16))


def windows_per_batch(device: torch.device) -> int:
    """Return how many windows of an image the encoders take in a batch on a device."""
    return 4 if device.type == "cpu" else 16
