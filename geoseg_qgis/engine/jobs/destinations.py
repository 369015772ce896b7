"""Checks of the files that a job writes, before any long work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from geoseg_qgis.engine.files import sweep_drafts
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.write import foreign_style
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job


def refuse_overwriting(job: Job) -> None:
    """Refuse a job that would write its results over a file that it reads.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE``.
    """
    sources = {os.path.realpath(layer.location) for layer in job.layers}
    for member in (getattr(job.task, item.name) for item in fields(job.task)):
        is_path = isinstance(member, str) and Path(member).is_absolute()
        if is_path and os.path.realpath(member) in sources:
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                f"{member} is read and cannot be written to by the same job.",
                "Choose another file for the result.",
            )


def refuse_special_file(path: Path) -> None:
    """Refuse a device, a pipe, a socket or a folder under the name of a result.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE``.
    """
    if path.exists() and not path.is_file():
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            f"{path} exists and is not a file.",
            "Choose another file for the result.",
        )


def report_foreign_styles(job: Job, context: JobContext) -> None:
    """Warn where a style of the user's own lies where that of a raster would go; it is kept."""
    for path in job.outputs.values():
        if Path(path).suffix.lower() not in (".tif", ".tiff"):
            continue
        style = foreign_style(Path(path))
        if style is not None:
            context.warn(
                f"{style.name} is a style of your own and is kept, so QGIS shows "
                f"{Path(path).name} with it. Give the result another name, or move the style."
            )


def check_destinations(named: Mapping[str, str], hint: str) -> None:
    """Refuse files that cannot be written.

    Args:
        named: Output name to path.
        hint: What to do when there is none.

    Raises:
        JobError: ``INVALID_JOB`` without any file or with one name twice, ``OUTPUT_UNWRITABLE``
            for a folder that is missing or may not be written.
    """
    paths = list(named.values())
    if not paths:
        raise JobError(ErrorCode.INVALID_JOB, "The job asks for no result.", hint)
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise JobError(
            ErrorCode.INVALID_JOB,
            "Two results have the same file name.",
            "Give every result a file of its own.",
        )
    for path in paths:
        refuse_special_file(Path(path))
        folder = Path(path).resolve().parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                f"The folder {folder} does not exist or may not be written.",
                "Choose another folder for the results.",
            )
        sweep_drafts(folder)
