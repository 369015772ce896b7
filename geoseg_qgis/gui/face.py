"""Everything of the plugin that is in the window: dock, map tool, and what they share."""

from __future__ import annotations

from typing import Any, Optional

from qgis.core import QgsApplication
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QAction

from ..translation import tr
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
        self._tool, self._page = _click_parts(self.context)
        self._click_action: Optional[QAction] = None
        if self._page is not None:
            self.dock.add_page(self._page, "click", tr("Click"))
        self.dock.review.redo_asked.connect(self.click)

    def set_click_action(self, action: QAction) -> None:
        """Show in an action whether the map tool is in use."""
        self._click_action = action
        if self._tool is None:
            action.setVisible(False)
            return
        action.setCheckable(True)
        self._tool.setAction(action)

    def find(self) -> None:
        """Open the dock to write in."""
        self.dock.show_page(self.dock.find)
        self.dock.find.focus_text()

    def click(self) -> None:
        """Open the dock and take the map tool."""
        if self._tool is None:
            return
        if self._page is not None:
            self.dock.show_page(self._page)
        self._iface.mapCanvas().setMapTool(self._tool)

    def review(self) -> None:
        """Open the dock to look at the worst polygons."""
        self.dock.show_page(self.dock.review)

    def show_setup(self) -> None:
        """Open the dock with the set-up."""
        self.dock.setUserVisible(True)
        self.dock.show_ready()

    def close(self) -> None:
        """Take everything out of the window, and wait until no run is left."""
        if self._tool is not None:
            self._iface.mapCanvas().unsetMapTool(self._tool)
            close = getattr(self._tool, "close", None)
            if close is not None:
                close()
        self.dock.close_dock()
        self.runner.close()
        self._iface.mainWindow().removeDockWidget(self.dock)
        self.dock.deleteLater()
        if self._tool is not None:
            self._tool.deleteLater()
        self.runner.deleteLater()
        self.context.deleteLater()
        QgsApplication.processEvents()


def _click_parts(context: DockContext) -> tuple[Any, Any]:
    """Return map tool and page for clicks."""
    try:
        from .click.page import ClickPage  # noqa: PLC0415
        from .click.tool import ClickTool  # noqa: PLC0415
    except ImportError:
        return None, None
    return ClickTool(context), ClickPage(context)
