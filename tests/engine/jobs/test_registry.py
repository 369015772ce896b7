"""Each kind of job is done by the module of the same name."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest

from geoseg_qgis.engine.jobs.registry import job_module
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.registry import KINDS
from geoseg_qgis.protocol.result import Result


@pytest.mark.parametrize("kind", KINDS)
def test_the_module_of_a_kind_runs_its_jobs(kind: str) -> None:
    run = job_module(kind).run
    assert list(inspect.signature(run).parameters) == ["job", "context"]
    assert get_type_hints(run) == {"job": Job, "context": JobContext, "return": Result}
