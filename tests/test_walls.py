"""The walls between the rooms of the house, held by reading every import."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "geoseg_qgis"
QGIS_ROOMS = ("gui", "processing", "layers", "engine_client", "protocol")
# Each room of the QGIS half and the rooms that it may import besides itself.
DOORS = {
    "plugin": {"gui", "processing", "layers", "engine_client", "protocol", "compat", "translation"},
    "gui": {"processing", "layers", "engine_client", "protocol", "compat", "translation"},
    "processing": {"layers", "engine_client", "protocol", "compat", "translation"},
    "layers": {"protocol", "compat", "translation"},
    "engine_client": {"protocol"},
    "protocol": set(),
    "compat": set(),
    "translation": set(),
    "__init__": {"plugin"},
}
# Rooms of the engine from the top down: each may import what lies below it, and the protocol.
ENGINE_FLOORS = (
    {"server", "cli", "__main__", "arguments", "argument_values", "assess_arguments", "terminal"},
    {"jobs"},
    {"reports"},
    {"methods"},
    {"inference"},
    {"models"},
    {"metrics"},
    {"zoo", "raster", "vector"},
    {"files", "progress", "hardware", "failures", "wire", "json_reader"},
)
PLAIN_PYTHON_ROOMS = ("engine_client", "protocol")
FOREIGN_TO_QGIS_HALF = ("torch", "rasterio", "numpy", "PyQt5", "PyQt6", "sip")
STANDARD = sys.stdlib_module_names | {"__future__"}


def modules(*folders: str) -> list[Path]:
    files: list[Path] = []
    for folder in folders:
        place = PACKAGE / folder
        files += [place] if place.is_file() else sorted(place.rglob("*.py"))
    return files


def qgis_half() -> list[Path]:
    return [*sorted(PACKAGE.glob("*.py")), *modules(*QGIS_ROOMS)]


def engine_half() -> list[Path]:
    return modules("engine")


def imported_names(path: Path) -> Iterator[str]:
    """Yield absolute dotted names of all imports in a file, those inside functions as well."""
    package = path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = [*base, *(node.module.split(".") if node.module else [])]
            yield from (".".join([*stem, alias.name]) for alias in node.names)


def own_room(name: str) -> str:
    """Return the room of ``geoseg_qgis.room.rest``; empty for other packages."""
    parts = name.split(".")
    return parts[1] if parts[0] == PACKAGE.name and len(parts) > 1 else ""


def short(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_both_halves_are_found() -> None:
    assert len(qgis_half()) > 20
    assert len(engine_half()) > 20
    assert set(imported_names(PACKAGE / "engine_client" / "locate.py")) >= {
        "json",
        "geoseg_qgis.protocol.errors.JobError",
    }


@pytest.mark.parametrize("path", qgis_half(), ids=short)
def test_qgis_half_imports_only_qgis_and_the_standard_library(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    plain = room in PLAIN_PYTHON_ROOMS
    allowed = STANDARD | {PACKAGE.name} | (set() if plain else {"qgis", "processing"})
    for name in imported_names(path):
        top = name.split(".")[0]
        assert top in allowed, f"{short(path)} imports {name}"
        assert top not in FOREIGN_TO_QGIS_HALF


@pytest.mark.parametrize("path", qgis_half(), ids=short)
def test_qgis_half_imports_one_way(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imported_names(path):
        target = own_room(name)
        if target and target != room:
            assert target in DOORS[room], f"{short(path)} imports {name}"


@pytest.mark.parametrize("path", qgis_half(), ids=short)
def test_qgis_half_is_python_3_9(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 9))
    assert not [node for node in ast.walk(tree) if type(node).__name__ == "Match"]
    if any(isinstance(node, ast.ClassDef) for node in ast.walk(tree)):
        assert "from __future__ import annotations" in text


@pytest.mark.parametrize("path", qgis_half(), ids=short)
def test_dataclasses_of_the_protocol_are_evaluable_on_python_3_9(path: Path) -> None:
    """`get_type_hints` evaluates them there: ``X | None`` and such would raise."""
    if path.parent.name != "protocol":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AnnAssign):
            assert not [n for n in ast.walk(node.annotation) if isinstance(n, ast.BinOp)]


@pytest.mark.parametrize("path", engine_half(), ids=short)
def test_engine_never_imports_qgis(path: Path) -> None:
    for name in imported_names(path):
        assert name.split(".")[0] not in ("qgis", "processing", "PyQt5", "PyQt6", "osgeo")
        room = own_room(name)
        assert room in ("", "engine", "protocol", "PLUGIN_VERSION"), f"{short(path)}: {name}"


@pytest.mark.parametrize("path", engine_half(), ids=short)
def test_engine_imports_downwards(path: Path) -> None:
    floors = {room: level for level, rooms in enumerate(ENGINE_FLOORS) for room in rooms}
    room = path.relative_to(PACKAGE / "engine").parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for name in imported_names(path):
        parts = name.split(".")
        if parts[:2] != [PACKAGE.name, "engine"] or len(parts) < 3:
            continue
        target = parts[2]
        if target != room:
            assert floors[target] >= floors[room], f"{short(path)} imports {name}"


def test_protocol_imports_the_standard_library_only() -> None:
    for path in modules("protocol"):
        for name in imported_names(path):
            assert name.split(".")[0] in STANDARD or own_room(name) == "protocol", name


@pytest.mark.parametrize("path", [*qgis_half(), *engine_half()], ids=short)
def test_no_file_grows_past_600_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600
