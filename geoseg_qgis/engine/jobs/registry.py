"""From the kind of a job to the module of the same name that does it, imported when needed."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Protocol, cast

from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.zoo.registry import choose_method
from geoseg_qgis.protocol.job import Job, validate
from geoseg_qgis.protocol.methods import AUTO
from geoseg_qgis.protocol.registry import KINDS
from geoseg_qgis.protocol.result import Result

from .destinations import refuse_overwriting, report_foreign_styles


class JobModule(Protocol):
    """What each module of a job has."""

    def run(self, job: Job, context: JobContext) -> Result:
        """Do the job and return its result."""


def job_module(kind: str) -> JobModule:
    """Return the module that does jobs of a kind: ``engine/jobs/<kind>.py``."""
    return cast("JobModule", importlib.import_module(f".{kind}", __package__))


def _with_method(job: Job, context: JobContext) -> Job:
    """Return the job with the method that ``auto`` stands for."""
    if job.method != AUTO:
        return job
    methods = [name for name in KINDS[job.kind].methods() if name != AUTO]
    method = choose_method(job.model, methods)
    context.info(f"The method is {method}, which the model recommends.")
    return replace(job, method=method)


def run_job(job: Job, context: JobContext) -> Result:
    """Do ``job`` and return its result.

    Raises:
        JobError: What went wrong and what to do about it.
        CancelledError: When the user cancelled.
    """
    job = _with_method(validate(job), context)
    refuse_overwriting(job)
    report_foreign_styles(job, context)
    return job_module(job.kind).run(job, context)
