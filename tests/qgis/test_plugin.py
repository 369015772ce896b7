"""The plugin adds what it says and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys

import pytest
from places import PACKAGE, ROOT
from qgis.core import QgsApplication, QgsSettings
from qgis.gui import QgsProcessingAlgorithmDialogBase
from qgis.PyQt import sip
from qgis.PyQt.QtWidgets import QAction

from geoseg_qgis import classFactory
from geoseg_qgis.processing.settings import Settings
from geoseg_qgis.protocol import PROTOCOL_VERSION


class Window:
    """Counts what a plugin registers; the pytest-qgis window would swallow misspelt calls."""

    def __init__(self, iface) -> None:
        self._iface = iface
        self.menu: list[QAction] = []
        self.toolbar: list[QAction] = []
        self.factories: list[object] = []
        self.warnings: list[tuple[str, str]] = []

    def mainWindow(self):
        return self._iface.mainWindow()

    def messageBar(self) -> Window:
        return self

    def pushWarning(self, title: str, text: str) -> None:
        self.warnings.append((title, text))

    def addPluginToRasterMenu(self, name: str, action: QAction) -> None:
        assert name == "GeoSeg"
        self.menu.append(action)

    def removePluginRasterMenu(self, name: str, action: QAction) -> None:
        assert name == "GeoSeg"
        self.menu.remove(action)

    def addRasterToolBarIcon(self, action: QAction) -> int:
        self.toolbar.append(action)
        return 0

    def removeRasterToolBarIcon(self, action: QAction) -> None:
        if action in self.toolbar:
            self.toolbar.remove(action)

    def registerOptionsWidgetFactory(self, factory: object) -> None:
        self.factories.append(factory)

    def unregisterOptionsWidgetFactory(self, factory: object) -> None:
        self.factories.remove(factory)


@pytest.fixture
def window(qgis_iface, qgis_processing) -> Window:
    """A window that counts."""
    return Window(qgis_iface)


def test_unload_leaves_nothing_behind(window) -> None:
    registry = QgsApplication.processingRegistry()
    for _ in range(2):
        plugin = classFactory(window)
        plugin.initGui()
        assert registry.providerById("geoseg") is not None
        assert [action.text() for action in window.menu] == [
            "Open-vocabulary segmentation…",
            "Reclassify scores…",
            "Set up the engine…",
            "GeoSeg options…",
        ]
        assert all(not action.icon().isNull() for action in window.menu)
        assert len(window.toolbar) == 1
        assert len(window.factories) == 1
        plugin.unload()
        assert registry.providerById("geoseg") is None
        assert (window.menu, window.toolbar, window.factories) == ([], [], [])


def test_without_an_engine_the_menu_leads_to_the_set_up(window, monkeypatch, tmp_path) -> None:
    import processing

    opened: list[str] = []
    # The window of pytest-qgis has no browser, which the real dialog asks for.
    monkeypatch.setattr(processing, "createAlgorithmDialog", opened.append)
    monkeypatch.setenv("GEOSEG_PYTHON", str(tmp_path / "python"))
    plugin = classFactory(window)
    plugin.initGui()
    try:
        plugin.open_algorithm("geoseg:openvocabulary")
        monkeypatch.setenv("GEOSEG_PYTHON", sys.executable)
        plugin.open_algorithm("geoseg:openvocabulary")
    finally:
        plugin.unload()
    assert opened == ["geoseg:setup", "geoseg:openvocabulary"]
    ((title, text),) = window.warnings
    assert title == "GeoSeg"
    assert str(tmp_path / "python") in text


def test_headless_start_needs_no_window(qgis_processing) -> None:
    plugin = classFactory(None)
    plugin.initProcessing()
    assert QgsApplication.processingRegistry().providerById("geoseg") is not None
    plugin.unload()
    assert QgsApplication.processingRegistry().providerById("geoseg") is None


@pytest.mark.slow
def test_headless_start_imports_no_widgets() -> None:
    code = (
        "import sys; sys.path.append(sys.argv[1]);"
        "from qgis.core import QgsApplication; app = QgsApplication([], False);"
        "app.initQgis(); sys.path.append('/usr/share/qgis/python/plugins');"
        "own = set(sys.modules); import geoseg_qgis.processing.provider;"
        "bad = {'geoseg_qgis.gui', 'torch', 'rasterio', 'numpy'} & (set(sys.modules) - own);"
        "print(sorted(bad)); sys.stdout.flush(); import os; os._exit(1 if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_settings_survive(qgis_app) -> None:
    store = QgsSettings()
    before = Settings.read()
    try:
        Settings("/some/python", "/some/models", "cpu").write()
        assert Settings.read() == Settings("/some/python", "/some/models", "cpu")
        store.setValue("geoseg/device", "abacus")
        assert Settings.read().device == "auto"
    finally:
        before.write()


def test_options_page_shows_and_stores(qgis_app, monkeypatch, tmp_path) -> None:
    from geoseg_qgis.gui.options import OptionsFactory

    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o700)
    before = Settings.read()
    try:
        Settings("/nowhere/python", "", "cpu").write()
        page = OptionsFactory().createWidget(None)
        assert page.device.currentData() == "cpu"
        assert "Not ready" in page.state.text()
        assert "/nowhere/python" in page.state.text()
        assert page.set_up.text() == "Set up the engine"
        page.interpreter.setFilePath(str(python))
        assert "Ready." in page.state.text()
        page.model_folder.setFilePath(str(tmp_path))
        page.apply()
        assert Settings.read() == Settings(str(python), str(tmp_path), "cpu")
    finally:
        before.write()


def test_dialogs_of_the_menu_open_and_are_forgotten(window, monkeypatch) -> None:
    import processing

    class Dialog(QgsProcessingAlgorithmDialogBase):
        """What Processing builds its dialog on; the window of pytest-qgis cannot hold the rest."""

    dialog = Dialog(window.mainWindow())
    monkeypatch.setattr(processing, "createAlgorithmDialog", lambda _identifier: dialog)
    plugin = classFactory(window)
    plugin.initGui()
    try:
        plugin.open_algorithm("geoseg:setup")
        assert dialog.isVisible()
        assert plugin._dialogs == [dialog]
        sip.delete(dialog)
        assert plugin._dialogs == []
    finally:
        plugin.unload()


def test_repair_goes_where_geoseg_made_the_engine(qgis_app, tmp_path) -> None:
    from geoseg_qgis.gui.options import OptionsFactory, _setup_values

    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\n")
    python.chmod(0o700)
    before = Settings.read()
    try:
        assert _setup_values(Settings(str(python), "", "cpu")) == {}
        (tmp_path / "geoseg-engine.json").write_text('{"lock": "of another version"}')
        for setting in (python, tmp_path):
            values = _setup_values(Settings(str(setting), "", "cpu"))
            assert values == {"DESTINATION": str(tmp_path)}
        Settings(str(python), "", "cpu").write()
        page = OptionsFactory().createWidget(None)
        assert "Made for another version of GeoSeg." in page.state.text()
        assert page.set_up.text() == "Check and repair"
    finally:
        before.write()


def test_report_hides_the_home_folder(qgis_app) -> None:
    from pathlib import Path

    from geoseg_qgis.gui.report import diagnostics_report

    report = diagnostics_report()
    assert report.startswith(f"GeoSeg 0.1.0, protocol {PROTOCOL_VERSION}\nQGIS 3.")
    assert str(Path.home()) + "/" not in report


def test_metadata_is_complete() -> None:
    from configparser import ConfigParser

    parser = ConfigParser()
    parser.read(PACKAGE / "metadata.txt", encoding="utf-8")
    general = dict(parser.items("general"))
    required = {"name", "description", "version", "qgisMinimumVersion", "author", "email", "about",
                "tracker", "repository"}  # fmt: skip
    assert {name.lower() for name in required} <= set(general)
    assert general["hasprocessingprovider"] == "yes"
    assert general["qgisminimumversion"] == "3.22"
    assert general["qgismaximumversion"] == "4.99"
    assert (PACKAGE / general["icon"]).is_file()
    assert "External dependency" in general["about"]
    from geoseg_qgis.protocol import PLUGIN_VERSION

    assert general["version"] == PLUGIN_VERSION
    assert (ROOT / "metadata.txt").resolve() == PACKAGE / "metadata.txt"
