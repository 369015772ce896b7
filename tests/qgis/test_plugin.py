"""The plugin adds what it says and leaves nothing behind."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest
from dock_window import DockWindow
from places import PACKAGE, ROOT
from qgis.core import QgsApplication, QgsSettings
from qgis.gui import QgsProcessingAlgorithmDialogBase
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QEvent, QObject
from qgis.PyQt.QtWidgets import QApplication, QDockWidget

from geoseg_qgis import classFactory
from geoseg_qgis.processing.settings import Settings
from geoseg_qgis.protocol import PROTOCOL_VERSION


@pytest.fixture
def window(qgis_app, qgis_processing, qgis_new_project) -> Iterator[DockWindow]:
    """A window that counts."""
    made = DockWindow()
    yield made
    made.close()


def live_objects(window: DockWindow) -> list[str]:
    """Return the kinds of objects of the plugin that are in the window."""
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    children = window.window.findChildren(QObject)
    named = [one.objectName() for one in children if one.objectName().startswith("GeoSeg")]
    items = [type(item).__name__ for item in window.canvas.scene().items()]
    return sorted([*named, *items])


def test_ten_reloads_leave_nothing_behind(window) -> None:
    registry = QgsApplication.processingRegistry()
    before = live_objects(window)
    for _ in range(10):
        plugin = classFactory(window)
        plugin.initGui()
        assert registry.providerById("geoseg") is not None
        texts = [action.text() for action in window.menu]
        assert texts[0] == "Find"
        assert texts[-1] == "GeoSeg options…"
        for algorithm in registry.providerById("geoseg").algorithms():
            assert f"{algorithm.displayName()}…" in texts
        assert all(not action.icon().isNull() for action in window.menu)
        assert len(window.factories) == 1
        found = live_objects(window)
        for name in ("GeoSegDock", "GeoSegFind", "GeoSegReview", "GeoSegToolBar"):
            assert found.count(name) == 1
        plugin.unload()
        del plugin, algorithm
        assert registry.providerById("geoseg") is None
        assert (window.menu, window.factories) == ([], [])
        assert live_objects(window) == before
    gc.collect()
    # The wrapper of the last one may outlive its window; those before are gone.
    assert sum(type(one).__name__ == "GeoSegDock" for one in gc.get_objects()) <= 1


def test_without_an_engine_the_menu_leads_to_the_set_up(window, monkeypatch, tmp_path) -> None:
    import processing

    opened: list[str] = []
    # The window of pytest-qgis has no browser, which the real dialog asks for.
    monkeypatch.setattr(
        processing, "createAlgorithmDialog", lambda name, _given: opened.append(name)
    )
    monkeypatch.setenv("GEOSEG_PYTHON", str(tmp_path / "python"))
    plugin = classFactory(window)
    plugin.initGui()
    try:
        plugin.open_algorithm("geoseg:openvocabulary")
        dock = window.window.findChild(QDockWidget, "GeoSegDock")
        assert dock.isVisible()
        assert dock.stack.currentWidget() is dock.setup
        assert str(tmp_path / "python") in window.bar.currentItem().text()
        monkeypatch.setenv("GEOSEG_PYTHON", sys.executable)
        plugin.open_algorithm("geoseg:openvocabulary")
    finally:
        plugin.unload()
    assert opened == ["geoseg:openvocabulary"]


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
    monkeypatch.setattr(processing, "createAlgorithmDialog", lambda _identifier, _given: dialog)
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


@pytest.mark.slow
def test_a_reload_forgets_every_module() -> None:
    """QGIS drops the modules whose import it has seen; others would stay, and meet new ones."""
    code = (
        "import sys; sys.path.append(sys.argv[1]);"
        "from qgis.core import QgsApplication; app = QgsApplication([], False);"
        "app.initQgis(); sys.path.append('/usr/share/qgis/python/plugins');"
        "import qgis.utils as utils; utils.available_plugins.append('geoseg_qgis');"
        "from geoseg_qgis.processing.provider import algorithms; algorithms();"
        "seen = utils._plugin_modules['geoseg_qgis'];"
        "own = {name for name in sys.modules if name.split('.')[0] == 'geoseg_qgis'};"
        "left = {name for name in own if not any(one == name or one.startswith(name + '.')"
        " for one in seen)};"
        "print(len(own), sorted(left)); sys.stdout.flush(); import os; os._exit(1 if left else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
