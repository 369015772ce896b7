"""Model management: presets are listed, downloaded, verified and removed."""

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
from geoseg_qgis.engine.zoo.download import DownloadOptions, Installation, install_preset
from geoseg_qgis.engine.zoo.installed import (
    PresetState,
    preset_size,
    preset_state,
    remove_preset,
    verify_preset,
)
from geoseg_qgis.engine.zoo.registry import Preset, catalogue, model_folders, open_preset
from geoseg_qgis.engine.zoo.transfer_progress import megabytes
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

    Files that can be had are downloaded even if others cannot; the run then ends with the first
    problem. A verification counts damaged models and warns of each damaged file.

    Raises:
        JobError: What prevents the job, with the next step.
    """
    task: ModelsTask = job.task
    _check_folder(task)
    files = job.outputs
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


def _check_folder(task: ModelsTask) -> None:
    if task.adopt_from and not Path(task.adopt_from).expanduser().is_dir():
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"There is no folder {task.adopt_from}.",
            "Choose the folder that you downloaded files to.",
        )


def _chosen(task: ModelsTask, folders: Sequence[Path], context: JobContext) -> list[Preset]:
    """Return the named presets, or all of them when none is named."""
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
    downloaded = 0
    for number, preset in enumerate(presets):
        span = context.span(number / len(presets), (number + 1) / len(presets))
        result = install_preset(preset, options, span)
        if not result.problems:
            context.info(_installed(result))
        problems += result.problems
        downloaded += result.downloaded
    for problem in problems[1:]:
        context.warn(str(problem))
    if problems:
        raise problems[0]
    return downloaded / 1e6


def _installed(result: Installation) -> str:
    card = result.preset.card
    if not result.installed:
        return f"Every file of {card.name} is here already."
    downloaded = f" ({megabytes(result.downloaded)} downloaded)" if result.downloaded else ""
    return f"{card.name} is ready in {result.preset.folder}{downloaded}. Licence: {card.licence}."


def _verify(task: ModelsTask, presets: Sequence[Preset], context: JobContext) -> float:
    damaged = 0
    for number, preset in enumerate(presets):
        state = preset_state(preset)
        name = preset.card.name
        if state is PresetState.MISSING:
            if task.models:
                context.warn(f"{name} is not on this computer. Download it first.")
            continue
        files = 0
        span = context.span(number / len(presets), (number + 1) / len(presets))
        for weights, what in verify_preset(preset, span):
            path = preset.path(weights.file)
            context.warn(f"{path} {what}. Download {name} again to replace it.")
            files += 1
        if not files:
            missing = ", but files are missing" if state is PresetState.PARTIAL else ""
            context.info(f"{name} is in order{missing}.")
        damaged += files > 0
    return float(damaged)


def _remove(presets: Sequence[Preset], folders: Sequence[Path], context: JobContext) -> float:
    release_memory()
    freed = 0
    names = {preset.card.name for preset in presets}
    others = [one for one in catalogue(folders).presets.values() if one.card.name not in names]
    for preset in presets:
        removal = remove_preset(preset, others, context)
        for sentence in removal.kept:
            context.warn(sentence)
        context.info(f"{preset.card.name} was removed; {megabytes(removal.freed)} were freed.")
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
