"""The page Find with mouse and keys, on the real engine and the built-in models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dock_window import DockWindow
from engine_runs import needs_engine
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtTest import QTest
from waiting import wait_until

from geoseg_qgis.gui.context import WHOLE_LAYER
from geoseg_qgis.gui.face import Face
from geoseg_qgis.gui.find.page import FindPage
from geoseg_qgis.gui.jobs.records import State

pytestmark = needs_engine


def wait(condition) -> bool:
    return wait_until(condition, 240.0, QCoreApplication.processEvents)


@pytest.fixture
def face(provider, window: DockWindow, lake: QgsRasterLayer) -> Iterator[Face]:
    """The dock, open on Find, with the lake on the map."""
    window.show(lake)
    made = Face(window)
    made.find()
    assert made.context.image() is lake
    yield made
    made.close()


def preview(page: FindPage, text: str) -> None:
    """Type and press Enter, and wait for the preview."""
    page.text.clear()
    QTest.keyClicks(page.text, text)
    QTest.keyClick(page.text, Qt.Key.Key_Escape)
    QTest.keyClick(page.text, Qt.Key.Key_Return)
    assert page.preview.running, page.message.text()
    assert wait(lambda: not page.preview.running)
    assert page.preview.has_scores, page.message.text()


def coloured(page: FindPage) -> int:
    """Return how many pixels of the preview are painted."""
    image = page.preview.overlay.image()
    return sum(
        1
        for row in range(image.height())
        for column in range(image.width())
        if image.pixelColor(column, row).alpha()
    )


def test_a_preview_follows_its_thresholds(face: Face) -> None:
    page = face.dock.find
    preview(page, "water; grass")
    assert [item.name for item in page.rows.classes()] == ["water", "grass"]
    assert page.preview.overlay.image().width() == 160
    everything = coloured(page)
    assert everything > 5000
    water = page.rows.sliders[0]
    water.setFocus()
    QTest.keyClick(water, Qt.Key.Key_End)
    assert wait(lambda: coloured(page) < everything)
    without_water = coloured(page)
    page.rows.sliders[1].setValue(100)
    assert wait(lambda: coloured(page) < without_water)
    least = coloured(page)
    page.rows.sliders[0].setValue(0)
    assert wait(lambda: coloured(page) > least + 1000)
    assert "(about" in page.run_button.text()


def test_a_run_gives_what_the_preview_showed(face: Face) -> None:
    page = face.dock.find
    face.context.set_area_kind(WHOLE_LAYER)
    preview(page, "water; grass")
    thresholds = [0.0, 0.3]
    for slider, threshold in zip(page.rows.sliders, thresholds):
        slider.setValue(round(100 * threshold))
    assert wait(lambda: page.rows.thresholds() == thresholds)
    shown = page.preview.scores.picture(["#ff0000", "#00ff00"], thresholds)
    QTest.mouseClick(page.run_button, Qt.MouseButton.LeftButton)
    jobs = face.runner.jobs
    assert wait(lambda: len(jobs) == 2 and not jobs.running)
    assert [job.algorithm for job in jobs] == ["geoseg:reclassify", "geoseg:openvocabulary"]
    assert all(job.state is State.FINISHED for job in jobs), [job.log for job in jobs]
    result = QgsRasterLayer(next(iter(jobs)).outputs["OUTPUT"], "result")
    block = result.dataProvider().block(1, result.extent(), 160, 160)
    labels = {0: 0, 1: 0, 2: 0}
    for row in range(0, 160, 3):
        for column in range(0, 160, 3):
            value = 0 if block.isNoData(row, column) else int(block.value(row, column))
            color = shown.pixelColor(column, row)
            painted = 0 if color.alpha() == 0 else 1 if color.red() else 2
            assert painted == value, (row, column)
            labels[value] += 1
    assert labels[1] > 50
    # The results become active layers, but they are no imagery.
    for layer in QgsProject.instance().mapLayers().values():
        face.context.iface.setActiveLayer(layer)
        QCoreApplication.processEvents()
    assert face.context.image().name() == "lake"
    assert len(QgsProject.instance().mapLayers()) == 4


def test_a_sentence_goes_to_refer(face: Face) -> None:
    page = face.dock.find
    preview(page, "all the water")
    assert len(page.rows.sliders) == 1
    assert page.rows.thresholds() == [0.5]
    (step,) = page.steps()
    assert step[0] == "geoseg:refer"
    assert step[1]["INSTRUCTION"] == "all the water"
    page.rows.sliders[0].setValue(0)
    assert wait(lambda: coloured(page) == 160 * 160)


def test_commands_can_be_copied(face: Face) -> None:
    page = face.dock.find
    QTest.keyClicks(page.text, "water; grass")
    page.start_preview()
    page.preview.cancel()
    page.rows.sliders[1].setValue(40)
    page.copy_python()
    text = QgsApplication.clipboard().text()
    assert text.count("processing.run(") == 2
    page.copy_process()
    lines = QgsApplication.clipboard().text().splitlines()
    assert lines[0].startswith("qgis_process run geoseg:openvocabulary -- INPUT=/")
    assert "THRESHOLDS=water: 0; grass: 0.4" in lines[1]


def test_a_run_is_cancelled_from_the_dock(face: Face) -> None:
    page = face.dock.find
    QTest.keyClicks(page.text, "water; grass; building; road")
    QTest.mouseClick(page.run_button, Qt.MouseButton.LeftButton)
    assert face.dock.tabs.currentWidget() is face.dock.jobs
    (record,) = face.runner.jobs
    row = face.dock.jobs.rows[record.number]
    assert row.cancel.isVisible()
    assert face.dock.tabs.tabText(face.dock.tabs.indexOf(face.dock.jobs)) == "Jobs (1)"
    QTest.mouseClick(row.cancel, Qt.MouseButton.LeftButton)
    assert wait(lambda: record.state.ended)
    assert record.state is State.CANCELLED
    assert "Cancelled" in row.status.text()
    assert not row.cancel.isVisible()
    QTest.mouseClick(row.again, Qt.MouseButton.LeftButton)
    assert wait(lambda: not face.runner.jobs.running)
    assert [job.state for job in face.runner.jobs] == [State.FINISHED, State.CANCELLED]


def test_devices_and_models_are_shown(face: Face) -> None:
    assert wait(lambda: bool(face.dock.state.models))
    assert face.dock.device.text()
    names = [face.dock.model.list.itemData(row) for row in range(face.dock.model.list.count())]
    assert "offline-small" in names
    assert "gumix-paper" in names
    picker = face.dock.model
    picker.set_current("gumix-paper")
    assert picker.download.isVisible()
    assert "Download now (" in picker.download.text()
    # What has to be downloaded is not used before.
    assert face.context.model() == ""
    picker.set_current("offline-small")
    assert not picker.download.isVisible()
    assert face.context.model() == "offline-small"
    assert len(face.runner.jobs) == 0
