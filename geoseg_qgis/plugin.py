"""The plugin object: provider, menu, toolbar and options page, and nothing left after unload."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List, Optional

import processing
from qgis.core import QgsApplication
from qgis.gui import QgisInterface, QgsOptionsWidgetFactory
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction, QDialog

from .engine_client import close_shared
from .processing.provider import GeoSegProvider
from .translation import tr

_ICONS = Path(__file__).parent / "icons"
_MENU = "GeoSeg"


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

    def initProcessing(self) -> None:
        """Add the provider of algorithms."""
        self.provider = GeoSegProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add provider, actions and options page to the window."""
        from .gui.options import OPTIONS_PAGE, OptionsFactory  # noqa: PLC0415  no widgets headless

        self.initProcessing()
        self._options = OptionsFactory()
        self.iface.registerOptionsWidgetFactory(self._options)
        self._add_action(
            "openvocabulary.svg",
            tr("Open-vocabulary segmentation…"),
            lambda: self.open_algorithm("geoseg:openvocabulary"),
            on_toolbar=True,
        )
        self._add_action(
            "reclassify.svg",
            tr("Reclassify scores…"),
            lambda: self.open_algorithm("geoseg:reclassify"),
        )
        self._add_action(
            "setup.svg", tr("Set up the engine…"), lambda: self.open_algorithm("geoseg:setup")
        )
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
        for action in self._actions:
            self.iface.removePluginRasterMenu(_MENU, action)
            self.iface.removeRasterToolBarIcon(action)
            action.deleteLater()
        self._actions.clear()
        if self._options is not None:
            self.iface.unregisterOptionsWidgetFactory(self._options)
            self._options = None
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
        close_shared()

    def open_algorithm(self, algorithm_id: str) -> None:
        """Show the dialog of an algorithm, or that of the set-up where the engine is missing."""
        algorithm = QgsApplication.processingRegistry().algorithmById(algorithm_id)
        ready, reason = algorithm.canExecute() if algorithm is not None else (True, "")
        if not ready:
            self.iface.messageBar().pushWarning(_MENU, reason)
            algorithm_id = "geoseg:setup"
        dialog = processing.createAlgorithmDialog(algorithm_id)
        if dialog is None:
            return
        self._dialogs.append(dialog)
        # Dialogs of algorithms have a method in the place of the signal `finished`.
        dialog.destroyed.connect(lambda: self._forget(dialog))
        dialog.show()

    def _forget(self, dialog: QDialog) -> None:
        if dialog in self._dialogs:
            self._dialogs.remove(dialog)

    def _add_action(
        self, icon: str, text: str, slot: Callable[[], None], on_toolbar: bool = False
    ) -> None:
        action = QAction(QIcon(str(_ICONS / icon)), text, self.iface.mainWindow())
        action.triggered.connect(lambda _checked=False: slot())
        self.iface.addPluginToRasterMenu(_MENU, action)
        if on_toolbar:
            self.iface.addRasterToolBarIcon(action)
        self._actions.append(action)
