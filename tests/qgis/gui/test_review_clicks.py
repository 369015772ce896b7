"""A polygon of a review is outlined anew with the map tool, on the real engine."""

from __future__ import annotations

from pathlib import Path

from click_window import house, write_houses
from dock_window import DockWindow
from engine_runs import needs_engine
from qgis.core import (
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QCoreApplication, QPoint, Qt
from qgis.PyQt.QtTest import QTest
from waiting import wait_until

from geoseg_qgis.gui.click.controller import click_controller
from geoseg_qgis.gui.face import Face

pytestmark = needs_engine

FIELDS = "field=class:string&field=area_m2:double&field=fix_rank:integer&field=iou:double"


def wait(condition) -> bool:
    return wait_until(condition, 240.0, QCoreApplication.processEvents)


def test_a_bad_polygon_is_replaced_by_the_outline_of_a_click(
    provider, window: DockWindow, qgis_new_project, tmp_path: Path
) -> None:
    image = QgsRasterLayer(str(write_houses(tmp_path / "houses.tif")), "houses")
    polygons = QgsVectorLayer(f"MultiPolygon?crs=EPSG:32632&{FIELDS}", "assessed", "memory")
    bad = QgsFeature(polygons.fields())
    roof = house(2)
    bad.setGeometry(
        QgsGeometry.fromRect(
            QgsRectangle(
                roof.xMinimum() - 9, roof.yMinimum() - 9, roof.center().x(), roof.center().y()
            )
        )
    )
    bad.setAttributes(["building", 200.0, 1, 0.2])
    polygons.dataProvider().addFeatures([bad])
    QgsProject.instance().addMapLayers([image, polygons])
    window.show(image)
    face = Face(window)
    try:
        face.review()
        page = face.dock.review
        page.review(polygons)
        page.step(1)
        old = page.queue.current.key[1]
        window.show(image)
        window.window.activateWindow()
        QTest.mouseClick(page.buttons["redo"], Qt.MouseButton.LeftButton)
        assert face.dock.tabs.currentWidget() is face.clicks
        assert face.clicks.target.currentLayer() == polygons
        spot = window.canvas.getCoordinateTransform().transform(roof.center())
        place = QPoint(round(spot.x()), round(spot.y()))
        QTest.mouseClick(
            window.canvas.viewport(),
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
            place,
        )
        controller = click_controller(face.context)
        assert wait(lambda: controller.outline is not None and not controller.is_waiting)
        QTest.keyClick(window.canvas, Qt.Key.Key_Return)
        assert wait(lambda: polygons.getFeature(old)["review"] == "redone")
        assert face.dock.tabs.currentWidget() is page
        (new,) = (one for one in polygons.getFeatures() if one.id() != old)
        assert new["review"] == "added"
        target = QgsGeometry.fromRect(roof)
        shape = new.geometry()
        assert shape.intersection(target).area() / shape.combine(target).area() > 0.5
        assert polygons.commitChanges()
        page.finish()
        assert polygons.featureCount() == 1
    finally:
        polygons.rollBack()
        face.close()
