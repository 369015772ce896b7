"""Model management: list presets, bring their files, verify them, take them away."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import astuple, fields
from datetime import datetime, timezone
from pathlib import Path

from geoseg_qgis.engine.files import draft
from geoseg_qgis.engine.hardware import release_memory
from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.memory import free_memory, required_memory
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.zoo.addresses import checked_address
from geoseg_qgis.engine.zoo.download import Delivery, DownloadOptions, bring_preset
from geoseg_qgis.engine.zoo.pace import megabytes
from geoseg_qgis.engine.zoo.registry import Preset, catalogue, model_folders, open_preset
from geoseg_qgis.engine.zoo.removal import remove_preset
from geoseg_qgis.engine.zoo.states import PresetState, preset_size, preset_state, verify_preset
from geoseg_qgis.protocol import PLUGIN_VERSION
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.result import ModelSummary, Result
from geoseg_qgis.protocol.tasks.models import ModelAction, ModelsTask

from .destinations import check_destinations

_READY = (PresetState.BUILT_IN, PresetState.INSTALLED)
_ORDER = list(PresetState)


def run(job: Job, context: JobContext) -> Result:
    """Do a ``models`` job.

    Files that can be had are brought even if others cannot; the run then ends with the first
    problem. Spoilt files are warnings of a verification, and counted.

    Raises:
        JobError: Whatever stands in the way, with the next step.
    """
    task = _task(job)
    files = {} if task.table is None else {"TABLE": task.table}
    if files:
        check_destinations(files, "Give a file for the table.")
    folders = model_folders([Path(task.folder).expanduser()] if task.folder else None)
    presets = _chosen(task, folders, context)
    numbers: dict[str, float] = {}
    if task.action is ModelAction.DOWNLOAD:
        numbers["FETCHED_MB"] = _download(task, presets, folders, context)
    elif task.action is ModelAction.VERIFY:
        numbers["DAMAGED_COUNT"] = _verify(task, presets, context)
    elif task.action is ModelAction.REMOVE:
        numbers["FREED_MB"] = _remove(presets, folders, context)
    chosen = {preset.card.name for preset in presets} if task.models else None
    summaries = _summaries(_reread(presets, folders), chosen, job.device)
    ready = sum(item.state in {state.value for state in _READY} for item in summaries)
    numbers |= {"MODEL_COUNT": float(len(summaries)), "INSTALLED_COUNT": float(ready)}
    if task.table is not None:
        with draft(Path(task.table)) as unfinished:
            unfinished.write_text(_table(summaries), encoding="utf-8", newline="")
    context.progress(1.0, "Done")
    provenance = {
        "software": f"GeoSeg for QGIS {PLUGIN_VERSION}",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model_folders": "; ".join(str(folder) for folder in folders),
        "job": json.dumps(job.to_json(), ensure_ascii=False),
    }
    return Result(files, numbers, (), tuple(context.warnings), provenance, summaries)


def _task(job: Job) -> ModelsTask:
    task = job.task
    if not isinstance(task, ModelsTask):
        raise JobError(
            ErrorCode.INVALID_JOB,
            "The job's task is not one of models.",
            "Write the members of a models task.",
        )
    if not task.models and task.action in (ModelAction.DOWNLOAD, ModelAction.REMOVE):
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"No model to {task.action.value} was named.",
            "Name one or several; the action list tells their names.",
        )
    if task.adopt_from and not Path(task.adopt_from).expanduser().is_dir():
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"There is no folder {task.adopt_from}.",
            "Give the folder that files were downloaded to as ADOPT_FROM.",
        )
    return task


def _chosen(task: ModelsTask, folders: Sequence[Path], context: JobContext) -> list[Preset]:
    """Return the presets that are meant, all of them when none is named."""
    if task.models:
        named = {name.strip(): open_preset(name.strip(), folders) for name in task.models}
        return list(named.values())
    found = catalogue(folders)
    for problem in found.problems:
        context.warn(str(problem))
    return list(found.presets.values())


def _reread(presets: Sequence[Preset], folders: Sequence[Path]) -> list[Preset]:
    """Return the presets with the folders their files lie in now."""
    found = catalogue(folders).presets
    return [
        found[one.card.name] if one.card.name in found and found[one.card.name].card == one.card
        else one
        for one in presets
    ]  # fmt: skip


def _download(
    task: ModelsTask, presets: Sequence[Preset], folders: Sequence[Path], context: JobContext
) -> float:
    adopt_from = Path(task.adopt_from).expanduser().resolve() if task.adopt_from else None
    options = DownloadOptions(tuple(folders), adopt_from, task.offline)
    problems: list[JobError] = []
    fetched = 0
    for number, preset in enumerate(presets):
        span = context.span(number / len(presets), (number + 1) / len(presets))
        delivery = bring_preset(preset, options, span)
        _tell_delivery(delivery, context)
        problems += delivery.problems
        fetched += delivery.fetched
    for problem in problems[1:]:
        context.warn(str(problem))
    if problems:
        raise problems[0]
    return fetched / 1e6


def _tell_delivery(delivery: Delivery, context: JobContext) -> None:
    card, folder = delivery.preset.card, delivery.preset.folder
    if delivery.problems:
        return
    if not delivery.brought:
        context.info(f"Every file of {card.name} is here already.")
        return
    came = f", {megabytes(delivery.fetched)} of it over the network" if delivery.fetched else ""
    context.info(f"{card.name} is ready in {folder}{came}. Its licence: {card.licence}.")


def _verify(task: ModelsTask, presets: Sequence[Preset], context: JobContext) -> float:
    damaged = 0
    for number, preset in enumerate(presets):
        state = preset_state(preset)
        name = preset.card.name
        if state is PresetState.MISSING:
            if task.models:
                context.warn(f"{name} is not on this computer. Download it first.")
            continue
        spoilt = 0
        span = context.span(number / len(presets), (number + 1) / len(presets))
        for weights, what in verify_preset(preset, span):
            path = preset.path(weights.file)
            context.warn(f"{path} {what}. Download {name} again to replace it.")
            spoilt += 1
        if not spoilt:
            lacking = " as far as it is here" if state is PresetState.PARTIAL else ""
            context.info(f"{name} is in order{lacking}.")
        damaged += spoilt > 0
    return float(damaged)


def _remove(presets: Sequence[Preset], folders: Sequence[Path], context: JobContext) -> float:
    release_memory()
    freed = 0
    going = {preset.card.name for preset in presets}
    staying = [
        preset for preset in catalogue(folders).presets.values() if preset.card.name not in going
    ]
    for preset in presets:
        removal = remove_preset(preset, staying, context)
        for sentence in removal.kept:
            context.warn(sentence)
        context.info(f"{preset.card.name}: {megabytes(removal.freed)} were freed.")
        freed += removal.freed
    return freed / 1e6


def _summaries(
    presets: Sequence[Preset], chosen: set[str] | None, device_name: str
) -> tuple[ModelSummary, ...]:
    device = choose_device(device_name).device
    free = free_memory(device)
    wanted = [preset for preset in presets if chosen is None or preset.card.name in chosen]
    summaries = []
    for preset in sorted(wanted, key=lambda one: (_ORDER.index(preset_state(one)), one.card.name)):
        methods = preset.card.methods
        needed = max(required_memory(preset, method, device.type) for method in methods)
        summaries.append(
            ModelSummary(
                name=preset.card.name,
                title=preset.card.title,
                licence=preset.card.licence,
                methods=preset.card.methods,
                size=preset_size(preset),
                state=preset_state(preset).value,
                memory=needed,
                fits=free is None or needed <= free,
                note=_note(preset),
            )
        )
    return tuple(summaries)


def _note(preset: Preset) -> str:
    """Return what else to know before a download."""
    missing = preset.missing_files()
    if not missing:
        return ""
    pages = dict.fromkeys(weights.gated for weights in missing if weights.gated)
    if pages:
        return f"Access is granted at {', '.join(pages)}."
    for weights in missing:
        try:
            checked_address(weights)
        except JobError as error:
            return f"{error.message} {error.hint}"
    return ""


def _table(summaries: Sequence[ModelSummary]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(ModelSummary)])
    for item in summaries:
        row = astuple(item)
        writer.writerow([" ".join(cell) if isinstance(cell, tuple) else cell for cell in row])
    return text.getvalue()
