"""Clicks on a real map, with the real engine and the built-in model."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from click_window import LEFT, PIXEL, SIDE, TOP, Window, house, write_houses
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QCoreApplication, QEvent, Qt
from qgis.PyQt.QtGui import QKeyEvent
from qgis_layers import tile_extent
from tile_server import TileServer
from waiting import wait_until

from geoseg_qgis.gui.click.controller import ClickController, click_controller
from geoseg_qgis.gui.click.page import ClickPage
from geoseg_qgis.gui.click.tool import ClickTool
from geoseg_qgis.gui.context import DockContext

WHOLE = QgsRectangle(LEFT, TOP - PIXEL * SIDE, LEFT + PIXEL * SIDE, TOP)
CONTROL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


class Desk:
    """A window with the imagery, the tool and its page; the engine stays from test to test."""

    def __init__(self, image: Path) -> None:
        self.window = Window()
        self.context = DockContext(self.window)
        self.tool = ClickTool(self.context)
        self.page = ClickPage(self.context)
        self.image = image
        self.begin()

    @property
    def controller(self) -> ClickController:
        return click_controller(self.context)

    def begin(self) -> None:
        """Open the imagery in a new project, as at the start of QGIS."""
        project = QgsProject.instance()
        project.clear()
        self.layer = QgsRasterLayer(str(self.image), "houses")
        project.addMapLayer(self.layer)
        self.context.set_image(self.layer)
        self.controller.set_target(None)
        self.window.forget_messages()
        self.window.canvas.setLayers([self.layer])
        self.window.show(WHOLE)
        self.window.canvas.setMapTool(self.tool)

    def wait(self, condition: Callable[[], bool] | None = None) -> bool:
        """Wait for a condition, or for the answer to the newest request."""
        done = condition or (lambda: not self.controller.is_waiting)
        return wait_until(done, 240.0, QCoreApplication.processEvents)

    def outline(self) -> QgsGeometry:
        """Return the outline in the CRS of the imagery, once it has come."""
        assert self.wait()
        shape = self.controller.outline
        assert shape is not None, self.window.messages()
        return shape.geometry

    def close(self) -> None:
        self.tool.close()
        self.page.deleteLater()
        self.context.deleteLater()
        QCoreApplication.sendPostedEvents(None, int(QEvent.Type.DeferredDelete))


@pytest.fixture(scope="module")
def module_desk(qgis_app: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(write_houses(tmp_path_factory.mktemp("imagery") / "houses.tif"))
    yield desk
    desk.close()


@pytest.fixture
def desk(module_desk: Desk) -> Iterator[Desk]:
    module_desk.begin()
    yield module_desk
    for layer in QgsProject.instance().mapLayers().values():
        if isinstance(layer, QgsVectorLayer):
            layer.rollBack()
    QgsProject.instance().clear()


def overlap(geometry: QgsGeometry, rectangle: QgsRectangle) -> float:
    """Return the intersection over union with a rectangle."""
    other = QgsGeometry.fromRect(rectangle)
    union = geometry.combine(other).area()
    return float(geometry.intersection(other).area() / union)


def memory_layer(
    kind: str, crs: str = "EPSG:4326", fields: str = "&field=name:string"
) -> QgsVectorLayer:
    layer = QgsVectorLayer(f"{kind}?crs={crs}{fields}", "mine", "memory")
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    return layer


def placed(geometry: QgsGeometry, source: QgsCoordinateReferenceSystem) -> QgsGeometry:
    """Return a geometry in the CRS of the imagery."""
    moved = QgsGeometry(geometry)
    target = QgsCoordinateReferenceSystem("EPSG:32632")
    moved.transform(QgsCoordinateTransform(source, target, QgsProject.instance()))
    return moved


@pytest.mark.slow
def test_a_click_gives_the_outline_of_what_was_clicked(desk: Desk) -> None:
    desk.window.click(house(0).center())
    assert desk.controller.is_waiting
    assert overlap(desk.outline(), house(0)) > 0.6
    desk.window.key(Qt.Key.Key_Escape)
    assert desk.controller.outline is None
    assert desk.controller.prompts == ()


@pytest.mark.slow
def test_a_right_click_excludes_and_each_prompt_can_be_undone(desk: Desk) -> None:
    desk.window.click(house(0).center())
    first = desk.outline()
    desk.window.click(house(1).center())
    both = desk.outline()
    beside = QgsPointXY(house(1).xMaximum() - 1, house(1).yMaximum() - 1)
    desk.window.click(beside, Qt.MouseButton.RightButton)
    without = desk.outline()
    around = QgsGeometry.fromPointXY(beside).buffer(1.0, 8)
    assert without.intersection(around).area() < both.intersection(around).area()
    assert [prompt.on_object for prompt in desk.controller.prompts] == [True, True, False]
    desk.window.key(Qt.Key.Key_Z)
    assert desk.outline().equals(both)
    desk.window.key(Qt.Key.Key_Z, CONTROL)
    assert desk.outline().equals(first)
    desk.window.key(Qt.Key.Key_Y, CONTROL)
    assert desk.outline().equals(both)
    desk.window.key(Qt.Key.Key_Z, CONTROL | SHIFT)
    assert desk.outline().equals(without)
    for _ in range(3):
        desk.window.key(Qt.Key.Key_Backspace)
    assert desk.controller.outline is None
    assert desk.page.redo.isEnabled()


@pytest.mark.slow
@pytest.mark.parametrize("rotation", [0.0, 30.0])
def test_a_drag_draws_a_box(desk: Desk, rotation: float) -> None:
    desk.window.show(WHOLE, rotation=rotation)
    area = house(2).buffered(1.0)
    desk.window.drag(
        QgsPointXY(area.xMinimum(), area.yMaximum()), QgsPointXY(area.xMaximum(), area.yMinimum())
    )
    assert overlap(desk.outline(), house(2)) > (0.6 if rotation == 0 else 0.2)
    assert [prompt.kind.value for prompt in desk.controller.prompts] == ["box"]


@pytest.mark.slow
def test_shift_draws_a_polygon(desk: Desk) -> None:
    area = house(2).buffered(1.0)
    for x, y in (
        (area.xMinimum(), area.yMaximum()),
        (area.xMaximum(), area.yMaximum()),
        (area.xMaximum(), area.yMinimum()),
        (area.xMinimum(), area.yMinimum()),
    ):
        desk.window.click(QgsPointXY(x, y), modifiers=SHIFT)
    assert desk.controller.prompts == ()
    release = QKeyEvent(QEvent.Type.KeyRelease, int(Qt.Key.Key_Shift), SHIFT)
    QCoreApplication.sendEvent(desk.window.canvas, release)
    assert overlap(desk.outline(), house(2)) > 0.6
    assert [prompt.kind.value for prompt in desk.controller.prompts] == ["polygon"]


@pytest.mark.slow
def test_a_resting_pointer_shows_what_a_click_would_take(desk: Desk) -> None:
    desk.window.move(house(0).center())
    assert desk.wait(lambda: desk.controller.preview is not None)
    shown = desk.controller.preview
    assert shown is not None
    near = QgsPointXY(house(0).center().x() + 1.0, house(0).center().y())
    desk.window.move(near)
    desk.tool.canvas().viewport()
    desk.controller.hover(near)
    assert not desk.controller.is_waiting
    desk.window.click(near)
    assert not desk.controller.is_waiting
    assert desk.controller.outline is shown
    assert desk.controller.preview is None


@pytest.mark.slow
def test_accepting_into_a_layer_in_another_crs(desk: Desk) -> None:
    """Topological editing and avoidance of overlaps stay on, and touch no neighbour."""
    layer = memory_layer("Polygon", fields="&field=name:string&field=score:double&field=date:date")
    neighbour = QgsFeature(layer.fields())
    back = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem("EPSG:32632"), layer.crs(), QgsProject.instance()
    )
    square = QgsGeometry.fromRect(
        QgsRectangle(
            house(0).center().x(), house(0).yMinimum(), house(0).xMaximum() + 5, house(0).yMaximum()
        )
    )
    square.transform(back)
    neighbour.setGeometry(square)
    layer.startEditing()
    layer.addFeature(neighbour)
    project = QgsProject.instance()
    project.setTopologicalEditing(True)
    mode = type(project.avoidIntersectionsMode())(2)
    project.setAvoidIntersectionsMode(mode)
    project.setAvoidIntersectionsLayers([layer])
    desk.page.target.setLayer(layer)
    desk.window.click(house(0).center())
    outline = desk.outline()
    desk.window.key(Qt.Key.Key_Return)
    features = list(layer.getFeatures())
    assert len(features) == 2
    by_name = {bool(item["score"]): item for item in features}
    assert by_name[False].geometry().equals(square)
    added = by_name[True]
    assert overlap(placed(added.geometry(), layer.crs()), outline.boundingBox()) == pytest.approx(
        overlap(outline, outline.boundingBox()), abs=0.01
    )
    assert 0 < added["score"] <= 1
    assert added["date"].isValid()
    assert QgsWkbTypes.isSingleType(added.geometry().wkbType())
    assert project.topologicalEditing()
    assert project.avoidIntersectionsMode() == mode
    assert project.avoidIntersectionsLayers() == [layer]
    assert desk.controller.prompts == ()
    layer.undoStack().undo()
    assert layer.featureCount() == 1
    layer.rollBack()


@pytest.mark.slow
def test_accepting_makes_a_new_layer_beside_the_project(desk: Desk, tmp_path: Path) -> None:
    project = QgsProject.instance()
    assert project.write(str(tmp_path / "project.qgz"))
    taken = tmp_path / "houses - outlines.gpkg"
    taken.write_bytes(b"mine")
    desk.window.click(house(1).center())
    desk.window.key(Qt.Key.Key_Return)
    assert desk.wait(lambda: desk.controller.target() is not None)
    layer = desk.controller.target()
    assert layer is not None
    assert taken.read_bytes() == b"mine"
    assert (tmp_path / "houses - outlines 2.gpkg").exists()
    assert layer.crs().authid() == "EPSG:32632"
    (feature,) = layer.getFeatures()
    assert overlap(feature.geometry(), house(1)) > 0.6
    assert feature["model"] == "offline-small"
    assert feature["prompts"] == 1
    assert desk.page.target.currentLayer() is layer
    desk.window.click(house(0).center())
    desk.outline()
    desk.page.accept.click()
    assert layer.featureCount() == 2
    assert layer.commitChanges()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["MultiPolygon", "PolygonZ", "CurvePolygon"])
def test_geometries_fit_the_layer(desk: Desk, kind: str) -> None:
    layer = memory_layer(kind, "EPSG:3857")
    desk.controller.set_target(layer)
    desk.window.click(house(1).center())
    desk.outline()
    desk.window.key(Qt.Key.Key_Enter)
    (feature,) = layer.getFeatures()
    assert feature.geometry().wkbType() == layer.wkbType()
    assert overlap(placed(feature.geometry(), layer.crs()), house(1)) > 0.6
    layer.rollBack()


@pytest.mark.slow
def test_a_map_in_another_crs(desk: Desk) -> None:
    mercator = QgsCoordinateReferenceSystem("EPSG:3857")
    transform = QgsCoordinateTransform(desk.layer.crs(), mercator, QgsProject.instance())
    desk.window.show(transform.transformBoundingBox(WHOLE), "EPSG:3857", rotation=-20.0)
    desk.window.click(transform.transform(house(0).center()))
    assert overlap(desk.outline(), house(0)) > 0.6
    desk.window.show(WHOLE)
    assert overlap(desk.outline(), house(0)) > 0.6


def use_imagery(desk: Desk, layer: QgsRasterLayer) -> None:
    """Choose other imagery."""
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    desk.window.canvas.setLayers([layer])
    desk.context.set_image(layer)


@pytest.mark.slow
def test_a_web_map_is_outlined_in_the_pixels_of_the_screen(
    desk: Desk, tile_server: TileServer
) -> None:
    """One tile is red, those around it are green."""
    zoom, column, row = 18, 140001, 90001
    tile_server.color = lambda *tile: (
        (190, 70, 60) if tile == (zoom, column, row) else (70, 110, 60)
    )
    use_imagery(desk, QgsRasterLayer(tile_server.source(), "tiles", "wms"))
    desk.window.show(tile_extent(zoom, column - 1, row - 1, 3), "EPSG:3857", rotation=10.0)
    red = tile_extent(zoom, column, row)
    desk.window.click(red.center())
    assert overlap(desk.outline(), red) > 0.8
    desk.window.key(Qt.Key.Key_Return)
    layer = desk.controller.target()
    assert layer is not None
    assert layer.crs().authid() == "EPSG:3857"


@pytest.mark.slow
def test_imagery_that_only_qgis_can_read_is_copied(desk: Desk) -> None:
    gdal.FileFromMemBuffer("/vsimem/houses.tif", desk.image.read_bytes())
    use_imagery(desk, QgsRasterLayer("/vsimem/houses.tif", "in memory"))
    desk.window.click(house(0).center())
    assert overlap(desk.outline(), house(0)) > 0.6
    QgsProject.instance().clear()
    gdal.Unlink("/vsimem/houses.tif")


@pytest.mark.slow
def test_a_restyled_layer_is_read_anew(desk: Desk) -> None:
    """What was known of the pixels is worthless when other bands are shown."""
    desk.window.click(house(0).center())
    desk.outline()
    renderer = desk.layer.renderer().clone()
    renderer.setRedBand(2)
    desk.layer.setRenderer(renderer)
    assert desk.controller.prompts == ()
    desk.window.click(house(0).center())
    assert desk.outline().area() > 0


@pytest.mark.slow
def test_an_engine_that_is_killed_is_started_anew(desk: Desk) -> None:
    desk.window.click(house(0).center())
    first = desk.outline()
    pid = desk.controller.engine_pid
    assert pid is not None
    desk.window.move(house(1).center())
    desk.window.key(Qt.Key.Key_Escape)
    desk.controller.hover(house(1).center())
    assert desk.controller.is_waiting
    os.kill(pid, signal.SIGKILL)
    assert desk.wait(lambda: desk.controller.preview is not None)
    assert desk.controller.engine_pid not in {None, pid}
    told = [text for text in desk.window.messages() if "started anew" in text]
    assert len(told) == 1
    desk.window.click(house(0).center())
    assert desk.outline().equals(first)


@pytest.mark.slow
def test_imagery_that_is_removed_takes_its_outline_along(desk: Desk) -> None:
    desk.window.move(house(0).center())
    desk.controller.hover(house(0).center())
    assert desk.controller.is_waiting
    QgsProject.instance().removeMapLayer(desk.layer.id())
    assert not desk.controller.is_waiting
    desk.window.move(house(1).center())
    desk.window.click(house(1).center())
    assert desk.controller.prompts == ()
    assert desk.controller.outline is None
    desk.window.key(Qt.Key.Key_Return)
    assert not desk.page.accept.isEnabled()


@pytest.mark.slow
def test_a_project_that_is_closed_while_an_outline_is_on_its_way(desk: Desk) -> None:
    desk.window.click(house(0).center())
    assert desk.controller.is_waiting
    QgsProject.instance().clear()
    assert not desk.controller.is_waiting
    assert desk.controller.prompts == ()
    desk.window.move(house(1).center())


@pytest.mark.slow
def test_nothing_is_left_after_the_tool_is_closed(desk: Desk) -> None:
    canvas = desk.window.canvas
    before = len(canvas.scene().items())
    context = DockContext(desk.window)
    context.set_image(desk.layer)
    other = ClickTool(context)
    controller = click_controller(context)
    canvas.setMapTool(other)
    desk.window.click(house(0).center())
    assert desk.wait(lambda: controller.outline is not None)
    assert len(canvas.scene().items()) > before
    pid = controller.engine_pid
    other.close()
    assert len(canvas.scene().items()) == before
    assert canvas.mapTool() is not other
    assert pid is not None
    assert desk.wait(lambda: not Path(f"/proc/{pid}").exists())
    canvas.setMapTool(other)
    desk.window.click(house(1).center())
    assert controller.engine_pid is None
    assert not controller.is_waiting


@pytest.mark.slow
def test_a_read_only_layer_is_refused_in_words(desk: Desk) -> None:
    layer = memory_layer("Polygon")
    layer.setReadOnly(True)
    desk.controller.set_target(layer)
    desk.window.click(house(0).center())
    desk.outline()
    desk.window.key(Qt.Key.Key_Return)
    assert any("cannot be edited" in text for text in desk.window.messages())
    assert desk.controller.outline is not None
