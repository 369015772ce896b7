"""A window with a real map for tests of the dock, which need no whole QGIS."""

from __future__ import annotations

from qgis.core import QgsMapLayer, QgsRasterLayer
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtCore import QCoreApplication, QObject, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QAction, QDockWidget, QMainWindow, QToolBar


class DockWindow(QObject):
    """The parts of the QGIS window that the plugin asks for; a misspelt call fails."""

    currentLayerChanged = pyqtSignal("QgsMapLayer*")  # noqa: N815  as in QGIS

    def __init__(self) -> None:
        super().__init__()
        self.window = QMainWindow()
        self.window.resize(1000, 700)
        self.canvas = QgsMapCanvas(self.window)
        self.window.setCentralWidget(self.canvas)
        self.bar = QgsMessageBar(self.window)
        self.active: QgsMapLayer | None = None
        self.menu: list[QAction] = []
        self.factories: list[object] = []
        self.options: list[str] = []
        self.window.show()
        QCoreApplication.processEvents()

    def mainWindow(self) -> QMainWindow:
        return self.window

    def mapCanvas(self) -> QgsMapCanvas:
        return self.canvas

    def messageBar(self) -> QgsMessageBar:
        return self.bar

    def activeLayer(self) -> QgsMapLayer | None:
        return self.active

    def setActiveLayer(self, layer: QgsMapLayer) -> None:
        self.active = layer
        self.currentLayerChanged.emit(layer)

    def addToolBar(self, name: str) -> QToolBar:
        return self.window.addToolBar(name)

    def addDockWidget(self, area: Qt.DockWidgetArea, dock: QDockWidget) -> None:
        self.window.addDockWidget(area, dock)

    def addPluginToRasterMenu(self, name: str, action: QAction) -> None:
        assert name == "GeoSeg"
        self.menu.append(action)

    def removePluginRasterMenu(self, name: str, action: QAction) -> None:
        assert name == "GeoSeg"
        self.menu.remove(action)

    def registerOptionsWidgetFactory(self, factory: object) -> None:
        self.factories.append(factory)

    def unregisterOptionsWidgetFactory(self, factory: object) -> None:
        self.factories.remove(factory)

    def showOptionsDialog(self, _parent: object, page: str) -> None:
        self.options.append(page)

    def show(self, layer: QgsRasterLayer) -> None:
        """Show a whole raster on the map and make it the active layer."""
        self.canvas.setDestinationCrs(layer.crs())
        self.canvas.setLayers([layer])
        self.canvas.setExtent(layer.extent())
        self.setActiveLayer(layer)
        QCoreApplication.processEvents()

    def close(self) -> None:
        """Close the window."""
        self.canvas.setLayers([])
        self.window.close()
        self.window.deleteLater()
