"""Networks that stay loaded between jobs."""

from __future__ import annotations

from functools import partial

from geoseg_qgis.engine.hardware import on_release
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.zoo.registry import Preset, catalogue, choose_preset
from geoseg_qgis.protocol.job import Job

from .device import ChosenDevice, choose_device
from .memory import free_memory, largest_fitting, required_memory
from .oom_fallback import OutOfMemoryFallback
from .preset import LoadedPreset, PresetCache

_GIGABYTE = 1e9

_cache = PresetCache()
on_release(_cache.release)


def load_models(job: Job, context: JobContext) -> LoadedPreset:
    """Return the networks of the job's preset on the job's device; report which device it is.

    The networks are those of the job before when preset and device are the same. A preset that is
    too large for the device's free memory gets a warning and runs all the same.

    Raises:
        JobError: ``MODEL_MISSING``, ``MODEL_INVALID`` or ``DEVICE_UNAVAILABLE``.
    """
    preset = choose_preset(job.model, job.method)
    device = choose_device(job.device)
    context.info(f"{preset.card.title} runs on {device.title}.")
    if device.note:
        context.warn(device.note)
    models = _cache.get(preset, device)
    if not models.loaded():
        warning = memory_warning(preset, device, job.method)
        if warning:
            context.warn(warning)
    return models


def memory_warning(
    preset: Preset, device: ChosenDevice, method: str, free: int | None = None
) -> str:
    """Return a warning when a preset will not fit into a device's memory; empty when it will.

    Args:
        preset: The preset to load.
        device: The device to load it on.
        method: Static method name.
        free: Free bytes of the device; None asks the device.
    """
    free = free_memory(device.device) if free is None else free
    needed = required_memory(preset, method, device.kind)
    if free is None or needed <= free:
        return ""
    smaller = largest_fitting(catalogue().presets.values(), method, device.kind, free)
    advice = "Choose a smaller extent or another device"
    if smaller is not None:
        advice = f"Choose the model {smaller.card.name}, which fits"
    return (
        f"{preset.card.title} needs about {needed / _GIGABYTE:.1f} GB of memory, but "
        f"{device.name} has {free / _GIGABYTE:.1f} GB left, so the run may be slow or fail. "
        f"{advice}."
    )


def out_of_memory_fallback(
    models: LoadedPreset, context: JobContext, *needed: str
) -> OutOfMemoryFallback:
    """Return what a stage does when the device's memory runs out.

    Args:
        models: The preset on the device.
        context: Gets a warning when the results may change.
        needed: Components that the stage computes with; the others may be unloaded.
    """
    return OutOfMemoryFallback(
        models.device.device, unload=partial(models.unload_all_but, *needed), warn=context.warn
    )
