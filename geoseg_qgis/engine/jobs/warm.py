"""Models that stay in memory between jobs."""

from __future__ import annotations

from ...protocol.job import Job
from ..hardware import on_release
from ..models.device import choose_device
from ..models.preset import LoadedPreset, PresetShelf
from ..zoo.registry import choose_preset
from .context import JobContext

_shelf = PresetShelf()
on_release(_shelf.release)


def warm_models(job: Job, context: JobContext) -> LoadedPreset:
    """Return the networks of the job's preset on the job's device, and say which device it is.

    Raises:
        JobError: ``MODEL_MISSING``, ``MODEL_INVALID`` or ``DEVICE_UNAVAILABLE``.
    """
    preset = choose_preset(job.model, job.method)
    device = choose_device(job.device)
    context.info(f"{preset.card.title} runs on {device.name}.")
    if device.note:
        context.warn(device.note)
    return _shelf.take(preset, device)
