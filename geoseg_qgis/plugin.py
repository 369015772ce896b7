"""The plugin object: provider, menu, toolbar, dock and options page; nothing left after unload."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, List, Optional

import processing
from qgis.core import QgsApplication
from qgis.gui import QgisInterface, QgsOptionsWidgetFactory
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction, QDialog, QToolBar

from .engine_client import close_shared
from .processing.provider import GeoSegProvider
from .translation import tr

_ICONS = Path(__file__).parent / "icons"
_MENU = "GeoSeg"
# The order of the menu; algorithms that are not named here follow in that of their titles.
_FIRST = ("openvocabulary", "refer", "prompts", "assess", "reclassify", "evaluate")
_LAST = ("models", "setup")


class GeoSegPlugin:
    """What QGIS loads.

    Args:
        iface: The running QGIS window; None under ``qgis_process``, where only `initProcessing`
            is called.
    """

    def __init__(self, iface: QgisInterface) -> None:
        self.iface = iface
        self.provider: Optional[GeoSegProvider] = None
        self._actions: List[QAction] = []
        self._dialogs: List[QDialog] = []
        self._options: Optional[QgsOptionsWidgetFactory] = None
        self._toolbar: Optional[QToolBar] = None
        self._face: Optional[Any] = None

    def initProcessing(self) -> None:
        """Add the provider of algorithms."""
        self.provider = GeoSegProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add provider, actions, dock and options page to the window."""
        # No widgets may be imported headless.
        from .gui.face import Face  # noqa: PLC0415
        from .gui.options import OPTIONS_PAGE, OptionsFactory  # noqa: PLC0415

        self.initProcessing()
        self._options = OptionsFactory()
        self.iface.registerOptionsWidgetFactory(self._options)
        self._face = face = Face(self.iface)
        self._toolbar = self.iface.addToolBar(tr("GeoSeg"))
        self._toolbar.setObjectName("GeoSegToolBar")
        tools = (
            ("GeoSegFind", "find.svg", tr("Find"), tr("Find what you write"), face.find),
            ("GeoSegClick", "click.svg", tr("Click"), tr("Outline what you click"), face.click),
            ("GeoSegReview", "review.svg", tr("Review"), tr("Look at the worst"), face.review),
        )
        for name, icon, text, tip, slot in tools:
            action = self._add_action(icon, text, slot)
            action.setObjectName(name)
            action.setToolTip(f"<b>{text}</b><br>{tip}")
            self._toolbar.addAction(action)
            if name == "GeoSegClick":
                face.set_click_action(action)
        for title, icon, identifier in self._algorithms():
            self._add_action(icon, f"{title}…", _opener(self, identifier))
        self._add_action(
            "geoseg.svg",
            tr("GeoSeg options…"),
            lambda: self.iface.showOptionsDialog(None, OPTIONS_PAGE),
        )

    def unload(self) -> None:
        """Stop the engine and take away everything that was added."""
        for dialog in list(self._dialogs):
            dialog.close()
        self._dialogs.clear()
        if self._face is not None:
            self._face.close()
            self._face = None
        for action in self._actions:
            self.iface.removePluginRasterMenu(_MENU, action)
            action.deleteLater()
        self._actions.clear()
        if self._toolbar is not None:
            self.iface.mainWindow().removeToolBar(self._toolbar)
            self._toolbar.deleteLater()
            self._toolbar = None
        if self._options is not None:
            self.iface.unregisterOptionsWidgetFactory(self._options)
            self._options = None
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
        close_shared()

    def open_algorithm(self, algorithm_id: str) -> None:
        """Show the dialog of an algorithm, or the set-up in the dock where there is no engine."""
        algorithm = QgsApplication.processingRegistry().algorithmById(algorithm_id)
        ready, reason = algorithm.canExecute() if algorithm is not None else (True, "")
        if not ready:
            self.iface.messageBar().pushWarning(_MENU, reason)
            if self._face is not None:
                self._face.show_setup()
            return
        dialog = processing.createAlgorithmDialog(algorithm_id, self._presets(algorithm))
        if dialog is None:
            return
        self._dialogs.append(dialog)
        # Dialogs of algorithms have a method in the place of the signal `finished`.
        dialog.destroyed.connect(lambda: self._forget(dialog))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, True)
        dialog.show()

    def _presets(self, algorithm: Any) -> dict[str, Any]:
        """Return the imagery of the dock as the value that a dialog starts with."""
        image = self._face.context.image() if self._face is not None else None
        definition = algorithm.parameterDefinition("INPUT") if algorithm is not None else None
        if image is None or definition is None:
            return {}
        return {"INPUT": image.id()}

    def _algorithms(self) -> List[tuple[str, str, str]]:
        """Return title, icon and id of every algorithm in the order of the menu."""
        found = [] if self.provider is None else list(self.provider.algorithms())

        def place(algorithm: Any) -> tuple[int, str]:
            name = algorithm.name()
            if name in _FIRST:
                return _FIRST.index(name), ""
            return (len(_FIRST) + (1 + _LAST.index(name) if name in _LAST else 0)), (
                algorithm.displayName()
            )

        return [
            (one.displayName(), Path(one.svgIconPath()).name, one.id())
            for one in sorted(found, key=place)
        ]

    def _forget(self, dialog: QDialog) -> None:
        if dialog in self._dialogs:
            self._dialogs.remove(dialog)

    def _add_action(self, icon: str, text: str, slot: Callable[[], None]) -> QAction:
        action = QAction(QIcon(str(_ICONS / icon)), text, self.iface.mainWindow())
        action.triggered.connect(lambda _checked=False: slot())
        self.iface.addPluginToRasterMenu(_MENU, action)
        self._actions.append(action)
        return action


def _opener(plugin: GeoSegPlugin, identifier: str) -> Callable[[], None]:
    return lambda: plugin.open_algorithm(identifier)
