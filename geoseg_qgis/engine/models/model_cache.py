"""Models that stay in memory between jobs."""

from __future__ import annotations

from functools import partial

from geoseg_qgis.engine.hardware import on_release
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.zoo.registry import Preset, catalogue, choose_preset
from geoseg_qgis.protocol.job import Job

from .device import ChosenDevice, choose_device
from .memory import estimate_memory, fits, free_memory, largest_fitting, surely_fits
from .oom_fallback import OutOfMemoryFallback
from .preset import LoadedPreset, PresetShelf

_GIGABYTE = 1e9

_shelf = PresetShelf()
on_release(_shelf.release)


def warm_models(job: Job, context: JobContext) -> LoadedPreset:
    """Return the networks of the job's preset on the job's device, and say which device it is.

    A preset that the device has no room for is told of before it is loaded; it runs all the same.

    Raises:
        JobError: ``MODEL_MISSING``, ``MODEL_INVALID`` or ``DEVICE_UNAVAILABLE``.
    """
    preset = choose_preset(job.model, job.method)
    device = choose_device(job.device)
    context.info(f"{preset.card.title} runs on {device.title}.")
    if device.note:
        context.warn(device.note)
    models = _shelf.take(preset, device)
    if not models.loaded():
        sentence = tight_memory(preset, device, job.method)
        if sentence:
            context.warn(sentence)
    return models


def tight_memory(preset: Preset, device: ChosenDevice, method: str, free: int | None = None) -> str:
    """Return a sentence when a preset will not fit into a device's memory; empty when it will.

    Args:
        preset: What is to be loaded.
        device: Where.
        method: Static method name.
        free: Free bytes of the device; asked for when None.
    """
    free = free_memory(device.device) if free is None else free
    if free is None or surely_fits(preset.card, free):
        return ""
    estimate = estimate_memory(preset.card, device.device, method=method, folder=preset.folder)
    if fits(estimate, device.device, free):
        return ""
    smaller = largest_fitting(catalogue().presets.values(), device.device, method, free)
    advice = "Choose a smaller extent or another device"
    if smaller is not None:
        advice = f"Choose the model {smaller.card.name}, which fits"
    return (
        f"{preset.card.title} needs about {estimate.total / _GIGABYTE:.1f} GB of memory, but "
        f"{device.name} has {free / _GIGABYTE:.1f} GB left, so the run may be slow or fail. "
        f"{advice}."
    )


def out_of_memory_fallback(
    models: LoadedPreset, context: JobContext, *needed: str
) -> OutOfMemoryFallback:
    """Return what a stage does when the device's memory runs out.

    Args:
        models: The preset on the device.
        context: Told when the results may change.
        needed: Components that the stage computes with; the others may be dropped.
    """
    return OutOfMemoryFallback(
        models.device.device, drop=partial(models.drop_all_but, *needed), tell=context.warn
    )
