"""The QGIS half is written for Qt 6: no PyQt5, scoped enums only, no relic of Qt 5."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from places import PACKAGE
from qgis import core, gui
from qgis.PyQt import QtCore, QtGui, QtWidgets

MODULES = (core, gui, QtCore, QtGui, QtWidgets)
FILES = [
    path
    for folder in ("processing", "layers", "gui", "engine_client", "protocol")
    for path in sorted((PACKAGE / folder).rglob("*.py"))
] + [PACKAGE / name for name in ("__init__.py", "plugin.py", "compat.py", "translation.py")]
RELICS = {"exec_", "sip"}


def unscoped_members(cls: type) -> set[str]:
    """Return the members of the enums of ``cls`` that PyQt5 also offers on the class itself."""
    enums = tuple(
        value for value in vars(cls).values() if isinstance(value, type) and value.__mro__[1] is int
    )
    return {name for name, value in vars(cls).items() if enums and isinstance(value, enums)}


def faults(source: str) -> list[str]:
    """Return what PyQt6 would refuse in ``source``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", "") or ""
            # QGIS hands on the sip of either version.
            if module != "qgis.PyQt" and any(
                name.startswith(("PyQt", "sip")) for name in [module, *names]
            ):
                found.append(f"import of {module or names}")
        elif isinstance(node, ast.Attribute) and node.attr in RELICS:
            found.append(node.attr)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            classes = (getattr(module, node.value.id, None) for module in MODULES)
            for cls in classes:
                if isinstance(cls, type) and node.attr in unscoped_members(cls):
                    found.append(f"{node.value.id}.{node.attr}")
                    break
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_files_are_ready(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "from PyQt5.QtCore import Qt",
        "x = Qt.LeftButton",
        "x = QMessageBox.Yes",
        "x = QEvent.KeyPress",
        "dialog.exec_()",
    ],
)
def test_the_check_finds_faults(line: str) -> None:
    assert len(faults(line)) == 1


@pytest.mark.skipif(
    core.Qgis.QGIS_VERSION_INT >= 33000, reason="newer QGIS keeps these names as aliases"
)
@pytest.mark.parametrize(
    "line", ["x = QgsWkbTypes.PolygonGeometry", "x = QgsProcessing.TypeVectorPolygon"]
)
def test_the_check_finds_unscoped_members_of_qgis(line: str) -> None:
    assert len(faults(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "from qgis.PyQt.QtCore import Qt",
        "x = Qt.MouseButton.LeftButton",
        "x = QgsWkbTypes.GeometryType.PolygonGeometry",
        "dialog.exec()",
    ],
)
def test_the_check_leaves_good_lines_alone(line: str) -> None:
    assert faults(line) == []
