"""The same job from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from geoseg_qgis.engine.arguments import add_job_commands, job_from_arguments
from geoseg_qgis.protocol.errors import JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.polygons import PolygonOptions
from geoseg_qgis.protocol.source import VectorSource
from geoseg_qgis.protocol.tasks.prompts import PromptsTask


def parse(*arguments: str) -> Job:
    parser = argparse.ArgumentParser()
    add_job_commands(parser.add_subparsers(dest="command"))
    return job_from_arguments(parser.parse_args(arguments))


def test_arguments_make_the_job(tmp_path: Path) -> None:
    job = parse(
        "prompts", "--input", "image.tif", "--prompts", "clicks.gpkg", "--prompts-layer", "p",
        "--label-field", "on", "--group-field", "house", "--threshold", "0.4",
        "--minimum-score", "0.2", "--polygons", str(tmp_path / "o.gpkg"),
        "--simplify", "2", "--right-angles", "yes", "--extent", "1", "2", "3", "4",
    )  # fmt: skip
    assert job.kind == "prompts"
    assert (job.method, job.model, job.device) == ("auto", "", "auto")
    assert isinstance(job.task, PromptsTask)
    assert job.task.prompts == VectorSource("clicks.gpkg", "p", name="clicks")
    assert (job.task.label_field, job.task.group_field) == ("on", "house")
    assert (job.task.threshold, job.task.minimum_score) == (0.4, 0.2)
    assert job.task.polygons == PolygonOptions(simplify=2.0, right_angles=("yes",))
    assert job.task.polygon_file == str(tmp_path / "o.gpkg")
    assert job.task.mask_raster is None
    assert Job.from_json(job.to_json()) == job


def test_a_job_without_results_is_refused() -> None:
    with pytest.raises(JobError, match="write nothing") as caught:
        parse("prompts", "--input", "image.tif", "--prompts", "clicks.gpkg")
    assert caught.value.hint == "Give --polygons or --output."
