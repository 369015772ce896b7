"""Runs in the background on the real engine: layers, history, cancel, project and layer gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_runs import needs_engine, painted, write_raster
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QCoreApplication
from waiting import wait_until

from geoseg_qgis.gui.jobs.records import State
from geoseg_qgis.gui.jobs.runner import TEMPORARY, JobRunner

pytestmark = [*needs_engine, pytest.mark.usefixtures("warm_engine")]

WATER = (40, 70, 85)


@pytest.fixture
def image(qgis_new_project, tmp_path: Path) -> QgsRasterLayer:
    """A dark lake on grass, in the project."""
    picture = painted((160, 160), [(60, 140, 50, 150)], WATER, 1)
    layer = QgsRasterLayer(write_raster(tmp_path / "lake.tif", picture, 0.5), "lake")
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def runner(provider) -> Iterator[JobRunner]:
    """A runner that waits for its runs at the end."""
    made = JobRunner()
    yield made
    made.close()


def segmentation(image: QgsRasterLayer, **more: object) -> dict[str, object]:
    return {"INPUT": image.id(), "CLASSES": "water", "METHOD": "fast", **more}


def wait_for_end(runner: JobRunner, number: int) -> None:
    ended = wait_until(
        lambda: runner.jobs.get(number).state.ended, 240.0, QCoreApplication.processEvents
    )
    assert ended


def test_a_run_loads_layers_and_stands_in_the_history(runner, image, tmp_path) -> None:
    outputs = {"OUTPUT": str(tmp_path / "water.tif"), "POLYGONS": TEMPORARY}
    number = runner.start("geoseg:openvocabulary", segmentation(image, **outputs))
    wait_for_end(runner, number)
    job = runner.jobs.get(number)
    assert job.state is State.FINISHED, job.log
    assert job.outputs["CLASSES_FOUND"] == 1
    assert job.folder == tmp_path
    assert len(QgsProject.instance().mapLayers()) == 3
    assert "processing.run(" in job.python_command
    assert "'CLASSES':'water'" in job.python_command.replace('"', "'").replace(": '", ":'")
    assert "water.tif" in job.python_command
    assert any("of the area" in text for _level, text in job.log)


def test_a_run_can_be_repeated(runner, image) -> None:
    number = runner.start("geoseg:openvocabulary", segmentation(image, OUTPUT=TEMPORARY))
    wait_for_end(runner, number)
    again = runner.repeat(number)
    wait_for_end(runner, again)
    assert (
        runner.jobs.get(again).outputs["CLASS_AREAS"]
        == (runner.jobs.get(number).outputs["CLASS_AREAS"])
    )
    QgsProject.instance().removeMapLayer(image.id())
    assert runner.repeat(number) is None
    assert runner.jobs.get(number).error != ""


def test_a_cancel_ends_a_run_and_loads_nothing(runner, image, tmp_path) -> None:
    # So large that the run is far from its end when its first progress is seen.
    picture = painted((2400, 2400), [(60, 1400, 50, 1500)], WATER, 1)
    image.setDataSource(write_raster(tmp_path / "large.tif", picture, 0.5), "lake", "gdal")
    number = runner.start("geoseg:openvocabulary", segmentation(image, OUTPUT=TEMPORARY))
    job = runner.jobs.get(number)
    started = wait_until(lambda: job.fraction > 0.0, meanwhile=QCoreApplication.processEvents)
    assert started
    runner.cancel(number)
    wait_for_end(runner, number)
    assert runner.jobs.get(number).state is State.CANCELLED
    assert list(QgsProject.instance().mapLayers()) == [image.id()]


def test_a_closed_project_gets_no_layers(runner, image, tmp_path) -> None:
    outputs = {"OUTPUT": str(tmp_path / "water.tif")}
    number = runner.start("geoseg:openvocabulary", segmentation(image, **outputs))
    QgsProject.instance().clear()
    wait_for_end(runner, number)
    job = runner.jobs.get(number)
    assert job.state is State.FINISHED, job.log
    assert (tmp_path / "water.tif").is_file()
    assert QgsProject.instance().mapLayers() == {}
    assert "The project was closed" in job.warnings[-1]


def test_a_removed_layer_does_not_stop_its_run(runner, image) -> None:
    number = runner.start("geoseg:openvocabulary", segmentation(image, OUTPUT=TEMPORARY))
    QgsProject.instance().removeMapLayer(image.id())
    wait_for_end(runner, number)
    assert runner.jobs.get(number).state is State.FINISHED, runner.jobs.get(number).log
    assert len(QgsProject.instance().mapLayers()) == 1


def test_what_cannot_run_is_said_before(runner, image) -> None:
    assert runner.check("geoseg:openvocabulary", segmentation(image, OUTPUT=TEMPORARY)) == ""
    nothing = runner.check("geoseg:openvocabulary", segmentation(image))
    assert "The run would write nothing." in nothing
    assert "geoseg:nothing" in runner.check("geoseg:nothing", {})


def test_a_preview_is_neither_listed_nor_loaded(runner, image) -> None:
    ends: list[tuple[bool, dict[str, object]]] = []
    runner.start(
        "geoseg:openvocabulary",
        segmentation(image, SCORES=TEMPORARY),
        ended=lambda fine, results: ends.append((fine, results)),
        listed=False,
    )
    assert wait_until(lambda: bool(ends), meanwhile=QCoreApplication.processEvents)
    ((fine, results),) = ends
    assert fine
    assert Path(results["SCORES"]).is_file()
    assert len(runner.jobs) == 0
    assert list(QgsProject.instance().mapLayers()) == [image.id()]


def test_closing_stops_everything(provider, image) -> None:
    runner = JobRunner()
    for _ in range(3):
        runner.start("geoseg:openvocabulary", segmentation(image, OUTPUT=TEMPORARY))
    runner.close()
    assert QgsApplication.taskManager().countActiveTasks() == 0
