"""Counts bright pixels."""

from __future__ import annotations

from pathlib import Path

import rasterio
from geoseg_qgis.protocol.tasks.brightness import BrightnessTask

from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.result import Result


def run(job: Job, context: JobContext) -> Result:
    """Do a ``brightness`` job."""
    task: BrightnessTask = job.task
    with rasterio.open(job.raster.uri) as dataset:
        count = int((dataset.read(1) > task.level).sum())
    if task.table is not None:
        Path(task.table).write_text(f"bright\n{count}\n", encoding="utf-8")
    context.progress(1.0, "Counting")
    return Result(job.outputs, {"BRIGHT_PIXELS": float(count)})
