"""The area of the dock as Processing takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QCoreApplication

from geoseg_qgis.gui.context import SELECTED_POLYGON, VISIBLE_AREA, WHOLE_LAYER, DockContext

# The image of `make_raster`: 8 x 8 pixels of 2 m.
LEFT, TOP = 500000.0, 5600000.0


class Window:
    """The parts of a QGIS window that a context asks for, with a square map."""

    def __init__(self) -> None:
        self.canvas = QgsMapCanvas()
        self.canvas.resize(400, 400)
        # A map learns its size when it is shown.
        self.canvas.show()
        QCoreApplication.processEvents()
        self.active: QgsVectorLayer | None = None

    def mapCanvas(self) -> QgsMapCanvas:
        return self.canvas

    def activeLayer(self) -> QgsVectorLayer | None:
        return self.active


@pytest.fixture
def context(qgis_app, qgis_new_project, make_raster: Callable[..., Path]) -> DockContext:
    """A context with the small image, shown in part."""
    layer = QgsRasterLayer(str(make_raster()), "image")
    QgsProject.instance().addMapLayer(layer)
    window = Window()
    window.canvas.setDestinationCrs(layer.crs())
    window.canvas.setExtent(QgsRectangle(LEFT + 4, TOP - 12, LEFT + 12, TOP - 4))
    made = DockContext(window)
    made.set_image(layer)
    return made


def test_the_visible_area_is_in_the_crs_of_the_imagery(context: DockContext) -> None:
    expected = f"{LEFT + 4:.12g},{LEFT + 12:.12g},{TOP - 12:.12g},{TOP - 4:.12g} [EPSG:32632]"
    assert context.area() == expected
    context.iface.mapCanvas().setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    found = context.rectangle()
    assert found.contains(QgsRectangle(LEFT + 4.1, TOP - 11.9, LEFT + 11.9, TOP - 4.1))
    assert found.width() < 10


def test_a_rotated_map_is_covered_whole(context: DockContext) -> None:
    context.iface.mapCanvas().setRotation(45.0)
    found = context.rectangle(VISIBLE_AREA)
    assert found.width() == pytest.approx(8 * 2**0.5, rel=0.01)


def test_the_area_stays_on_the_imagery(context: DockContext) -> None:
    context.iface.mapCanvas().setExtent(QgsRectangle(LEFT - 8, TOP - 8, LEFT + 8, TOP + 8))
    found = context.rectangle()
    assert (found.xMinimum(), found.yMaximum()) == (LEFT, TOP)
    context.iface.mapCanvas().setExtent(QgsRectangle(LEFT - 90, TOP, LEFT - 80, TOP + 10))
    assert context.area() is None


def test_whole_layer_and_selected_polygon(context: DockContext) -> None:
    assert context.area(WHOLE_LAYER) is None
    layer = QgsVectorLayer("Polygon?crs=EPSG:32632", "fields", "memory")
    feature = QgsFeature()
    area = QgsRectangle(LEFT + 2, TOP - 6, LEFT + 6, TOP - 2)
    feature.setGeometry(QgsGeometry.fromRect(area))
    layer.dataProvider().addFeatures([feature])
    QgsProject.instance().addMapLayer(layer)
    context.iface.active = layer
    assert not context.has_selection()
    assert context.rectangle(SELECTED_POLYGON) is None
    layer.selectAll()
    assert context.has_selection()
    assert context.rectangle(SELECTED_POLYGON) == area


def test_a_removed_layer_is_no_image(context: DockContext) -> None:
    changes: list[str] = []
    context.image_changed.connect(lambda: changes.append("image"))
    context.area_changed.connect(lambda: changes.append("area"))
    context.model_changed.connect(lambda: changes.append("model"))
    QgsProject.instance().removeMapLayer(context.image().id())
    assert context.image() is None
    assert context.area() is None
    context.set_image(None)
    context.set_model("offline-small")
    context.set_model("offline-small")
    context.set_area_kind(WHOLE_LAYER)
    assert changes == ["image", "model", "area"]
    with pytest.raises(ValueError, match="nowhere"):
        context.set_area_kind("nowhere")
