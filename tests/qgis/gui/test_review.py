"""The review walk with mouse and keys, on layers as an assessment writes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dock_window import DockWindow
from qgis.core import (
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtTest import QTest
from waiting import wait_until

from geoseg_qgis.gui.context import DockContext
from geoseg_qgis.gui.jobs.runner import JobRunner
from geoseg_qgis.gui.review.journal import Status
from geoseg_qgis.gui.review.page import PAN, STAY, ZOOM, ReviewPage

FIELDS = "field=class:string&field=area_m2:double&field=fix_rank:integer"
LEFT, TOP = 500000.0, 5600000.0


def square(number: int, side: float = 10.0) -> QgsGeometry:
    left = LEFT + 100 * number
    return QgsGeometry.fromRect(QgsRectangle(left, TOP - side, left + side, TOP))


def geopackage(layer: QgsVectorLayer, path: Path) -> QgsVectorLayer:
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.layerName = "GPKG", path.stem
    context = QgsProject.instance().transformContext()
    QgsVectorFileWriter.writeAsVectorFormatV3(layer, str(path), context, options)
    written = QgsVectorLayer(f"{path}|layername={path.stem}", path.stem, "ogr")
    assert written.isValid()
    return written


@pytest.fixture
def polygons(qgis_new_project, tmp_path: Path) -> QgsVectorLayer:
    """Four assessed polygons in a GeoPackage; the one that was written last is the worst."""
    uri = f"MultiPolygon?crs=EPSG:32632&{FIELDS}&field=iou:double&field=problem:string"
    layer = QgsVectorLayer(uri, "assessed", "memory")
    for number in range(4):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(square(number))
        iou = 0.2 * (4 - number)
        feature.setAttributes(["building", 100.0 + number, 4 - number, iou, "boundary"])
        layer.dataProvider().addFeatures([feature])
    written = geopackage(layer, tmp_path / "assessed.gpkg")
    QgsProject.instance().addMapLayer(written)
    return written


@pytest.fixture
def missed(polygons: QgsVectorLayer, tmp_path: Path) -> QgsVectorLayer:
    """One object that is likely missed, in another CRS."""
    uri = f"MultiPolygon?crs=EPSG:4326&{FIELDS}&field=score:double"
    layer = QgsVectorLayer(uri, "missed", "memory")
    feature = QgsFeature(layer.fields())
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(9.01, 50.54, 9.0102, 50.5402)))
    feature.setAttributes(["building", 250.0, 1, 0.7])
    layer.dataProvider().addFeatures([feature])
    written = geopackage(layer, tmp_path / "missed.gpkg")
    QgsProject.instance().addMapLayer(written)
    return written


@pytest.fixture
def page(provider, window: DockWindow, missed: QgsVectorLayer) -> Iterator[ReviewPage]:
    """The page in the window, with both layers chosen."""
    runner = JobRunner()
    made = ReviewPage(DockContext(window), runner)
    made.setParent(window.window)
    made.setGeometry(0, 0, 350, 600)
    made.show()
    window.canvas.setDestinationCrs(missed.crs())
    window.window.activateWindow()
    polygons = QgsProject.instance().mapLayersByName("assessed")[0]
    made.review(polygons, missed)
    QCoreApplication.processEvents()
    yield made
    made.close_page()
    made.hide()
    made.deleteLater()
    runner.close()


def press(page: ReviewPage, key: Qt.Key, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    QTest.keyClick(page.window().centralWidget(), key, modifier)
    QCoreApplication.processEvents()


def statuses(layer: QgsVectorLayer) -> dict[int, str]:
    return {feature.id(): feature["review"] or "" for feature in layer.getFeatures()}


def test_keys_walk_by_rank_and_decide(page: ReviewPage, polygons, missed) -> None:
    assert page.model.rowCount() == 5
    press(page, Qt.Key.Key_N)
    assert page.queue.current.rank == 1
    first = page.queue.current.key
    press(page, Qt.Key.Key_X)
    assert page.queue.find(first).status is Status.DELETED
    # The missed object has rank 1 as well and comes next.
    assert page.queue.current.is_missed
    assert page.buttons["keep"].text() == "Add (K)"
    before = polygons.featureCount()
    press(page, Qt.Key.Key_K)
    assert polygons.featureCount() == before + 1
    added = max(polygons.getFeatures(), key=lambda feature: feature.id())
    assert (added["class"], added["review"]) == ("building", "added")
    assert added.geometry().area() == pytest.approx(14.17 * 22.24, rel=0.02)
    assert page.queue.current.rank == 2
    press(page, Qt.Key.Key_K)
    assert page.queue.current.rank == 3
    press(page, Qt.Key.Key_P)
    assert page.queue.current.rank == 4
    assert page.count.text() == "2 of 5 left"
    assert sorted(statuses(polygons).values()) == ["", "", "added", "deleted", "kept"]
    assert list(statuses(missed).values()) == ["added"]


def test_undo_and_redo_also_take_back_what_was_added(page: ReviewPage, polygons, missed) -> None:
    page.step(1)
    page.decide(Status.DELETED)
    page.decide(Status.ADDED)
    assert polygons.featureCount() == 5
    press(page, Qt.Key.Key_U)
    assert polygons.featureCount() == 4
    assert page.queue.current.is_missed
    press(page, Qt.Key.Key_U)
    assert set(statuses(polygons).values()) | set(statuses(missed).values()) == {""}
    assert not page.buttons["undo"].isEnabled()
    press(page, Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    press(page, Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    assert polygons.featureCount() == 5
    assert page.queue.open_count == 3
    press(page, Qt.Key.Key_U)
    assert polygons.featureCount() == 4


def test_a_review_goes_on_after_the_project_is_opened_again(
    page: ReviewPage, polygons, tmp_path
) -> None:
    page.step(1)
    page.decide(Status.DELETED)
    page.decide(Status.KEPT)
    project = tmp_path / "project.qgs"
    assert QgsProject.instance().write(str(project))
    QgsProject.instance().clear()
    assert page.model.rowCount() == 0
    assert QgsProject.instance().read(str(project))
    again = QgsProject.instance().mapLayersByName("assessed")[0]
    page.review(again, QgsProject.instance().mapLayersByName("missed")[0])
    assert page.queue.open_count == 3
    assert page.step(1) is None
    assert page.queue.current.rank == 2
    page.undo()
    page.undo()
    assert page.queue.open_count == 5


def test_removing_deletes_only_what_was_dropped(page: ReviewPage, polygons) -> None:
    page.step(1)
    dropped = page.queue.current.key[1]
    page.decide(Status.DELETED)
    assert page.buttons["finish"].text() == "Remove Deleted (1)"
    QTest.mouseClick(page.buttons["finish"], Qt.MouseButton.LeftButton)
    assert polygons.featureCount() == 3
    assert dropped not in statuses(polygons)
    assert page.model.rowCount() == 4


def test_the_next_polygon_replaces_the_one_that_is_drawn_anew(page: ReviewPage, polygons) -> None:
    asked: list[bool] = []
    page.redo_asked.connect(lambda: asked.append(True))
    page.step(1)
    old = page.queue.current.key[1]
    press(page, Qt.Key.Key_R)
    assert asked == [True]
    assert polygons.isEditable()
    feature = QgsFeature(polygons.fields())
    feature.setGeometry(square(8))
    assert polygons.addFeature(feature)
    assert wait_until(
        lambda: statuses(polygons)[old] == "redone", meanwhile=QCoreApplication.processEvents
    )
    assert polygons.commitChanges()
    assert sorted(statuses(polygons).values()) == ["", "", "", "added", "redone"]
    page.finish()
    assert polygons.featureCount() == 4


def test_sliders_and_clicks_in_the_list(page: ReviewPage) -> None:
    page.iou.setValue(50)
    assert [item.iou for item in page.queue.items] == pytest.approx([0.2, 0.7, 0.4])
    page.area.setValue(200)
    assert [item.is_missed for item in page.queue.items] == [True]
    page.iou.setValue(100)
    page.area.setValue(0)
    index = page.model.index(3, 0)
    place = page.list.visualRect(index).center()
    QTest.mouseClick(
        page.list.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place
    )
    assert page.queue.current.rank == 3


def test_kinds_of_zoom(page: ReviewPage, window: DockWindow, polygons) -> None:
    canvas = window.canvas
    canvas.setDestinationCrs(polygons.crs())
    for kind in (ZOOM, PAN, STAY):
        page.zoom.setCurrentIndex(page.zoom.findData(kind))
        canvas.setExtent(QgsRectangle(LEFT - 5000, TOP - 5000, LEFT + 5000, TOP + 5000))
        scale, centre = canvas.scale(), canvas.center()
        page.queue.select(None)
        page.step(1)
        middle = polygons.getFeature(page.queue.current.key[1]).geometry().centroid().asPoint()
        moved = canvas.center().distance(middle) < 1.0
        assert (moved, canvas.scale() < scale / 2) == (kind != STAY, kind == ZOOM)
        assert kind != STAY or canvas.center() == centre


def test_a_removed_layer_leaves_an_empty_list(page: ReviewPage, polygons) -> None:
    page.step(1)
    QgsProject.instance().removeMapLayer(polygons.id())
    assert page.model.rowCount() == 0
    page.step(1)
    page.decide(Status.KEPT)
    page.undo()
    assert page.queue.current is None
