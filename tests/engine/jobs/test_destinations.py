"""What is refused before any work: devices, pipes, folders; what is told: styles of others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from geoseg_qgis.engine.jobs.destinations import check_destinations, report_foreign_styles
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.style import raster_style
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.reclassify import ReclassifyTask


def test_devices_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.tif"
    os.mkfifo(pipe)
    for path in (Path(os.devnull), pipe, tmp_path):
        with pytest.raises(JobError, match="exists and is not a file") as caught:
            check_destinations({"OUTPUT": str(path)}, "")
        assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE


@pytest.mark.parametrize(("own", "warnings"), [(True, 0), (False, 1)])
def test_a_style_of_somebody_else_is_reported(tmp_path: Path, own: bool, warnings: int) -> None:
    text = raster_style(parse_classes("road"))
    text = text if own else text.replace("<qgis ", '<qgis styleCategories="AllStyleCategories" ')
    (tmp_path / "photo.qml").write_text(text)
    context = JobContext()
    task = ReclassifyTask("0.5", class_raster=str(tmp_path / "photo.tif"))
    report_foreign_styles(Job(RasterSource("scores.tif"), task), context)
    assert len(context.warnings) == warnings
