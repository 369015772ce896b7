"""Clients on the engine that runs these tests, each with a log of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoseg_qgis.engine_client import EngineClient, EngineLocation
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.reclassify import ReclassifyTask


@pytest.fixture
def location() -> EngineLocation:
    return EngineLocation(sys.executable, "setting")


@pytest.fixture
def client(location: EngineLocation, tmp_path: Path) -> Iterator[EngineClient]:
    client = EngineClient(location, tmp_path / "engine.log", silence_limit=30.0, drain_limit=1.0)
    yield client
    client.close()


@pytest.fixture
def invalid_job() -> Job:
    """A job that the engine refuses at once, before it imports anything heavy."""
    return Job(RasterSource("scores.tif"), ReclassifyTask(5))  # type: ignore[arg-type]


@pytest.fixture
def plain_job(tmp_path: Path) -> Job:
    """A job in good form."""
    source = RasterSource(str(tmp_path / "missing.tif"))
    task = ReclassifyTask("0.5", class_raster=str(tmp_path / "classes.tif"))
    return Job(source, task)
