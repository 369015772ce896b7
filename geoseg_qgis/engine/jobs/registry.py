"""From the kind of a job to the module that does it, imported when first needed."""

from __future__ import annotations

import importlib

from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.job import Job, JobKind
from geoseg_qgis.protocol.result import Result

from .destinations import refuse_overwriting

_MODULES: dict[JobKind, str] = {
    JobKind.OPEN_VOCABULARY: "openvocabulary",
    JobKind.REFER: "refer",
    JobKind.PROMPTS: "prompts",
    JobKind.ASSESS: "assess",
    JobKind.RECLASSIFY: "reclassify",
    JobKind.EVALUATE: "evaluate",
    JobKind.MODELS: "models",
}


def run_job(job: Job, context: JobContext) -> Result:
    """Do ``job`` and return its result.

    Raises:
        JobError: What went wrong and what to do about it.
        CancelledError: When the user cancelled.
    """
    refuse_overwriting(job)
    module = importlib.import_module(f".{_MODULES[job.kind]}", __package__)
    result: Result = module.run(job, context)
    return result
