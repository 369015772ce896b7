"""Everything of the plugin that is in the window: dock, map tool, and what they share."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QAction

from ..translation import tr
from .click.page import ClickPage
from .click.tool import ClickTool
from .context import DockContext
from .dock import GeoSegDock
from .jobs.runner import JobRunner


class Face:
    """Dock and map tool; the actions of the toolbar call its methods.

    Args:
        iface: The running QGIS window.

    Attributes:
        context: Imagery, model and area.
        dock: The dock.
        clicks: The page of the map tool.
        runner: Runs the algorithms.
    """

    def __init__(self, iface: QgisInterface) -> None:
        self._iface = iface
        self.context = DockContext(iface)
        self.runner = JobRunner()
        self.dock = GeoSegDock(iface, self.context, self.runner)
        window = iface.mainWindow()
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        if not window.restoreDockWidget(self.dock):
            self.dock.hide()
        self.clicks = ClickPage(self.context)
        self._tool = ClickTool(self.context)
        self.dock.add_page(self.clicks, "click", tr("Click"))
        self.dock.review.redo_asked.connect(self._redo)
        self.dock.review.replaced.connect(self.review)

    def set_click_action(self, action: QAction) -> None:
        """Show in an action whether the map tool is in use."""
        action.setCheckable(True)
        self._tool.setAction(action)

    def find(self) -> None:
        """Open the dock to write in."""
        self.dock.show_page(self.dock.find)
        self.dock.find.focus_text()

    def click(self) -> None:
        """Open the dock and take the map tool."""
        self.dock.show_page(self.clicks)
        self._iface.mapCanvas().setMapTool(self._tool)

    def review(self) -> None:
        """Open the dock to look at the worst polygons."""
        self.dock.show_page(self.dock.review)

    def _redo(self) -> None:
        """Outline anew into the layer of the review."""
        self.clicks.target.setLayer(self._iface.activeLayer())
        self.click()

    def show_setup(self) -> None:
        """Open the dock with the set-up."""
        self.dock.setUserVisible(True)
        self.dock.show_ready()

    def close(self) -> None:
        """Take everything out of the window, and wait until no run is left."""
        self._iface.mapCanvas().unsetMapTool(self._tool)
        self._tool.close()
        self.dock.close_dock()
        self.runner.close()
        self._iface.mainWindow().removeDockWidget(self.dock)
        self.dock.deleteLater()
        self._tool.deleteLater()
        self.runner.deleteLater()
        self.context.deleteLater()
        QgsApplication.processEvents()
